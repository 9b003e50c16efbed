"""Back to a checkpoint. A training state may be damaged or made by a stranger: all of it is checked before any of it is used.

Fused optimisers read memory by the shape of the weights: a tensor of another shape would make them read and write elsewhere.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trs_explorer.catalogue import METHODS
from trs_explorer.events import newest_first
from trs_explorer.models.stored import load_weights
from trs_explorer.options import HYPER_PARAMETERS, UsageError
from trs_explorer.runs import Checkpoint, RunError
from trs_explorer.training import checkpoints
from trs_explorer.training.parallel import most_parts
from trs_explorer.training.state import Progress, State, begin

PER_WEIGHT = {"adam": ("exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}  # what they remember, shaped like the weight
SETTINGS = ("params", "betas", "eps", "weight_decay", "momentum", "dampening", "nesterov", "amsgrad", "maximize")


def restore(state: State) -> tuple[list[str], dict | None]:
    """Bring state to the newest checkpoint that is whole; returns notes about those that are not.

    And the fields of the checkpoint's event, if the log has none: the training was killed between the files and the event.
    Without any checkpoint the training starts anew, from the same seed.
    Raises RunError if there are checkpoints but none is whole.
    """
    run, notes = state.run, []
    resumable = [checkpoint for checkpoint in run.checkpoints() if checkpoint.state is not None]
    for checkpoint in reversed(resumable):
        try:
            recorded = run.recorded(checkpoint)
            digest = load_weights(checkpoint.weights, state.ensemble, recorded.get("sha256"))
            stored, state_digest = checkpoints.load_state(checkpoint, digest, state.ensemble, recorded.get("state_sha256"))
            notes += _take(state, checkpoint, stored)
        except (RunError, UsageError) as error:
            notes.append(f"checkpoint {checkpoint.name} cannot be used: {error}")
            continue
        return notes, None if recorded else {"name": checkpoint.name, "sha256": digest, "state_sha256": state_digest}
    if resumable:
        raise RunError(f"{run.path}: no checkpoint can be used: {'; '.join(notes)}. Train anew with another --out")
    if run.checkpoints() and not _first_save_was_cut_off(state):
        raise RunError(f"{run.path} has weights but no training state (a shipped run?): it can be evaluated, not continued")
    return ["no checkpoint yet: starting anew from the seed", *begin(state)], None


def _first_save_was_cut_off(state: State) -> bool:
    """Whether the log tells of a training, but of no checkpoint: weights without a state are then a first save's beginning."""
    log = state.run.path / "events.jsonl"
    began, saved = (any(e["kind"] == kind for e in newest_first(log, f'"{kind}"'.encode())) for kind in ("start", "checkpoint"))
    return began and not saved


def _take(state: State, checkpoint: Checkpoint, stored: Mapping) -> list[str]:
    """Check a stored state and continue from it; returns notes. Raises: RunError, with `state` as it was but for the weights."""
    optimizer = stored.get("optimizer")
    problem = (
        _wrong_progress(state, checkpoint, stored)
        or _wrong_arithmetic(state, stored)
        or _wrong_options(state, stored.get("options"))
        or _wrong_settings(state, optimizer)
        or _wrong_memory(state, optimizer["state"])
    )
    if problem:
        raise RunError(f"{checkpoint.state} does not fit config.json: {problem}")
    ours, weights = state.optimizer.state_dict(), [weight.detach() for weight in state.ensemble.parameters()]
    ours["state"] = {}
    for index, memory in optimizer["state"].items():  # copies: stored tensors may share their memory, or have any strides
        likes = dict.fromkeys(PER_WEIGHT[state.run.config.optimizer], weights[index])
        ours["state"][index] = {
            name: torch.empty_like(likes[name]).copy_(value) if name in likes else value.clone() for name, value in memory.items()
        }
    state.optimizer.load_state_dict(ours)
    state.at = state.saved = Progress(stored["epoch"], stored["step_in_epoch"], stored["step"])
    state.options = {name: HYPER_PARAMETERS[name].check(value) for name, value in stored["options"].items()}
    return _same_arithmetic(state, stored)


