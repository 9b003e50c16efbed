"""What all measurements of a run have in common: load its newest ensemble, resume and save partial results, gather, store.

A measurement reports progress and prints through callbacks, so that a command, a notebook and a test can use it alike.
"""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch

from trs_explorer import __version__, plugins
from trs_explorer.attack_catalogue import attack, is_custom, options_for
from trs_explorer.attack_labels import Label
from trs_explorer.attacks.custom import adapted
from trs_explorer.catalogue import load
from trs_explorer.data import Dataset
from trs_explorer.files import Json
from trs_explorer.measure.saved_images import SavedImages
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stored import load_ensemble
from trs_explorer.results import PartialResult, write_result
from trs_explorer.runs import Checkpoint, Run, RunError

T = TypeVar("T")
INTERRUPTED = "interrupted: the results so far are saved; the same command continues from there"
RESUMED = "continuing an interrupted measurement"


class Progress(Protocol):
    """A callback for progress: called with the work done, all of it (None: unknown), and perhaps what is being done."""

    def __call__(self, done: float, total: float | None, now: str = "") -> object:
        """Show the progress."""
        ...


Notify = Callable[[str], object]  # called with a line of text for the user


def no_progress(done: float, total: float | None, now: str = "") -> None:
    """Show nothing."""


def no_notify(text: str) -> None:
    """Print nothing."""


@dataclass(frozen=True)
class Reporting:
    """Where a measurement reports to: how far it is, and lines of text for the user. By default nowhere."""

    progress: Progress = no_progress
    notify: Notify = no_notify


@dataclass(frozen=True)
class Measurement:
    """A finished measurement. result: what a file under results/ holds; None in every process but rank 0.

    partial: its partial result, to be deleted when the result is stored (`store`).
    images: the images, where they were asked for; None in every process but rank 0.
    """

    run: Run
    kind: str
    result: Json | None
    partial: PartialResult
    images: SavedImages | None = None


