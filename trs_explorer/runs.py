"""A run is a folder. Only this module and `results` know the names of the files in it. No torch: reading must not need it.

config.json            every resolved option and the versions
events.jsonl           append-only, one JSON object a line; one writer (the trainer), any number of readers
status.json            replaced atomically: pid, state, step, heartbeat, error in words
epoch-0007.safetensors + state-0007.pt    weights, and what a resume needs besides
control.jsonl          what viewers ask of the trainer
results/, train.log    one JSON file per evaluation; the trainer's output when a dashboard started it
"""

import contextlib
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trs_explorer.config import TrainConfig, from_json
from trs_explorer.files import Json, finite, parse_lines, read_json, write_atomically
from trs_explorer.options import UsageError

ALIVE = ("running", "paused")


class RunError(RuntimeError):
    """A run folder cannot be used as asked; the message names the folder and the way out."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one moment. `name` is the file's stem after "epoch-"; state is missing for old ones."""

    name: str
    weights: Path
    state: Path | None

    def digest(self) -> str:
        """The SHA-256 of the weights' file. Raises RunError if it cannot be read."""
        try:
            return hashlib.sha256(self.weights.read_bytes()).hexdigest()
        except OSError as error:
            raise RunError(f"cannot read {self.weights}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Run:
    """A run's folder and its config."""

    path: Path
    config: TrainConfig

    @property
    def name(self) -> str:
        """What people call the run: its folder's name."""
        return self.path.name or self.path.resolve().name

    def status(self) -> Json:
        """The last status the trainer wrote, {} if there is none or it cannot be read.

        A state of "running" by a process that no longer lives is given as "crashed".
        """
        status = read_json(self.path / "status.json") or {}
        if status.get("state") in ALIVE and not trainer_alive(self):
            status["state"] = "crashed"
        return status

    def write_status(self, **fields: object) -> None:
        """Replace status.json in one piece."""
        status = {"pid": os.getpid(), "heartbeat": time.time(), **fields}
        write_atomically(self.path / "status.json", lambda path: path.write_text(json.dumps(status)), sync=False)

    def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints with weights on disk, oldest first."""
        found = {}
        for weights in self.path.glob("epoch-*.safetensors"):
            name = weights.stem.removeprefix("epoch-")
            if re.fullmatch(r"[0-9]{4,}(-[0-9]{6,})?", name):
                state = self.path / f"state-{name}.pt"
                found[tuple(map(int, name.split("-")))] = Checkpoint(name, weights, state if state.exists() else None)
        return [found[moment] for moment in sorted(found)]

    def recorded(self, checkpoint: Checkpoint) -> Json:
        """The newest event that names a checkpoint, with the SHA-256 of its files; {} if the log has none."""
        events = reversed(read_events(self).events)
        return next((e for e in events if e["kind"] == "checkpoint" and e.get("name") == checkpoint.name), {})

    def new_checkpoint(self, epoch: int, step_in_epoch: int) -> Checkpoint:
        """The names of a checkpoint to come: 0007 at the end of epoch 7, 0006-000123 at step 123 of the next."""
        name = f"{epoch:04d}" if step_in_epoch == 0 else f"{epoch:04d}-{step_in_epoch:06d}"
        return Checkpoint(name, self.path / f"epoch-{name}.safetensors", self.path / f"state-{name}.pt")

    @property
    def log(self) -> Path:
        """Where a trainer without a terminal writes what it would have printed."""
        return self.path / "train.log"


def create(path: Path, config: TrainConfig) -> Run:
    """A new run folder with its config. Raises RunError if the folder holds anything or cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        check_free(path)
        text = json.dumps(config.to_json(), indent=2) + "\n"
        write_atomically(path / "config.json", lambda temporary: temporary.write_text(text))
        (path / "events.jsonl").touch()
    except OSError as error:
        raise RunError(f"cannot write to {path}: {error.strerror or error}") from error
    return Run(path, config)


def check_free(path: Path) -> None:
    """Refuse a folder that holds anything in the place of a new run. Raises RunError."""
    if path.is_dir() and any(path.iterdir()):
        raise RunError(f"{path} exists and is not empty: choose another --out, or continue it with --resume {path}")


def open_run(path: Path) -> Run:
    """The run in an existing folder. Raises RunError if it is missing, empty, half written or of a newer format."""
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder")
    if not (path / "config.json").is_file():
        inside = "it is empty" if not any(path.iterdir()) else "it has no config.json"
        raise RunError(f"{path} is not a run: {inside}")
    stored = read_json(path / "config.json")
    if not isinstance(stored, dict):
        raise RunError(f"{path}/config.json is damaged: it is not JSON")
    try:
        return Run(path, from_json(stored))
    except UsageError as error:
        raise RunError(f"{path}: {error}") from error


def discard(run: Run) -> None:
    """Take back a folder in which nothing has happened: `create`'s files, and the folder if that leaves it empty."""
    for name in ("config.json", "events.jsonl", "status.json", "trainer.lock"):
        (run.path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run.path.rmdir()


def clear_temporaries(run: Run) -> None:
    """Remove what writes that a crash cut off have left. Only the trainer may, holding its lock."""
    for path in run.path.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def find_runs(path: Path) -> list[Run]:
    """The run at path, or the runs directly inside it by name; folders that are no runs are passed over."""
    if (path / "config.json").is_file():
        return [open_run(path)]
    found = []
    for folder in sorted(p for p in path.iterdir() if (p / "config.json").is_file()) if path.is_dir() else []:
        try:
            found.append(open_run(folder))
        except RunError:
            continue
    return found


# --- one trainer at a time -------------------------------------------------------------------------------------------


def trainer_lock(run: Run) -> FileLock:
    """The lock that a trainer holds while it lives (the system frees it at any death). Raises RunError if taken."""
    lock = FileLock(run.path / "trainer.lock")
    try:
        lock.acquire(timeout=1)  # a viewer that looks whether a trainer lives holds it for an instant
    except Timeout:
        pid = (read_json(run.path / "status.json") or {}).get("pid", "?")
        raise RunError(f"{run.path} is being trained by process {pid}: wait, or stop it first") from None
    except OSError as error:
        raise RunError(f"cannot write to {run.path}: {error.strerror or error}") from error
    return lock


def trainer_alive(run: Run) -> bool:
    """Whether some process holds the trainer's lock."""
    if not (run.path / "trainer.lock").exists():
        return False
    status = read_json(run.path / "status.json") or {}
    lock = FileLock(run.path / "trainer.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _lives(status.get("pid"))  # if not, it was another viewer's look that held it
    except OSError:
        beat = status.get("heartbeat")  # somebody else's run, or a read-only copy: no lock to be had
        return isinstance(beat, int | float) and time.time() - beat < 60
    lock.release()
    return False


def _lives(pid: object) -> bool:
    """Whether there is a process of that number; True where the system does not tell, or no number is known yet."""
    if not isinstance(pid, int) or pid <= 0 or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return not isinstance(error, ProcessLookupError)
    return True


# --- events ----------------------------------------------------------------------------------------------------------


class EventWriter:
    """Appends events, one flushed line each. Opening it cuts off a last line that a crash left torn."""

    def __init__(self, run: Run) -> None:
        """Open run's log for appending."""
        path = run.path / "events.jsonl"
        keep = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
        self._file = path.open("ab")
        self._file.truncate(keep)

    def write(self, kind: str, **fields: object) -> Json:
        """Write and return one event. NaN and infinities become null; "nonfinite" then names where they were."""
        event: Json = {"v": 1, "kind": kind, "t": round(time.time(), 3)}
        bad: list[str] = []
        event.update({name: finite(value, name, bad) for name, value in fields.items()})
        if bad:
            event["nonfinite"] = bad
        self._file.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        return event

    def close(self) -> None:
        """Close the file. A line that a full disk did not take is lost: whoever wrote it was told."""
        with contextlib.suppress(OSError):
            self._file.close()


@dataclass(frozen=True)
class Batch:
    """Events read, where to read on, and how many lines were not readable."""

    events: list[Json]
    offset: int
    damaged: int


def read_events(run: Run, offset: int = 0, size: int = -1) -> Batch:
    """Whole events from a byte offset on (negative: from the end), of `size` bytes at most. A torn last line waits."""
    return _read_lines(run.path / "events.jsonl", offset, size)


def _read_lines(path: Path, offset: int, size: int = -1) -> Batch:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            offset = file.seek(offset if offset >= 0 else max(0, end + offset))
            block = file.read(size) if offset <= end else None
    except FileNotFoundError:
        block = None
    if block is None:  # it is gone, or another file by now: start anew
        return Batch([], 0, 0)
    end = block.rfind(b"\n") + 1
    events, damaged = [], 0
    for event in parse_lines(block[:end].split(b"\n")[:-1]):
        if isinstance(event, dict) and isinstance(event.get("kind"), str):
            events.append(event)
        else:
            damaged += 1
    return Batch(events, offset + end, damaged)


# --- control ---------------------------------------------------------------------------------------------------------


def request(run: Run, action: str, **fields: object) -> None:
    """Ask run's trainer for something: pause, resume, save, stop, note (text), set (name, value)."""
    line = json.dumps({"v": 1, "kind": "control", "t": round(time.time(), 3), "action": action, **fields})
    with (run.path / "control.jsonl").open("ab") as file:
        file.write(line.encode() + b"\n")


class ControlReader:
    """New requests since the trainer started; what was asked of a trainer that is gone is not carried out."""

    def __init__(self, run: Run) -> None:
        """Start at the file's present end."""
        self._path = run.path / "control.jsonl"
        self._offset = self._path.stat().st_size if self._path.exists() else 0

    def poll(self) -> list[Json]:
        """The requests that have come in since the last call. Costs one stat when there are none."""
        if not self._path.exists() or self._path.stat().st_size <= self._offset:
            return []
        batch = _read_lines(self._path, self._offset)
        self._offset = batch.offset
        return [event for event in batch.events if event["kind"] == "control"]