def _wrong_progress(state: State, checkpoint: Checkpoint, stored: Mapping) -> str:
    epoch, within, step = (stored.get(name) for name in ("epoch", "step_in_epoch", "step"))
    each = state.steps_per_epoch
    if not all(type(count) is int and 0 <= count <= state.steps for count in (epoch, within, step)):
        return f"its epoch and steps are not whole numbers up to {state.steps:,}"
    if step != epoch * each + within or within > each:
        return f"step {step} is not step {within} of epoch {epoch + 1}, of {each} steps each"
    if state.run.new_checkpoint(epoch, within).name != checkpoint.name:
        return f"it is of epoch {epoch + 1}, step {within}"
    return ""


def _wrong_arithmetic(state: State, stored: Mapping) -> str:
    whole, pixels = METHODS[state.run.config.method].whole_batch, state.images.x[0].numel()
    parts, most = stored.get("parts"), 1 if whole else most_parts(state.ensemble, state.batch_size, pixels)
    if type(parts) is not int or not 1 <= parts <= most:
        return f"its batches were computed in an impossible number of parts, at most {most} can be"
    if stored.get("device") not in ("cpu", "cuda") or type(stored.get("bfloat16")) is not bool:
        return "it does not say in which arithmetic it was trained"
    return ""


def _wrong_options(state: State, options: object) -> str:
    wanted = state.run.config.options
    if not isinstance(options, dict) or set(options) != set(wanted):
        return "it belongs to another method"
    for name, value in options.items():
        try:
            HYPER_PARAMETERS[name].check(value)
        except UsageError:
            return f"its {name} is out of range"
        if not name.startswith("lambda_") and value != wanted[name]:
            return f"its {name} is another"
    return ""


def _wrong_settings(state: State, optimizer: object) -> str:
    """What is wrong with the optimiser's settings, apart from the learning rate, which every step sets anew."""
    ours = state.optimizer.state_dict()["param_groups"]
    kind = state.run.config.optimizer
    if not isinstance(optimizer, dict) or not isinstance(optimizer.get("state"), dict):
        return "it has no optimiser"
    groups = optimizer.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(ours) or not all(isinstance(group, dict) for group in groups):
        return f"its optimiser is not --optimizer {kind}"
    for group, wanted in zip(groups, ours, strict=True):
        for name in (name for name in SETTINGS if name in wanted):
            value = group.get(name)
            if type(value) is not type(wanted[name]) or value != wanted[name]:
                return f"its optimiser has {'another' if name in group else 'no'} {name} than --optimizer {kind}"
    return ""


def _wrong_memory(state: State, stored: Mapping) -> str:
    """What is wrong with what the optimiser remembers of each weight; of weights that had no gradient yet it has nothing."""
    weights, names = list(state.ensemble.parameters()), PER_WEIGHT[state.run.config.optimizer]
    for index, memory in stored.items():
        if type(index) is not int or not 0 <= index < len(weights):
            return "its optimiser remembers weights that the model does not have"
        wanted = {*names, *(["step"] if state.run.config.optimizer == "adam" else [])}
        if not isinstance(memory, dict) or set(memory) != wanted:
            return f"its optimiser does not remember what --optimizer {state.run.config.optimizer} does"
        scalars = [memory["step"]] if "step" in memory else []
        if not all(_plain(step, torch.Size(()), torch.float32) and 0 <= step <= state.steps for step in scalars):
            return "its optimiser has counted steps that cannot be"
        for name in names:
            if not _plain(memory[name], weights[index].shape, weights[index].dtype):
                return f"{name} of weight {index} has another shape or type than the weight"
            if not bool(memory[name].isfinite().all()) or (name == "exp_avg_sq" and bool((memory[name] < 0).any())):
                return f"{name} of weight {index} has values that cannot be"
    return ""


def _plain(value: object, shape: torch.Size, dtype: torch.dtype) -> bool:
    """Whether a value is an ordinary dense tensor in memory of that shape and type."""
    return (
        type(value) is Tensor
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and (value.shape, value.dtype) == (shape, dtype)
    )


def _same_arithmetic(state: State, stored: Mapping) -> list[str]:
    """Split batches as they were split before; say so where this machine cannot give the same bits."""
    before = {name: stored[name] for name in state.arithmetic}
    if state.device.type == "cpu":
        state.parts = before["parts"]
    if before == state.arithmetic:
        return []
    return [f"trained with {before}, goes on with {state.arithmetic}: not the same bits as an uninterrupted training"]
