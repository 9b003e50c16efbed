"""Resume from a checkpoint. A training state may be damaged or come from a stranger: it is checked completely before it is used.

Fused optimisers access memory by the shape of the weights: a tensor of another shape would make them read and write out of
bounds.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trs_explorer.events import newest_first
from trs_explorer.models.stored import load_weights
from trs_explorer.options import UsageError
from trs_explorer.runs import Checkpoint, RunError
from trs_explorer.training import checkpoints
from trs_explorer.training.parallel import most_parts
from trs_explorer.training.state import Progress, State, load_start_weights

PER_WEIGHT = {"adam": ("exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}  # optimiser memory, in the weight's shape
MOST_PROCESSES = 1 << 16
SETTINGS = ("params", "betas", "eps", "weight_decay", "momentum", "dampening", "nesterov", "amsgrad", "maximize")


def restore(state: State) -> tuple[list[str], dict | None]:
    """Restore the newest usable checkpoint into `state`; without any checkpoint, start again from the same seed.

    Returns: notes about checkpoints that cannot be used; and the fields of the restored checkpoint's event if the log lacks it,
    because the training was killed between writing the files and the event.
    Raises: RunError if there are checkpoints but none is usable.
    """
    run, notes = state.run, []
    resumable = [checkpoint for checkpoint in run.checkpoints() if checkpoint.state is not None]
    for checkpoint in reversed(resumable):
        try:
            recorded = run.recorded(checkpoint)
            digest = load_weights(checkpoint.weights, state.ensemble, recorded.get("sha256"))
            more = 0 if state.image_memory is None else state.image_memory.numel()
            stored, state_digest = checkpoints.load_state(checkpoint, digest, state.ensemble, recorded.get("state_sha256"), more)
            notes += _apply(state, checkpoint, stored)
        except (RunError, UsageError) as error:
            notes.append(f"checkpoint {checkpoint.name} cannot be used: {error}")
            continue
        return notes, None if recorded else {"name": checkpoint.name, "sha256": digest, "state_sha256": state_digest}
    if resumable:
        raise RunError(f"{run.path}: no checkpoint can be used: {'; '.join(notes)}. Start a new training with another --out")
    if run.checkpoints() and not _first_save_was_interrupted(state):
        raise RunError(f"{run.path} has weights but no training state (a shipped run?): it can be evaluated, not continued")
    return ["no checkpoint yet: starting again from the seed", *load_start_weights(state)], None


def _first_save_was_interrupted(state: State) -> bool:
    """Whether the log has a start but no checkpoint. Weights without a state are then of an interrupted first save.

    An older version wrote the weights first; `checkpoints.save` writes the state first.
    """
    log = state.run.path / "events.jsonl"
    started, saved = (any(e["kind"] == kind for e in newest_first(log, f'"{kind}"'.encode())) for kind in ("start", "checkpoint"))
    return started and not saved


def _apply(state: State, checkpoint: Checkpoint, stored: Mapping) -> list[str]:
    """Check a stored state and apply it; returns notes. Raises: RunError; then only the weights in `state` have changed."""
    optimizer = stored.get("optimizer")
    problem = (
        _wrong_progress(state, checkpoint, stored)
        or _wrong_numerics(state, stored)
        or _wrong_options(state, stored.get("options"))
        or _wrong_settings(state, optimizer)
        or _wrong_memory(state, optimizer["state"])
        or _wrong_image_memory(state, stored.get("image_memory"))
    )
    if problem:
        raise RunError(f"{checkpoint.state} does not fit config.json: {problem}")
    ours, weights = state.optimizer.state_dict(), [weight.detach() for weight in state.ensemble.parameters()]
    ours["state"] = {}
    for index, memory in optimizer["state"].items():  # copied, because stored tensors may share memory or have any strides
        like = dict.fromkeys(PER_WEIGHT[state.run.config.optimizer], weights[index])
        ours["state"][index] = {
            name: torch.empty_like(like[name]).copy_(value) if name in like else value.clone() for name, value in memory.items()
        }
    state.optimizer.load_state_dict(ours)
    if state.image_memory is not None:
        state.image_memory.copy_(stored["image_memory"])
    declared = state.run.config.about_method.options
    state.progress = state.saved_at = Progress(stored["epoch"], stored["step_in_epoch"], stored["step"])
    state.options = {name: declared[name].check(value) for name, value in stored["options"].items()}
    return _same_numerics(state, stored)


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


def _wrong_numerics(state: State, stored: Mapping) -> str:
    whole, pixels = state.run.config.about_method.whole_batch, state.images.x[0].numel()
    processes = stored.get("processes", 1)  # older versions had one
    if type(processes) is not int or not 1 <= processes <= MOST_PROCESSES:
        return "it was trained by an impossible number of processes"
    parts, most = stored.get("parts"), 1 if whole else most_parts(state.ensemble, state.batch_size, pixels, processes)
    if type(parts) is not int or not 1 <= parts <= most:
        return f"its batches were computed in an impossible number of parts, at most {most} can be"
    if stored.get("device") not in ("cpu", "cuda") or type(stored.get("bfloat16")) is not bool:
        return "it does not say on which device and in which precision it was trained"
    return ""


def _wrong_options(state: State, options: object) -> str:
    wanted, declared = state.run.config.options, state.run.config.about_method.options
    if not isinstance(options, dict) or set(options) != set(wanted):
        return "it belongs to another method"
    for name, value in options.items():
        try:
            declared[name].check(value)
        except UsageError:
            return f"its {name} is out of range"
        if not name.startswith("lambda_") and value != wanted[name]:
            return f"its {name} is another"
    return ""


def _wrong_settings(state: State, optimizer: object) -> str:
    """What is wrong with the optimiser's settings; not the learning rate, which every step sets."""
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
    """What is wrong with the optimiser's memory of the weights. It has none of weights that had no gradient yet."""
    weights, names = list(state.ensemble.parameters()), PER_WEIGHT[state.run.config.optimizer]
    for index, memory in stored.items():
        if type(index) is not int or not 0 <= index < len(weights):
            return "its optimiser state is of weights that the model does not have"
        wanted = {*names, *(["step"] if state.run.config.optimizer == "adam" else [])}
        if not isinstance(memory, dict) or set(memory) != wanted:
            return f"its optimiser state has other fields than that of --optimizer {state.run.config.optimizer}"
        scalars = [memory["step"]] if "step" in memory else []
        if not all(_is_plain_tensor(step, torch.Size(()), torch.float32) and 0 <= step <= state.steps for step in scalars):
            return "its optimiser has an impossible step count"
        for name in names:
            if not _is_plain_tensor(memory[name], weights[index].shape, weights[index].dtype):
                return f"{name} of weight {index} has another shape or type than the weight"
            if not bool(memory[name].isfinite().all()) or (name == "exp_avg_sq" and bool((memory[name] < 0).any())):
                return f"{name} of weight {index} has values that are impossible"
    return ""


