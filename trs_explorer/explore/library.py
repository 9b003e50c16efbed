"""The library of the runs that the explorer may show, by name, and a cache of what is loaded. Thread-safe."""

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

from trs_explorer import data, plugins, runs
from trs_explorer.catalogue import DATA
from trs_explorer.config import embedded_fingerprint
from trs_explorer.data import Dataset
from trs_explorer.explore.run_files import MAX_LOG, MAX_WEIGHTS, check_size, choose
from trs_explorer.explore.run_names import replace_folder_by_name, without_copies, without_folders
from trs_explorer.files import Json, printable
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError, unknown
from trs_explorer.runs import Checkpoint, Run, RunError

SCAN_INTERVAL_S = 1.0  # between two scans of the folders
MAX_ENSEMBLES, MAX_DIGESTS = 24, 256  # that are cached
HEAD = 1 << 14  # bytes that contain a log's first event
PLANE = (1, 1, 2)  # the shape of a point in the plane
WAIT_S = 20.0  # for another request that reads the same file; then the request fails, and its thread is free again
# The errors that damaged files can cause.
DAMAGE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, RecursionError)


class StillRead(RunError):
    """Another request is reading the run, which takes long where code of others builds its members."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A loaded checkpoint.

    run, name: the run, and its name in the library.
    checkpoint: the checkpoint's name.
    ensemble: in eval mode, with frozen weights, on the library's device.
    digest: the SHA-256 of the weights.
    data: the test images, on the CPU.
    train: the training points, for data in the plane; None for images, which are many.
    """

    run: Run
    name: str
    checkpoint: str
    ensemble: Ensemble
    digest: str
    data: Dataset
    train: Dataset | None

    @property
    def identity(self) -> str:
        """What results are cached by: the digest, and names of code of others, which may compute otherwise with equal weights."""
        return " ".join([self.digest, *(name for _, name in self.run.config.code_of_others())])