@dataclass
class Session:
    """One run's measurement in this process.

    - description: what the stored result says of it; the same in all processes.
    - shard: the images of this process.
    - partial, stored: the file of the partial result, and the values that an interrupted measurement left in it.
    - values: returns the values so far, as JSON; set when the measurement starts.
    """

    run: Run
    kind: str
    ensemble: Ensemble
    description: Json
    shard: slice
    partial: PartialResult
    stored: Json
    group: ProcessGroup
    values: Callable[[], Json] = field(default=dict)

    def save(self, *, now: bool = False) -> None:
        """Save the values so far for a continuation, every two seconds at most unless `now`."""
        self.partial.save(self.values(), now=now)

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank, in rank 0; an empty list in the others."""
        return self.group.gather(self.description, value)

    def finished(self, result: Json | None, images: SavedImages | None = None) -> Measurement:
        """The measurement with its result and images; None in every process but rank 0."""
        return Measurement(self.run, self.kind, result, self.partial, images)


def open_session(
    run: Run,
    kind: str,
    ensemble: Ensemble,
    description: Json,
    request: Json,
    n: int,
    group: ProcessGroup,
    *,
    resumable: bool = True,
) -> Session:
    """A session of n images, this process's share of them, and what an interrupted measurement of the same left.

    request: what the figures depend on besides the description.
    resumable: False for a measurement whose images are kept. It takes nothing of an interrupted one, whose images are lost, and
        must leave nothing: its `values` stay unset.
    """
    shard = group.shard(n)
    partial = PartialResult(run, kind, {**description, **request, "share": [shard.start, shard.stop]})
    partial.saved &= resumable  # an interruption says whether the same command continues
    return Session(run, kind, ensemble, description, shard, partial, partial.load() if resumable else {}, group)


@contextmanager
def saving(sessions: Sequence[Session], notify: Notify, *, resumed: bool) -> Iterator[None]:
    """Save the partial results of sessions whatever ends the measurement inside; tell the user of a continuation and of Ctrl-C.

    resumed: whether something of an interrupted measurement is used.
    """
    first = all(session.group.rank == 0 for session in sessions)
    if resumed and first:
        notify(RESUMED)
    interrupted = False
    try:
        yield
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        for session in sessions:
            session.save(now=True)
        if interrupted and first and all(session.partial.saved for session in sessions):
            notify(INTERRUPTED)


def store(measurements: Sequence[Measurement], group: ProcessGroup | None = None, notify: Notify = no_notify) -> None:
    """Store every result with its run and delete its partial result, which stays where the result cannot be stored.

    All processes of a group must call this; rank 0 stores.
    """
    stored = [one.result is not None and _stored(one, notify) for one in measurements]
    for one, safe in zip(measurements, (group or ProcessGroup()).broadcast(stored), strict=True):
        if safe:
            one.partial.delete()


def _stored(measurement: Measurement, notify: Notify) -> bool:
    try:
        write_result(measurement.run, measurement.kind, measurement.result or {})
    except RunError as error:
        notify(f"not stored with the run: {error}")
        return False
    return True


def load_newest(run: Run, device: torch.device | str) -> tuple[Ensemble, Json]:
    """A run's newest ensemble, and what a result says of it: the run, the checkpoint and the weights' SHA-256."""
    return load_at(run, device, None)


def load_at(run: Run, device: torch.device | str, checkpoint: Checkpoint | None) -> tuple[Ensemble, Json]:
    """As `load_newest`, of any checkpoint; None: the newest."""
    chosen = [checkpoint] if checkpoint else run.checkpoints()[-1:]  # looked up once: a training may save another meanwhile
    ensemble, weights = load_ensemble(run, device=device, checkpoint=chosen[0] if chosen else None)
    return ensemble, {"run": run.name, "checkpoint": chosen[0].name, "weights": weights}


def describe(loaded: Json, test: Dataset, images: str, device: torch.device | str, seed: int) -> Json:
    """What every stored result says: run and weights (`load_newest`), data set and its images, seed, device and versions."""
    about_data = {"data": f"{test.name}, {images}", "data_fingerprint": test.fingerprint}
    return {**loaded, **about_data, "seed": seed, **environment(device)}


def code_of(run: Run, attacks: Sequence[str] = ()) -> Json:
    """What a stored result says of code of others that its figures depend on: the SHA-256 of each file; {} without any."""
    named = [*run.config.code_of_others(), *(("attack", name) for name in attacks if is_custom(name))]
    loaded = [(kind, name) for kind, name in named if plugins.is_allowed(kind, name)]
    return {"code": {plugins.short(name): plugins.source_digest(kind, name) for kind, name in loaded}} if loaded else {}


def environment(device: torch.device | str) -> Json:
    """Device and versions, on which the last bits of figures depend."""
    versions = {"trs_explorer": __version__, "torch": torch.__version__, "python": platform.python_version()}
    return {"device": torch.device(device).type, "versions": versions}


def attack_function(name: str) -> Callable[..., torch.Tensor]:
    """The attack of that name, also one of others."""
    function = load(attack(name).function)
    return adapted(function, plugins.short(name)) if is_custom(name) else function


def attack_label(name: str, options: Mapping[str, Any]) -> str:
    """The label of an attack's results: "pgd-50", "pgd-margin-50 x5". A loss is named where it is not the attack's usual one."""
    loss = options.get("loss", "")
    unusual = "" if loss == attack(name).loss else str(loss)
    return str(Label(plugins.short(name), unusual, options.get("steps"), options.get("restarts", 1)))


def attack_options(name: str, options: Mapping[str, object], **budget: int) -> dict[str, Any]:
    """The keyword arguments of an attack besides its eps or c.

    - options: those that the user chose, such as norm and confidence; an attack gets those that it takes.
    - budget: steps and restarts, for attacks with a radius. The others, and attacks of others, have their own numbers of steps.
    """
    shared = options_for(name, budget) if attack(name).has_radius and not is_custom(name) else {}
    return shared | options_for(name, options)
