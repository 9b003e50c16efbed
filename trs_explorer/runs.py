"""A run is a folder. Only this module, `events` and `results` know the names of the files in it. No torch: reading needs none.

config.json            every resolved option and the versions
events.jsonl           append-only, one JSON object a line; one writer (the trainer), any number of readers
status.json            replaced atomically: pid, state, step, heartbeat, error in words
epoch-0007.safetensors + state-0007.pt    weights, and what a resume needs besides
control.jsonl          what viewers ask of the trainer
results/, train.log    one JSON file per evaluation; the trainer's output when a dashboard started it
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from trs_explorer import files, leftovers, locks
from trs_explorer.config import TrainConfig, from_json
from trs_explorer.events import Batch, ControlReader, EventWriter, newest_first, read_events, request  # noqa: F401 (a run's, too)
from trs_explorer.files import Json, cannot_write, is_regular, printable, read_report, reason, write_atomically
from trs_explorer.options import UsageError

ALIVE = ("running", "paused")
SURROGATE_PREFIX, START_PREFIX = "surrogate-", "start-"  # of the names of runs that another command trained for its own use
FIRST_EVENTS = 1 << 16  # bytes of a log in which its first event is


class RunError(RuntimeError):
    """A run folder cannot be used as asked; the message names the folder and the way out, in printable characters."""

    def __init__(self, message: object) -> None:
        """Say message; lines stay lines."""
        super().__init__("\n".join(map(printable, str(message).split("\n"))))


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one moment. `name` is the file's stem after "epoch-"; state is missing for old ones."""

    name: str
    weights: Path
    state: Path | None

    def digest(self) -> str:
        """The SHA-256 of the weights' file. Raises RunError if it cannot be read."""
        try:
            return files.sha256(self.weights)
        except OSError as error:
            raise RunError(f"cannot read {self.weights}: {reason(error)}") from error


@dataclass(frozen=True)
class Run:
    """A run's folder and its config."""

    path: Path
    config: TrainConfig

    @property
    def name(self) -> str:
        """What people call the run: its folder's name, in printable characters."""
        return printable(self.path.name or self.path.resolve().name)

    def status(self) -> Json:
        """The last status the trainer wrote, {} if there is none or it cannot be read. A state or an error in it is text.

        A state of "running" by a process that no longer lives is given as "crashed".
        """
        stored = read_report(self.path / "status.json") or {}
        status = {name: value for name, value in stored.items() if name not in ("state", "error") or isinstance(value, str)}
        if status.get("state") in ALIVE and not trainer_alive(self):
            status["state"] = "crashed"
        return status

    def write_status(self, **fields: object) -> None:
        """Replace status.json in one piece."""
        status = {"pid": os.getpid(), "heartbeat": time.time(), **fields}
        write_atomically(self.path / "status.json", lambda path: path.write_text(json.dumps(status)), sync=False)

    def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints with weights on disk, oldest first. Weights and states are regular files, or links to such."""
        found = {}
        for weights in self.path.glob("epoch-*.safetensors"):
            named = re.fullmatch(r"epoch-([0-9]{4,})(?:-([0-9]{6,}))?", weights.stem)
            if named and is_regular(weights):
                moment = (int(named[1]), int(named[2] or 0))
                checkpoint = self.new_checkpoint(*moment)
                if checkpoint.weights == weights:  # 00007 is no other name of 0007
                    state = checkpoint.state if checkpoint.state and is_regular(checkpoint.state) else None
                    found[moment] = Checkpoint(checkpoint.name, weights, state)
        return [found[moment] for moment in sorted(found)]

    def recorded(self, checkpoint: Checkpoint) -> Json:
        """The newest event that names a checkpoint, with the SHA-256 of its files; {} if the log has none.

        The log is read from its end back, as far as is needed. Raises RunError if it cannot be read.
        """
        try:
            events = newest_first(self.path / "events.jsonl", b'"checkpoint"')
            return next((e for e in events if e["kind"] == "checkpoint" and e.get("name") == checkpoint.name), {})
        except OSError as error:
            raise RunError(f"cannot read {self.path / 'events.jsonl'}: {reason(error)}") from error

    def new_checkpoint(self, epoch: int, step_in_epoch: int) -> Checkpoint:
        """The names of a checkpoint to come: 0007 at the end of epoch 7, 0006-000123 at step 123 of the next."""
        name = f"{epoch:04d}" if step_in_epoch == 0 else f"{epoch:04d}-{step_in_epoch:06d}"
        return Checkpoint(name, self.path / f"epoch-{name}.safetensors", self.path / f"state-{name}.pt")

    @property
    def log(self) -> Path:
        """Where a trainer without a terminal writes what it would have printed."""
        return self.path / "train.log"


def create(path: str | Path, config: TrainConfig) -> Run:
    """A new run folder with its config. Raises RunError if the folder holds anything or cannot be written."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        check_free(path)
        leftovers.remove_abandoned(path)
        text = json.dumps(config.to_json(), indent=2) + "\n"
        write_atomically(path / "config.json", lambda temporary: temporary.write_text(text))
        files.open_for_appending(path / "events.jsonl").close()
    except OSError as error:
        raise RunError(cannot_write(path, error)) from error
    return Run(path, config)


