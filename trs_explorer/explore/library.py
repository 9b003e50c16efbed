"""The runs that the explorer may show, by name, and what is loaded of them. Safe to use from many threads."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from trs_explorer import data, runs
from trs_explorer.catalogue import DATA
from trs_explorer.data import Dataset
from trs_explorer.files import Json
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError, unknown
from trs_explorer.runs import Checkpoint, Run, RunError

SCAN_EVERY = 1.0  # seconds between two looks at the folders
KEPT = 24  # loaded ensembles
HEAD = 1 << 14  # bytes in which a log's first event lies
PLANE = (1, 1, 2)  # the shape of a point of the plane


@dataclass(frozen=True, eq=False)
class Loaded:
    """A checkpoint's ensemble, in eval mode with frozen weights on the library's device, and its data, on the CPU.

    name: the run's name in the library.  digest: the weights' SHA-256.  data: the test images.
    train: the points that it was trained on, for data in the plane; None for images, which are many.
    """

    run: Run
    name: str
    checkpoint: str
    ensemble: Ensemble
    digest: str
    data: Dataset
    train: Dataset | None


class Library:
    """The runs that the explorer may show, by name: nothing outside them can be reached.

    Names are keys and never become paths. They are the folders' names; a second one of a name is "name (2)". A run keeps its
    name while the library lives. Nothing is written to a run's folder.
    """

    def __init__(self, paths: Sequence[Path], *, device: torch.device | str = "auto") -> None:
        """Look into paths: each is a run, or a folder of runs, in which later ones are found too.

        device: where ensembles compute; "auto" is a GPU where there is one.
        Raises RunError if there is no run that can be read.
        """
        cuda = torch.cuda.is_available()
        self.device = torch.device(("cuda" if cuda else "cpu") if device == "auto" else device)
        self._paths = list(paths)
        self._lock = threading.RLock()  # held for looks into folders and tables
        self._loading = threading.Lock()  # held while weights or data are read: what is there already need not wait
        self._reading = threading.Lock()  # held while a log is read
        self._names: dict[Path, str] = {}  # every run that was ever seen
        self._runs: dict[str, Run] = {}
        self._scanned = -SCAN_EVERY
        self._ensembles: OrderedDict[tuple, tuple[Ensemble, str]] = OrderedDict()
        self._data: dict[tuple, Dataset] = {}
        self._events: dict[Path, tuple[int, list[Json]]] = {}
        if not self.names:
            raise RunError(self._why_none())

    @property
    def names(self) -> list[str]:
        """What there is by now: in the order of the paths, and by name in a folder. Looks at most once a second."""
        with self._lock:
            if time.monotonic() - self._scanned >= SCAN_EVERY:
                self._scan()
            return list(self._runs)

    def run(self, name: str) -> Run:
        """The run of that name. Raises UsageError that lists what there is."""
        with self._lock:
            names = self.names
            if name not in self._runs:
                raise UsageError(unknown("run", str(name)[:80], tuple(names)))
            return self._runs[name]

    def checkpoints(self, name: str) -> list[str]:
        """The names of a run's checkpoints, oldest first; none before its training has saved one. Raises as `run`."""
        return [checkpoint.name for checkpoint in self.run(name).checkpoints()]

    def load(self, name: str, checkpoint: str = "") -> Loaded:
        """A checkpoint's ensemble and data; the newest that there is now unless told otherwise.

        Raises: UsageError for an unknown run, or data that cannot be found; RunError if there is no such checkpoint (any more) or
        it is damaged.
        """
        run = self.run(name)
        for _ in range(3):  # a newest checkpoint that a trainer removes between these two lines leaves a newer one
            chosen = _choose(run, checkpoint)
            if (found := self._ensemble(run, chosen)) is not None:
                break
        else:
            raise RunError(f"{run.path}: epoch-{chosen.name}.safetensors is gone: choose another checkpoint")
        config = run.config
        test = self._dataset(config.data, config.data_dir, train=False)
        train = None
        if DATA[config.data].shape == PLANE:
            train = self._dataset(config.data, config.data_dir, train=True, limit=config.limit)
        return Loaded(run, name, chosen.name, *found, test, train)

    def events(self, name: str) -> list[Json]:
        """A run's events so far, oldest first: only what is new is read. Not to be changed: others get the same dicts.

        Raises: as `run`; RunError if the log cannot be read.
        """
        run = self.run(name)
        with self._reading:
            offset, events = self._events.setdefault(run.path, (0, []))
            try:
                batch = runs.read_events(run, offset)
                replaced = batch.offset < offset or (batch.events and runs.read_events(run, 0, HEAD).events[:1] != events[:1])
                if events and replaced:  # a new training in the old one's place
                    batch, events = runs.read_events(run), []
            except OSError as error:
                raise RunError(f"cannot read {run.path}: {error.strerror or error}") from error
            events += batch.events
            self._events[run.path] = batch.offset, events
            return list(events)

    def _scan(self) -> None:
        """Look for runs, and give each new one a name that no other has. With the lock held."""
        found: dict[Path, Run] = {}
        for path in self._paths:
            try:
                found |= {run.path.resolve(): run for run in runs.find_runs(path) if run.path.resolve() not in found}
            except (RunError, OSError):
                continue
        for place, run in found.items():
            if place not in self._names:
                taken, name, count = set(self._names.values()), run.name, 1
                while name in taken:
                    count += 1
                    name = f"{run.name} ({count})"
                self._names[place] = name
        self._runs = {self._names[place]: run for place, run in found.items()}
        self._scanned = time.monotonic()

    def _why_none(self) -> str:
        for path in self._paths:
            try:
                runs.find_runs(path)
            except RunError as error:
                return str(error)
            except OSError as error:
                return f"cannot read {path}: {error.strerror or error}"
        where = ", ".join(map(str, self._paths)) or "no folder"
        return f"there is no run in {where}: train one with trs train, or give the folder of a run"

    def _ensemble(self, run: Run, checkpoint: Checkpoint) -> tuple[Ensemble, str] | None:
        """The ensemble and its digest, loaded once while the file stays the same; None if the file is gone."""
        try:
            file = checkpoint.weights.stat()
        except OSError:
            return None
        key = (checkpoint.weights, file.st_mtime_ns, file.st_size, file.st_ino, run.config.model, run.config.members)
        if (known := self._recall(key)) is not None:
            return known
        with self._loading:
            if (known := self._recall(key)) is not None:  # another thread has loaded it meanwhile
                return known
            try:
                ensemble, digest = load_ensemble(run, device=self.device, checkpoint=checkpoint)
            except (RunError, OSError) as error:
                if not checkpoint.weights.exists():
                    return None
                raise RunError(f"{error}: choose another checkpoint") from error
            ensemble.requires_grad_(False)
            with self._lock:
                self._ensembles[key] = ensemble, digest
                if len(self._ensembles) > KEPT:
                    self._ensembles.popitem(last=False)
            return ensemble, digest

    def _recall(self, key: tuple) -> tuple[Ensemble, str] | None:
        with self._lock:
            if key in self._ensembles:
                self._ensembles.move_to_end(key)
            return self._ensembles.get(key)

    def _dataset(self, name: str, data_dir: str, *, train: bool, limit: int = 0) -> Dataset:
        key = (name, data_dir, train, limit)
        if key not in self._data:
            with self._loading:
                if key not in self._data:
                    self._data[key] = data.load(name, train=train, data_dir=data_dir, limit=limit)
        return self._data[key]


def _choose(run: Run, name: str) -> Checkpoint:
    found = run.checkpoints()
    if not found:
        raise RunError(f"{run.path} has no checkpoint yet: nothing has been saved. Wait for the training's first one")
    if not name:
        return found[-1]
    chosen = next((checkpoint for checkpoint in found if checkpoint.name == name), None)
    if chosen is None:
        names = ", ".join(checkpoint.name for checkpoint in found[-8:])
        raise RunError(f"{run.path} has no checkpoint {name[:80]!r}, or no longer: choose another, such as {names}")
    return chosen
