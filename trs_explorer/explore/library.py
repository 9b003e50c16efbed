"""The runs that the explorer may show, by name, and what is loaded of them. Safe to use from many threads."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import torch

from trs_explorer import data, runs
from trs_explorer.catalogue import DATA
from trs_explorer.config import embedded_fingerprint
from trs_explorer.data import Dataset
from trs_explorer.explore.run_names import named, without_copies, without_folders
from trs_explorer.files import Json, printable
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError, unknown
from trs_explorer.runs import Checkpoint, Run, RunError

SCAN_EVERY = 1.0  # seconds between two looks at the folders
KEPT, KEPT_DIGESTS = 24, 256  # loaded ensembles, and weights of which the digest is known
HEAD = 1 << 14  # bytes in which a log's first event lies
PLANE = (1, 1, 2)  # the shape of a point of the plane
WAIT_S = 20.0  # for another request that reads the same: then a page is told, and its thread serves others
MOST_LOG, MOST_WEIGHTS = 1 << 28, 1 << 32  # bytes of a log and of a checkpoint's weights: real ones have a tenth
# What can go wrong with files that may hold anything.
DAMAGE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, RecursionError)


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

    Names are keys and never become paths. They are the folders' names in printable characters; a second one of a name is
    "name (2)", unless it is a copy of the first: that is shown once. A run keeps its name while the library lives. Nothing is
    written to a run's folder. What is wrong with a run is told by its name.

    readonly: other machines look on. Their errors do not say where anything is on this one, and they bring no pictures.
    """

    readonly = False

    def __init__(self, paths: Sequence[Path], *, device: torch.device | str = "auto", data_dir: str = "") -> None:
        """Look into paths: each is a run, or a folder of runs, in which later ones are found too.

        device: where ensembles compute; "auto" is a GPU where there is one. data_dir: folder with the runs' data, if it is not
        where their configs say; runs on the data that comes with trs do not need it.
        Raises RunError if there is no run that can be read.
        """
        cuda = torch.cuda.is_available()
        self.device = torch.device(("cuda" if cuda else "cpu") if device == "auto" else device)
        self._paths = list(paths)
        self._data_dir = data_dir
        self._lock = threading.RLock()  # held for looks into folders and tables
        # One lock for everything that is read: a run whose files are slow keeps no other waiting.
        self._busy: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()
        self._names: dict[Path, str] = {}  # every run that was ever seen
        self._runs: dict[str, Run] = {}
        self._scanned = -SCAN_EVERY
        self._ensembles: OrderedDict[tuple, tuple[Ensemble, str]] = OrderedDict()
        self._data: dict[tuple, Dataset] = {}
        self._events: dict[Path, tuple[int, list[Json]]] = {}
        self._digests: dict[tuple, str] = {}
        if not self.names:
            raise RunError(self._why_none())

    @property
    def names(self) -> list[str]:
        """What there is by now: in the order of the paths, and by name in a folder. Looks at most once a second."""
        return list(self.runs())

    def runs(self) -> dict[str, Run]:
        """The runs that there are by now, by name, in the order of `names`."""
        with self._lock:
            if time.monotonic() - self._scanned >= SCAN_EVERY:
                self._scan()
            return dict(self._runs)

    def run(self, name: str) -> Run:
        """The run of that name. Raises UsageError that lists what there is."""
        known = self.runs()
        if name not in known:
            raise UsageError(unknown("run", str(name)[:80], tuple(known)))
        return known[name]

    def checkpoints(self, name: str) -> list[str]:
        """The names of a run's checkpoints, oldest first; none before its training has saved one. Raises as `load`."""
        run = self.run(name)
        with self.event_line(name, run):
            return [checkpoint.name for checkpoint in run.checkpoints()]

    def status(self, name: str) -> Json:
        """What the trainer said last, as `Run.status`. Raises as `load`."""
        run = self.run(name)
        with self.event_line(name, run):
            return run.status()

    def load(self, name: str, checkpoint: str = "") -> Loaded:
        """A checkpoint's ensemble and data; the newest that there is now unless told otherwise.

        Raises: UsageError for an unknown run, or data that cannot be found; RunError if there is no such checkpoint (any more),
        it is damaged, or another request has been reading it for WAIT_S seconds.
        """
        run = self.run(name)
        with self.event_line(name, run):
            for _ in range(3):  # a newest checkpoint that a trainer removes between these two lines leaves a newer one
                chosen = _choose(run, checkpoint)
                if (found := self._ensemble(run, chosen)) is not None:
                    break
            else:
                raise RunError(f"{run.path}{os.sep}epoch-{chosen.name}.safetensors is gone: choose another checkpoint")
            test = self._dataset(run, train=False)
            train = self._dataset(run, train=True) if DATA[run.config.data].shape == PLANE else None
        return Loaded(run, name, chosen.name, *found, test, train)

    def digest(self, name: str, checkpoint: Checkpoint) -> str:
        """The SHA-256 of a checkpoint's weights, computed once while the file stays the same. Raises as `load`."""
        with self.event_line(name, self.run(name)):
            return self._digest(checkpoint)

    def events(self, name: str) -> list[Json]:
        """A run's events so far, oldest first: only what is new is read. Not to be changed: others get the same dicts.

        Raises: as `run`; RunError if the log cannot be read.
        """
        run = self.run(name)
        with self.event_line(name, run), self._one_at_a_time(("events", run.path)):
            offset, events = self._events.setdefault(run.path, (0, []))
            _check_size(run.path / "events.jsonl", MOST_LOG)
            batch = runs.read_events(run, offset)
            replaced = batch.offset < offset or (batch.events and runs.read_events(run, 0, HEAD).events[:1] != events[:1])
            if events and replaced:  # a new training in the old one's place
                batch, events = runs.read_events(run), []
            events += batch.events
            self._events[run.path] = batch.offset, events
            return list(events)

    @contextmanager
    def event_line(self, name: str, run: Run) -> Iterator[None]:
        """Turn whatever goes wrong with a run's files into a UsageError or RunError that says it by the run's name."""
        try:
            yield
        except UsageError as error:
            raise UsageError(self._told(str(error), name, run)) from error
        except RunError as error:
            raise RunError(self._told(str(error), name, run)) from error
        except OSError as error:
            raise RunError(self._told(f"cannot read {name}: {error.strerror or error}", name, run)) from error
        except DAMAGE as error:
            raise RunError(self._told(f"{name} is damaged: {error}"[:300], name, run)) from error

    def _told(self, text: str, name: str, run: Run) -> str:
        text = named(text, name, run)
        return without_folders(text, run) if self.readonly else text

    def _scan(self) -> None:
        """Look for runs, and give each new one a name that no other has. With the lock held."""
        found: dict[Path, Run] = {}
        for path in self._paths:
            try:
                found |= {run.path.resolve(): run for run in runs.find_runs(path) if run.path.resolve() not in found}
            except (RunError, OSError):
                continue
        kept = without_copies(found, self._names, self._digest)
        for place, run in found.items():
            if place in kept and place not in self._names:
                taken, first, count = set(self._names.values()), printable(run.name), 1
                name = first
                while name in taken:
                    count += 1
                    name = f"{first} ({count})"
                self._names[place] = name
        self._runs = {self._names[place]: run for place, run in found.items() if place in kept}
        self._scanned = time.monotonic()

    def _digest(self, checkpoint: Checkpoint) -> str:
        file = _check_size(checkpoint.weights, MOST_WEIGHTS)
        assert file is not None
        key = checkpoint.weights, file.st_mtime_ns, file.st_size, file.st_ino
        if key not in self._digests:
            while len(self._digests) >= KEPT_DIGESTS:
                self._digests.pop(next(iter(self._digests)), None)
            self._digests[key] = checkpoint.digest()
        return self._digests[key]

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
        file = _check_size(checkpoint.weights, MOST_WEIGHTS)
        if file is None:
            return None
        key = (checkpoint.weights, file.st_mtime_ns, file.st_size, file.st_ino, run.config.model, run.config.members)
        if (known := self._recall(key)) is not None:
            return known
        with self._one_at_a_time(key):
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

    @contextmanager
    def _one_at_a_time(self, key: Hashable) -> Iterator[None]:
        """Let one thread at a time read a thing, so that it is read once. Raises RunError if another does for WAIT_S seconds."""
        with self._lock:
            lock = self._busy.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=WAIT_S):
            raise RunError("it is still being read for another request: try again in a while")
        try:
            yield
        finally:
            lock.release()

    def _recall(self, key: tuple) -> tuple[Ensemble, str] | None:
        with self._lock:
            if key in self._ensembles:
                self._ensembles.move_to_end(key)
            return self._ensembles.get(key)

    def _dataset(self, run: Run, *, train: bool) -> Dataset:
        """A split of the run's data, read once for all runs on it. Raises as `data.load_for`."""
        config, limit = run.config, run.config.limit if train else 0
        data_dir = "" if embedded_fingerprint(config.data, config.data_dir) else self._data_dir
        known = config.data_fingerprint.get("train" if train else "test", "")  # the files may be others by now
        key = (config.data, data.folder_of(run, data_dir), known, train, limit)
        if key not in self._data:
            with self._one_at_a_time(key):
                if key not in self._data:
                    self._data[key] = data.load_for(run, train=train, data_dir=data_dir)
        return self._data[key]


def _choose(run: Run, name: str) -> Checkpoint:
    found = run.checkpoints()
    if not found:
        raise RunError(f"{run.name} has no checkpoint yet: nothing has been saved. Wait for the training's first one")
    if not name:
        return found[-1]
    chosen = next((checkpoint for checkpoint in found if checkpoint.name == name), None)
    if chosen is None:
        names = ", ".join(checkpoint.name for checkpoint in found[-8:])
        raise RunError(f"{run.name} has no checkpoint {name[:80]!r}, or no longer: choose another, such as {names}")
    return chosen


def _check_size(path: Path, most: int) -> os.stat_result | None:
    """What the system says of a file; None if it is gone. Raises RunError if it is too large."""
    try:
        file = path.stat()
    except FileNotFoundError:
        return None
    if file.st_size > most:
        raise RunError(f"{path} is larger than {most >> 20:,} MiB: that is no run's")
    return file