def _wrong_image_memory(state: State, stored: object) -> str:
    """What is wrong with what the method keeps of every training image; every value of a byte is possible."""
    if state.image_memory is None:
        return "" if stored is None else "it keeps something of every image, its method does not"
    if _is_plain_tensor(stored, state.image_memory.shape, torch.uint8):
        return ""
    return "it does not have a byte for every pixel of the training images"


def _is_plain_tensor(value: object, shape: torch.Size, dtype: torch.dtype) -> bool:
    """Whether a value is an ordinary dense CPU tensor of that shape and type."""
    return (
        type(value) is Tensor
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and (value.shape, value.dtype) == (shape, dtype)
    )


def _same_numerics(state: State, stored: Mapping) -> list[str]:
    """Split batches as before; returns a note if this machine cannot produce the same bits."""
    before = {"processes": 1, **{name: stored[name] for name in state.numerics if name in stored}}
    if state.device.type == "cpu" and before["processes"] == state.processes.size:
        state.parts = before["parts"]
    if before == state.numerics:
        return []
    changed = [name for name, value in state.numerics.items() if before.get(name) != value]
    then, now = (", ".join(f"{name} {values.get(name)}" for name in changed) for values in (before, state.numerics))
    return [f"trained with {then}, goes on with {now}: not the same bits as an uninterrupted training"]