class Library:
    """The runs that the explorer may show, by name. Nothing outside them can be reached, and nothing is written to them.

    Names are keys and never become paths. A name is the folder's name in printable characters; a second run of that name is
    "name (2)", unless it is a copy of the first, which is shown once. A run keeps its name while the library lives. Error
    messages call a run by its name.

    readonly: the library is shown to other machines: error messages contain no folders, and pictures cannot be uploaded.
    """

    readonly = False

    def __init__(self, paths: Sequence[Path], *, device: torch.device | str = "auto", data_dir: str = "") -> None:
        """Scan the paths for runs.

        paths: each is a run, or a folder of runs; runs that appear later are found too.
        device: where ensembles compute; "auto": a GPU if there is one.
        data_dir: the folder with the runs' data, if it is not where their configs say. Embedded data does not need it.
        Raises: RunError if there is no readable run.
        """
        cuda = torch.cuda.is_available()
        self.device = torch.device(("cuda" if cuda else "cpu") if device == "auto" else device)
        self._paths = list(paths)
        self._data_dir = data_dir
        self._lock = threading.RLock()  # held for scans of folders and access to tables
        # One lock per file that is read: a run whose files are slow blocks no other run.
        self._busy: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()
        self._names: dict[Path, str] = {}  # every run ever seen
        self._runs: dict[str, Run] = {}
        self._scanned = -SCAN_INTERVAL_S
        self._ensembles: OrderedDict[tuple, tuple[Ensemble, str]] = OrderedDict()
        self._data: dict[tuple, Dataset] = {}
        self._events: dict[Path, tuple[int, list[Json]]] = {}
        self._digests: dict[tuple, str] = {}
        if not self.names:
            raise RunError(self._why_no_run())

    @property
    def names(self) -> list[str]:
        """The names of the current runs, in the order of the paths and by name in a folder. Scans at most once a second."""
        return list(self.runs())

    def runs(self) -> dict[str, Run]:
        """Return the current runs by name, in the order of `names`."""
        with self._lock:
            if time.monotonic() - self._scanned >= SCAN_INTERVAL_S:
                self._scan()
            return dict(self._runs)

    def run(self, name: str) -> Run:
        """Return the run with this name. Raises a UsageError that lists the names."""
        library_runs = self.runs()
        if name not in library_runs:
            raise UsageError(unknown("run", str(name)[:80], tuple(library_runs)))
        return library_runs[name]

    def may_run(self, name: str) -> bool:
        """Whether all code of others that a run names is allowed; also if it names none. Raises as `run`."""
        return all(plugins.is_allowed(kind, code) for kind, code in self.run(name).config.code_of_others())

    def checkpoints(self, name: str) -> list[str]:
        """Return the names of a run's checkpoints, oldest first; none before its training has saved one. Raises as `load`."""
        run = self.run(name)
        with self.readable_errors(name, run):
            return [checkpoint.name for checkpoint in run.checkpoints()]

    def status(self, name: str) -> Json:
        """Return the trainer's last status, as `Run.status`. Raises as `load`."""
        run = self.run(name)
        with self.readable_errors(name, run):
            return run.status()

    def load(self, name: str, checkpoint: str = "") -> Loaded:
        """Load a checkpoint's ensemble and data; by default the newest checkpoint.

        Raises: UsageError for an unknown run or data that cannot be found; RunError if there is no such checkpoint (any more), if
        it is damaged, or as StillRead if another request has been reading it for WAIT_S seconds.
        """
        run = self.run(name)
        with self.readable_errors(name, run):
            for _ in range(3):  # if a trainer removes the newest checkpoint between these two lines, there is a newer one
                chosen = choose(run, checkpoint)
                if (ensemble_and_digest := self._ensemble(run, chosen)) is not None:
                    break
            else:
                raise RunError(f"{run.path}{os.sep}epoch-{chosen.name}.safetensors is gone: choose another checkpoint")
            test = self._dataset(run, train=False)
            train = self._dataset(run, train=True) if DATA[run.config.data].shape == PLANE else None
        return Loaded(run, name, chosen.name, *ensemble_and_digest, test, train)

    def digest(self, name: str, checkpoint: Checkpoint) -> str:
        """Return the SHA-256 of a checkpoint's weights, computed once while the file stays the same. Raises as `load`."""
        with self.readable_errors(name, self.run(name)):
            return self._digest(checkpoint)

    def events(self, name: str) -> list[Json]:
        """Return a run's events so far, oldest first. Only new ones are read. Do not change them: all callers get the same dicts.

        Raises: as `run`; RunError if the log cannot be read.
        """
        run = self.run(name)
        with self.readable_errors(name, run), self._one_at_a_time(("events", run.path)):
            offset, events = self._events.setdefault(run.path, (0, []))
            check_size(run.path / "events.jsonl", MAX_LOG)
            batch = runs.read_events(run, offset)
            replaced = batch.offset < offset or (batch.events and runs.read_events(run, 0, HEAD).events[:1] != events[:1])
            if events and replaced:  # a new training has replaced the old one
                batch, events = runs.read_events(run), []
            events += batch.events
            self._events[run.path] = batch.offset, events
            return list(events)

    @contextmanager
    def readable_errors(self, name: str, run: Run) -> Iterator[None]:
        """Convert any error about a run's files into a UsageError or RunError whose message names the run."""
        try:
            yield
        except UsageError as error:
            raise UsageError(self._message(str(error), name, run)) from error
        except StillRead:
            raise
        except RunError as error:
            raise RunError(self._message(str(error), name, run)) from error
        except OSError as error:
            raise RunError(self._message(f"cannot read {name}: {error.strerror or error}", name, run)) from error
        except DAMAGE as error:
            raise RunError(self._message(f"{name} is damaged: {error}"[:300], name, run)) from error

    def _message(self, text: str, name: str, run: Run) -> str:
        text = replace_folder_by_name(text, name, run)
        return without_folders(text, run) if self.readonly else text

    def _scan(self) -> None:
        """Scan for runs, and give each new one a unique name. The caller holds the lock."""
        by_folder: dict[Path, Run] = {}
        for path in self._paths:
            try:
                by_folder |= {run.path.resolve(): run for run in runs.find_runs(path) if run.path.resolve() not in by_folder}
            except (RunError, OSError):
                continue
        shown = without_copies(by_folder, self._names, self._digest)
        for place, run in by_folder.items():
            if place in shown and place not in self._names:
                taken, base, count = set(self._names.values()), printable(run.name), 1
                name = base
                while name in taken:
                    count += 1
                    name = f"{base} ({count})"
                self._names[place] = name
        self._runs = {self._names[place]: run for place, run in by_folder.items() if place in shown}
        self._scanned = time.monotonic()

    def _digest(self, checkpoint: Checkpoint) -> str:
        file = check_size(checkpoint.weights, MAX_WEIGHTS)
        assert file is not None
        key = checkpoint.weights, file.st_mtime_ns, file.st_size, file.st_ino
        if key not in self._digests:
            while len(self._digests) >= MAX_DIGESTS:
                self._digests.pop(next(iter(self._digests)), None)
            self._digests[key] = checkpoint.digest()
        return self._digests[key]

    def _why_no_run(self) -> str:
        for path in self._paths:
            try:
                runs.find_runs(path)
            except RunError as error:
                return str(error)
            except OSError as error:
                return f"cannot read {path}: {error.strerror or error}"
        where = ", ".join(map(str, self._paths)) or "no folder"
        return f"there is no run in {where}: train one with trs train, or name the folder of a run"

    def _ensemble(self, run: Run, checkpoint: Checkpoint) -> tuple[Ensemble, str] | None:
        """Return the ensemble and its digest, loaded once while the file stays the same; None if the file is gone."""
        file = check_size(checkpoint.weights, MAX_WEIGHTS)
        if file is None:
            return None
        key = (checkpoint.weights, file.st_mtime_ns, file.st_size, file.st_ino, run.config.model, run.config.members)
        if (cached := self._cached_ensemble(key)) is not None:
            return cached
        with self._one_at_a_time(key):
            if (cached := self._cached_ensemble(key)) is not None:  # another thread has loaded it meanwhile
                return cached
            try:
                ensemble, digest = load_ensemble(run, device=self.device, checkpoint=checkpoint)
            except (RunError, OSError) as error:
                if not checkpoint.weights.exists():
                    return None
                raise RunError(f"{error}: choose another checkpoint") from error
            ensemble.requires_grad_(False)
            with self._lock:
                self._ensembles[key] = ensemble, digest
                if len(self._ensembles) > MAX_ENSEMBLES:
                    self._ensembles.popitem(last=False)
            return ensemble, digest

    @contextmanager
    def _one_at_a_time(self, key: Hashable) -> Iterator[None]:
        """Let one thread at a time read a file, so that it is read once. Raises StillRead after waiting WAIT_S seconds."""
        with self._lock:
            lock = self._busy.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=WAIT_S):
            raise StillRead("another request is still reading it: try again in a while")
        try:
            yield
        finally:
            lock.release()

    def _cached_ensemble(self, key: tuple) -> tuple[Ensemble, str] | None:
        with self._lock:
            if key in self._ensembles:
                self._ensembles.move_to_end(key)
            return self._ensembles.get(key)

    def _dataset(self, run: Run, *, train: bool) -> Dataset:
        """Return a split of the run's data, read once for all runs on it. Raises as `data.load_for`."""
        config, limit = run.config, run.config.limit if train else 0
        data_dir = "" if embedded_fingerprint(config.data, config.data_dir) else self._data_dir
        fingerprint = config.data_fingerprint.get("train" if train else "test", "")  # the files may have changed since
        key = (config.data, data.folder_of(run, data_dir), fingerprint, train, limit)
        if key not in self._data:
            with self._one_at_a_time(key):
                if key not in self._data:
                    self._data[key] = data.load_for(run, train=train, data_dir=data_dir)
        return self._data[key]
