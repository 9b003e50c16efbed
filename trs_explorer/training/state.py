"""All that a training holds between two steps, how it is made, and how it finds back to a checkpoint."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trs_explorer import data
from trs_explorer.catalogue import METHODS, load
from trs_explorer.config import TrainConfig, same_split
from trs_explorer.models import Ensemble, build
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError
from trs_explorer.run_config import change_config
from trs_explorer.runs import Run, RunError, open_run
from trs_explorer.training import checkpoints
from trs_explorer.training.device import resolve_device, use_bfloat16
from trs_explorer.training.model_check import check_members
from trs_explorer.training.parallel import parts_for

PROBE_IMAGES = 128


class TrainingError(RuntimeError):
    """The training cannot go on; the message says why, where, and what to try. The last good checkpoint stays."""


@dataclass(frozen=True)
class Progress:
    """Whole epochs done, steps done in the present one, and steps done in all."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0


@dataclass
class State:
    """A training between two steps.

    options: the method's, as they stand now: viewers may change the lambdas. parts: of a batch, computed side by side.
    weights: of the images for the member `weighed`, where members are trained one after another; see `weigh`.
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
    at: Progress = field(default_factory=Progress)
    saved: Progress | None = None
    weights: Tensor | None = None
    weighed: int | None = None

    @property
    def batch_size(self) -> int:
        """Images per step; the images that do not fill a last batch wait for the next epoch's order."""
        return min(self.run.config.batch_size, len(self.images))

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.images) // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.run.config.epochs * self.steps_per_epoch

    @property
    def done(self) -> float:
        """How far the training is, 0 to 1."""
        return self.at.step / self.steps

    @property
    def member(self) -> int | None:
        """The member in training, if they are trained one after another: the epochs are shared out, later ones get one more."""
        if not METHODS[self.run.config.method].boost:
            return None
        members, epochs = self.run.config.members, self.run.config.epochs
        return min(members - 1, ((self.at.epoch + 1) * members - 1) // epochs)

    @property
    def stage(self) -> tuple[int, int]:
        """Steps done and steps in all of what the learning rate rises and falls over: the training, or the member's share."""
        if self.member is None:
            return self.at.step, self.steps
        members, epochs, each = self.run.config.members, self.run.config.epochs, self.steps_per_epoch
        first, last = (number * epochs // members for number in (self.member, self.member + 1))
        return self.at.step - first * each, (last - first) * each

    def weigh(self, done: int, *, training: bool) -> None:
        """With `done` members trained, weigh the members' votes and the images; training: the next one is about to be.

        Only where members are trained one after another. It follows from the trained members' weights alone: a resumed
        training does it again.
        """
        boost = load(METHODS[self.run.config.method].boost)
        self.weights = boost(self.ensemble.eval(), self.images, done=done, training=training)
        self.weighed = done if training else None

    @property
    def arithmetic(self) -> dict[str, object]:
        """What the last bits depend on besides the config: it is kept with a checkpoint, for a resume elsewhere."""
        return {"device": self.device.type, "bfloat16": self.bfloat16, "parts": self.parts}

    def save(self) -> dict[str, str]:
        """Write a checkpoint of this moment; returns what its event says.

        Raises: RunError if the disk does not take it, TrainingError if a weight is not finite.
        """
        broken = next((name for name, value in self.ensemble.state_dict().items() if not value.isfinite().all()), None)
        if broken:
            raise TrainingError(f"the weights {broken} are not finite at step {self.at.step}: not saved; try a lower --lr")
        kept = {"optimizer": self.optimizer.state_dict(), "options": self.options, **self.arithmetic, **asdict(self.at)}
        named = checkpoints.save(self.run, self.ensemble, kept, epoch=self.at.epoch, step_in_epoch=self.at.step_in_epoch)
        self.saved = self.at
        return named


def prepare(run: Run) -> State:
    """The state at step 0, by the run's config; before anything is trained, the config learns its data's fingerprint.

    Raises: UsageError for a device or data set that is not here or cannot be read, other data than the run's, or a model that the
    method cannot train.
    """
    device = resolve_device(run.config.device)
    images, held_out = (data.load_for(run, train=train) for train in (True, False))
    if images.fingerprint and not run.config.data_fingerprint and not run.checkpoints():
        run = change_config(run, data_fingerprint={"train": images.fingerprint, "test": held_out.fingerprint})
    config, images = run.config, images.to(device)
    last = torch.arange(max(0, len(held_out) - PROBE_IMAGES), len(held_out))
    ensemble = build(config.model, config.data, config.members, seed=config.seed, method=config.method).to(device)
    check_members(config, ensemble)
    whole = METHODS[config.method].whole_batch
    return State(
        run=run,
        device=device,
        bfloat16=use_bfloat16(config.precision, device),
        images=images,
        probe_x=held_out.images(last).to(device),
        probe_y=held_out.y[last].to(device),
        ensemble=ensemble,
        optimizer=_optimizer(config, ensemble),
        options=dict(config.options),
        parts=1 if whole else parts_for(ensemble, min(config.batch_size, len(images)), images.x[0].numel(), device),
    )


def _optimizer(config: TrainConfig, ensemble: Ensemble) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(ensemble.parameters(), lr=config.lr, momentum=0.9, weight_decay=config.weight_decay, fused=True)
    return torch.optim.Adam(ensemble.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def begin(state: State) -> list[str]:
    """Take the first weights from the run that the config names, if any; returns a note that says so.

    Raises: UsageError if the method needs one, or the run cannot be read, or its members are of another kind.
    """
    config, method = state.run.config, METHODS[state.run.config.method]
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
        mine, theirs = getattr(config, what), getattr(source.config, what)
        if mine != theirs:
            raise UsageError(f"--from {source.path}: it has {what} {theirs}, this training {mine}")
    if not same_split(config, source.config, "train"):
        raise UsageError(f"--from {source.path}: it was trained on other {config.data} images or labels (their SHA-256 differs)")
    if (str(trained), trained.voting) != (str(state.ensemble), state.ensemble.voting):
        raise UsageError(f"--from {source.path}: members of {source.config.method} are not built as those of {config.method}")
    state.ensemble.load_state_dict(trained.state_dict())
    return [f"starts from {source.path}, epoch {source.checkpoints()[-1].name}, SHA-256 {digest}"]