def check_free(path: Path) -> None:
    """Refuse a folder that holds anything in the place of a new run. Raises RunError.

    Not counted: what is in every folder of some systems, and what a killed `create` has left.
    """
    try:
        free = leftovers.is_empty(path)
    except (FileNotFoundError, NotADirectoryError):
        return  # `create` makes it, or says what is in the way
    except OSError as error:
        raise RunError(f"cannot read {path}: {reason(error)}") from error
    if not free:
        try:
            open_run(path)
        except RunError:
            way_out = "empty it"
        else:
            way_out = f"continue it with --resume {path}"
        raise RunError(f"{path} exists and is not empty: choose another --out, or {way_out}")


def open_run(path: str | Path) -> Run:
    """The run in an existing folder. Raises RunError if it is missing, empty, half written or of a newer format."""
    path = Path(path)
    try:
        stored = files.json_or_none(files.read_bytes(path / "config.json", files.MOST_JSON).decode("utf-8-sig"))
    except UnicodeDecodeError:
        stored = None
    except (OSError, ValueError) as error:  # ValueError: no system has a file of such a name
        raise RunError(_no_config(path, error)) from error
    if not isinstance(stored, dict):
        raise RunError(f"{path}/config.json is damaged: it is {'not JSON' if stored is None else 'no JSON object'}")
    try:
        return Run(path, from_json(stored))
    except UsageError as error:
        raise RunError(f"{path}: {error}") from error


def _no_config(path: Path, error: OSError | ValueError) -> str:
    """Why there is no config.json to be read in what should be a run's folder."""
    if isinstance(error, ValueError) or (isinstance(error, FileNotFoundError | NotADirectoryError) and not path.is_dir()):
        return f"{path}: no such run folder"
    if not isinstance(error, FileNotFoundError) or (path / "config.json").is_symlink():
        return f"cannot read {path}/config.json: {reason(error)}"
    with contextlib.suppress(OSError):
        return f"{path} is not a run: {'it has no config.json' if any(path.iterdir()) else 'it is empty'}"
    return f"{path} is not a run: it has no config.json"


def discard(run: Run) -> None:
    """Take back a folder in which nothing has happened: `create`'s files, and the folder if that leaves it empty."""
    for name in ("events.jsonl", "status.json", "trainer.lock", "config.json"):  # as long as the last is there it is a run
        with contextlib.suppress(OSError):
            (run.path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run.path.rmdir()


def has_begun(run: Run) -> bool:
    """Whether the log says that a training has begun."""
    return any(event["kind"] == "start" for event in read_events(run, size=FIRST_EVENTS).events)


@contextlib.contextmanager
def discard_unless_begun(run: Run) -> Iterator[None]:
    """Discard a new run if the code inside raises before the training has begun."""
    try:
        yield
    except BaseException:
        if not has_begun(run):
            discard(run)
        raise


def clear_temporaries(run: Run) -> None:
    """Remove what writes that a crash cut off have left. Only the trainer may, holding its lock.

    In results/ others write too: what they are writing at the moment stays.
    """
    for path in run.path.glob(".*.tmp"):
        if is_regular(path) and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()
    leftovers.remove_abandoned(run.path / "results")


def find_runs(path: str | Path) -> list[Run]:
    """The run at path, or the runs directly inside it by name, 2 before 10; folders that are no runs are passed over.

    Raises RunError if the run at path is damaged, or the folder cannot be read.
    """
    path = Path(path)
    if is_regular(path / "config.json"):
        return [open_run(path)]
    try:
        folders = [folder for folder in path.iterdir() if is_regular(folder / "config.json")]
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no system has a folder of such a name
        return []
    except OSError as error:
        raise RunError(f"cannot read {path}: {reason(error)}") from error
    found = []
    for folder in sorted(folders, key=lambda folder: files.natural_order(folder.name)):
        with contextlib.suppress(RunError):
            found.append(open_run(folder))
    return found


# --- one trainer at a time -------------------------------------------------------------------------------------------


def trainer_lock(run: Run) -> FileLock:
    """The lock that a trainer holds while it lives (the system frees it at any death). Raises RunError if taken."""
    try:
        return locks.acquire(run.path / "trainer.lock", timeout=1)  # a viewer that looks whether it is free holds it an instant
    except locks.Taken:
        pid = (read_report(run.path / "status.json") or {}).get("pid")
        by = f"process {pid}" if isinstance(pid, int) else "another process"
        raise RunError(f"{run.path} is being trained by {by}: wait, or stop it first") from None
    except OSError as error:
        raise RunError(cannot_write(run.path, error)) from error


def trainer_alive(run: Run) -> bool:
    """Whether some process holds the trainer's lock."""
    if not os.path.lexists(run.path / "trainer.lock"):
        return False
    status = read_report(run.path / "status.json") or {}
    try:
        locks.acquire(run.path / "trainer.lock", timeout=0).release()
    except locks.Taken:
        return locks.process_lives(status.get("pid"))  # if not, it was another viewer's look that held it
    except OSError:
        beat = status.get("heartbeat")  # somebody else's run, or a read-only copy: no lock to be had
        return isinstance(beat, int | float) and abs(time.time() - beat) < 60
    return False
