"""The state of a training between two steps: how it is created and saved."""

import inspect
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trs_explorer import data
from trs_explorer.catalogue import load
from trs_explorer.config import TrainConfig, same_split
from trs_explorer.evaluation.probe import probe_images
from trs_explorer.models import Ensemble
from trs_explorer.models.factory import build_for
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError
from trs_explorer.run_config import change_config
from trs_explorer.runs import Run, RunError, open_run
from trs_explorer.training import checkpoints
from trs_explorer.training.device import resolve_device, use_bfloat16
from trs_explorer.training.model_check import check_members
from trs_explorer.training.parallel import has_batch_norm, parts_for
from trs_explorer.training.processes import ALONE, Processes
from trs_explorer.training.smaller_parts import SmallerParts


class TrainingError(RuntimeError):
    """The training cannot continue; the message says why, where, and what to try. The last good checkpoint remains."""


@dataclass(frozen=True)
class Progress:
    """Finished epochs, steps of the present epoch, and steps of the whole training so far."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0


@dataclass
class State:
    """A training between two steps.

    images: the training set, on the device.  probe_x, probe_y: the held-out images of a probe.
    options: the method's present options; viewers may change the lambdas.
    parts: number of parts of a batch that are computed in parallel, by all processes together.
    smaller_parts: in how many smaller ones memory needs each of them.
    processes: that share the training.
    saved_at: the progress that is saved already.
    image_memory: what the method keeps of every training image between epochs, see `steps.step_context`; None: nothing.
    weights: of the training images, where members are trained one after another, see `update_weights`; of the member
    `weights_member`, None after the last one.
    """

    run: Run
    device: torch.device
    bfloat16: bool
    images: data.Dataset
    probe_x: Tensor
    probe_y: Tensor
    ensemble: Ensemble
    optimizer: torch.optim.Optimizer
    options: dict
    parts: int
    smaller_parts: SmallerParts = field(default_factory=lambda: SmallerParts(divisible=False))
    progress: Progress = field(default_factory=Progress)
    saved_at: Progress | None = None
    image_memory: Tensor | None = None
    weights: Tensor | None = None
    weights_member: int | None = None
    processes: Processes = ALONE

    @property
    def batch_size(self) -> int:
        """Images per step. Images that do not fill a last batch are left out of this epoch."""
        return min(self.run.config.batch_size, len(self.images))

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches per epoch."""
        return len(self.images) // self.batch_size

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        return self.run.config.epochs * self.steps_per_epoch

    @property
    def fraction_done(self) -> float:
        """Finished share of the steps, in [0, 1]."""
        return self.progress.step / self.steps

    @property
    def member(self) -> int | None:
        """The member in training, if members are trained one after another. Epochs are divided evenly."""
        if not self.run.config.about_method.boost:
            return None
        members, epochs = self.run.config.members, self.run.config.epochs
        return min(members - 1, ((self.progress.epoch + 1) * members - 1) // epochs)

    @property
    def stage(self) -> tuple[int, int]:
        """Step and number of steps of the learning-rate schedule: of the training, or of the present member's share of it."""
        if self.member is None:
            return self.progress.step, self.steps
        members, epochs, per_epoch = self.run.config.members, self.run.config.epochs, self.steps_per_epoch
        first, last = (i * epochs // members for i in (self.member, self.member + 1))
        return self.progress.step - first * per_epoch, (last - first) * per_epoch

    def update_weights(self, done: int, *, training: bool) -> None:
        """Compute the members' vote weights and the weights of the training images, by boosting.

        done: number of trained members.  training: the next member's training follows.

        Only where members are trained one after another. The weights depend on the trained members alone, so a resumed
        training computes them again.
        """
        boost = load(self.run.config.about_method.boost)
        self.weights = boost(self.ensemble.eval(), self.images, done=done, training=training)
        self.weights_member = done if training else None

    @property
    def numerics(self) -> dict[str, object]:
        """What the exact bits depend on besides the config. Stored with a checkpoint, for a resume on another machine."""
        return {"device": self.device.type, "bfloat16": self.bfloat16, "parts": self.parts, "processes": self.processes.size}

    def save(self) -> dict[str, str]:
        """Write a checkpoint of the present state; returns the fields of its event.

        Raises: RunError if it cannot be written, TrainingError if a weight is not finite.
        """
        broken = next((name for name, value in self.ensemble.state_dict().items() if not value.isfinite().all()), None)
        if broken:
            raise TrainingError(f"the weights {broken} are not finite at step {self.progress.step}: not saved; try a lower --lr")
        at = self.progress
        stored = {"optimizer": self.optimizer.state_dict(), "options": self.options, **self.numerics, **asdict(at)}
        if self.image_memory is not None:
            stored["image_memory"] = self.image_memory.cpu()
        fields = checkpoints.save(self.run, self.ensemble, stored, epoch=at.epoch, step_in_epoch=at.step_in_epoch)
        self.saved_at = at
        return fields


def prepare(run: Run, processes: Processes = ALONE) -> State:
    """Create the state at step 0 from the run's config. Before the first training, store the data's fingerprint in the config.

    processes: that share the training; the first one alone writes into the run's folder.
    Raises: UsageError for a device or data set that is missing or cannot be read, for other data than the run's, or for a model
    that the method cannot train.
    """
    device = processes.local_device(resolve_device(run.config.device))
    images, held_out = (data.load_for(run, train=train) for train in (True, False))
    if images.fingerprint and not run.config.data_fingerprint and processes.leads and not run.checkpoints():
        run = change_config(run, data_fingerprint={"train": images.fingerprint, "test": held_out.fingerprint})
    config, images = run.config, images.to(device)
    probe_x, probe_y = probe_images(held_out)
    ensemble = build_for(config).to(device)
    check_members(config, ensemble)
    whole_batch = config.about_method.whole_batch
    remembers = "image_memory" in inspect.signature(load(config.about_method.function)).parameters
    return State(
        run=run,
        device=device,
        bfloat16=use_bfloat16(config.precision, device),
        images=images,
        probe_x=probe_x.to(device),
        probe_y=probe_y.to(device),
        ensemble=ensemble,
        optimizer=_optimizer(config, ensemble),
        options=dict(config.options),
        parts=1
        if whole_batch
        else parts_for(ensemble, min(config.batch_size, len(images)), images.x[0].numel(), device, processes.size),
        smaller_parts=SmallerParts(divisible=not whole_batch and not has_batch_norm(ensemble)),
        processes=processes,
        image_memory=torch.zeros(images.x.shape, dtype=torch.uint8, device=device) if remembers else None,
    )


def share(state: State) -> None:
    """Give rank 0's state to all processes, so that they go on from the same bits. All of them must call this.

    Raises: UsageError if a process has other images or labels than rank 0; ProcessLost if one has ended.
    """
    if state.processes.size == 1:
        return
    names = ("options", "parts", "bfloat16", "progress", "saved_at", "image_memory")
    ours = {name: getattr(state, name) for name in names} | {"data": state.images.fingerprint}
    ours |= {"ensemble": state.ensemble.state_dict(), "optimizer": state.optimizer.state_dict()}
    shared = state.processes.broadcast(_on_cpu(ours) if state.processes.leads else None)
    if shared.pop("data") != state.images.fingerprint:
        raise UsageError(f"process {state.processes.rank} has other {state.run.config.data} images or labels than process 0")
    if not state.processes.leads:
        state.ensemble.load_state_dict(shared["ensemble"])
        state.optimizer.load_state_dict(shared["optimizer"])
        for name in names:
            value = shared[name]
            setattr(state, name, value.to(state.device) if isinstance(value, Tensor) else value)


def share_weights(state: State) -> None:
    """Between GPUs, give rank 0's weights to all processes: a GPU's rounding is not always the same.

    All of them must call this. On CPUs they have the same bits anyway.
    """
    if state.processes.size == 1 or state.device.type == "cpu":
        return
    ours = {"ensemble": state.ensemble.state_dict(), "weights": state.weights}
    shared = state.processes.broadcast(_on_cpu(ours) if state.processes.leads else None)
    if not state.processes.leads:
        state.ensemble.load_state_dict(shared["ensemble"])
        state.weights = None if shared["weights"] is None else shared["weights"].to(state.device)


def _on_cpu(values: Any) -> Any:
    """Nested dictionaries with their tensors on the CPU."""
    if isinstance(values, dict):
        return {name: _on_cpu(value) for name, value in values.items()}
    return values.cpu() if isinstance(values, Tensor) else values


def _optimizer(config: TrainConfig, ensemble: Ensemble) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(ensemble.parameters(), lr=config.lr, momentum=0.9, weight_decay=config.weight_decay, fused=True)
    return torch.optim.Adam(ensemble.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def load_start_weights(state: State) -> list[str]:
    """Load the initial weights from the run that the config names, if any; returns a note about it.

    Raises: UsageError if the method needs such a run and none is named, if it cannot be read, or if its members differ.
    """
    config, method = state.run.config, state.run.config.about_method
    if not config.start_from:
        if method.trained_start:
            raise UsageError(f"{config.method} starts from trained members: name their run by --from RUN")
        return []
    try:
        source = open_run(Path(config.start_from))
        trained, digest = load_ensemble(source, device=state.device)
    except RunError as error:
        raise UsageError(f"--from: {error}") from error
    for what in ("data", "model", "members"):
        ours, theirs = getattr(config, what), getattr(source.config, what)
        if ours != theirs:
            raise UsageError(f"--from {source.path}: it has {what} {theirs}, this training {ours}")
    if not same_split(config, source.config, "train"):
        raise UsageError(f"--from {source.path}: it was trained on other {config.data} images or labels (their SHA-256 differs)")
    if (str(trained), trained.voting) != (str(state.ensemble), state.ensemble.voting):
        raise UsageError(
            f"--from {source.path}: members of {source.config.method} are built differently from those of {config.method}"
        )
    state.ensemble.load_state_dict(trained.state_dict())
    return [f"starts from {source.path}, epoch {source.checkpoints()[-1].name}, SHA-256 {digest}"]
