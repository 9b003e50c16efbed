"""A run: a folder with a training's config, log, status, checkpoints and results. No torch.

The files of a run:

config.json            every resolved option and the versions
events.jsonl           append-only, one JSON object a line; one writer (the trainer), many readers
status.json            replaced atomically: pid, state, step, heartbeat, error message
epoch-0007.safetensors + state-0007.pt    weights, and what a resume needs besides
control.jsonl          requests of viewers to the trainer
results/, train.log    one JSON file per measurement; the trainer's output when a dashboard started it
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

from trs_explorer import files, leftovers, locks, plugins
from trs_explorer.config import TrainConfig, from_json
from trs_explorer.events import Batch, ControlReader, EventWriter, newest_first, read_events, request  # noqa: F401 (a run's, too)
from trs_explorer.files import Json, cannot_write, is_regular, printable, read_report, reason, write_atomically
from trs_explorer.options import UsageError

ALIVE = ("running", "paused")
SURROGATE_PREFIX, START_PREFIX = "surrogate-", "start-"  # names of runs that a command trained for its own use begin so
TRAINER_LOCK_SECONDS = 1.0  # waited for the trainer's lock: a viewer's check holds it for an instant
FIRST_EVENTS = 1 << 16  # bytes of a log that contain its first event


class RunError(RuntimeError):
    """A run folder cannot be used as requested. The message names the folder and the remedy, in printable characters."""

    def __init__(self, message: object) -> None:
        """message: may have several lines."""
        super().__init__("\n".join(map(printable, str(message).split("\n"))))


@dataclass(frozen=True)
class Checkpoint:
    """The weights that a training saved at one step.

    - name: the file's stem after "epoch-".
    - weights: the file of the weights.
    - state: the file that a resume needs besides; None where it has been deleted.
    """

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
        """The run's name: that of its folder, in printable characters."""
        return printable(self.path.name or self.path.resolve().name)

    def status(self) -> Json:
        """The last status that the trainer wrote; {} if there is none or it cannot be read. A state or an error in it is text.

        The state is "crashed" if the trainer wrote "running" and its process is gone.
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
        """All checkpoints with weights on disk, oldest first. Weights and states are regular files, or links to regular files."""
        checkpoints = {}
        for weights in self.path.glob("epoch-*.safetensors"):
            named = re.fullmatch(r"epoch-([0-9]{4,})(?:-([0-9]{6,}))?", weights.stem)
            if named and is_regular(weights):
                step = (int(named[1]), int(named[2] or 0))  # epoch, step in epoch
                checkpoint = self.new_checkpoint(*step)
                if checkpoint.weights == weights:  # 00007 is not another name for 0007
                    state = checkpoint.state if checkpoint.state and is_regular(checkpoint.state) else None
                    checkpoints[step] = Checkpoint(checkpoint.name, weights, state)
        return [checkpoints[step] for step in sorted(checkpoints)]

    def recorded(self, checkpoint: Checkpoint) -> Json:
        """The newest event about a checkpoint, with the SHA-256 of its files; {} if the log has none.

        The log is read backwards from its end, as far as needed. Raises RunError if it cannot be read.
        """
        try:
            events = newest_first(self.path / "events.jsonl", b'"checkpoint"')
            return next((e for e in events if e["kind"] == "checkpoint" and e.get("name") == checkpoint.name), {})
        except OSError as error:
            raise RunError(f"cannot read {self.path / 'events.jsonl'}: {reason(error)}") from error

    def new_checkpoint(self, epoch: int, step_in_epoch: int) -> Checkpoint:
        """The files of a checkpoint to be saved: 0007 at the end of epoch 7, 0006-000123 at step 123 of the epoch after 6."""
        name = f"{epoch:04d}" if step_in_epoch == 0 else f"{epoch:04d}-{step_in_epoch:06d}"
        return Checkpoint(name, self.path / f"epoch-{name}.safetensors", self.path / f"state-{name}.pt")

    @property
    def log(self) -> Path:
        """The file for the output of a trainer without a terminal."""
        return self.path / "train.log"


def start_name(config: TrainConfig) -> str:
    """The name of the run of a standard ensemble that trainings by `config` start from: start-DATA-MODEL-MEMBERS-SEED."""
    limit = f"-{config.limit}" if config.limit else ""
    return f"{START_PREFIX}{config.data}-{plugins.stem(config.model)}-{config.members}-{config.seed}{limit}"


def create(path: str | Path, config: TrainConfig) -> Run:
    """Create a run folder with its config. Raises RunError if the folder is not empty or cannot be written."""
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
    """Raise RunError if the folder for a new run is not empty.

    Files that some systems put into every folder do not count, nor do the temporary files of a killed `create`.
    """
    try:
        free = leftovers.is_empty(path)
    except (FileNotFoundError, NotADirectoryError):
        return  # `create` makes the folder, or reports what is in the way
    except OSError as error:
        raise RunError(f"cannot read {path}: {reason(error)}") from error
    if not free:
        try:
            trained_elsewhere = open_run(path).config.imported
        except RunError:
            trained_elsewhere = True
        remedy = "empty it" if trained_elsewhere else f"continue it with --resume {path}"
        raise RunError(f"{path} exists and is not empty: choose another --out, or {remedy}")


def open_run(path: str | Path) -> Run:
    """Open the run in a folder. Raises RunError if it is missing, empty, half written or of a newer format."""
    path = Path(path)
    try:
        stored = files.json_or_none(files.read_bytes(path / "config.json", files.MAX_JSON_BYTES).decode("utf-8-sig"))
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
    """The message for a run folder whose config.json cannot be read."""
    if isinstance(error, ValueError) or (isinstance(error, FileNotFoundError | NotADirectoryError) and not path.is_dir()):
        return f"{path}: no such run folder"
    if not isinstance(error, FileNotFoundError) or (path / "config.json").is_symlink():
        return f"cannot read {path}/config.json: {reason(error)}"
    with contextlib.suppress(OSError):
        return f"{path} is not a run: {'it has no config.json' if any(path.iterdir()) else 'it is empty'}"
    return f"{path} is not a run: it has no config.json"


def discard(run: Run) -> None:
    """Undo `create` for a run that was not trained: remove its files, and the folder if it is empty then."""
    for name in (
        "events.jsonl",
        "status.json",
        "trainer.lock",
        "config.json",
    ):  # config.json last: with it a folder is a run
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
    """Remove the temporary files of interrupted writes. Only the trainer may do this, while it holds its lock.

    In results/ other processes write too: temporary files of living processes stay.
    """
    for path in run.path.glob(".*.tmp"):
        if is_regular(path) and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()
    leftovers.remove_abandoned(run.path / "results")


def find_runs(path: str | Path) -> list[Run]:
    """The run at path, or the runs directly inside it, sorted by name (2 before 10). Folders that are no runs are skipped.

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
    runs = []
    for folder in sorted(folders, key=lambda folder: files.natural_order(folder.name)):
        with contextlib.suppress(RunError):
            runs.append(open_run(folder))
    return runs


# --- one trainer at a time -------------------------------------------------------------------------------------------


def trainer_lock(run: Run) -> FileLock:
    """Acquire the lock that a trainer holds while it lives; the system frees it when it dies. Raises RunError if taken."""
    try:
        return locks.acquire(run.path / "trainer.lock", timeout=TRAINER_LOCK_SECONDS)
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
        return locks.process_lives(status.get("pid"))  # if it is dead, another viewer's check held the lock
    except OSError:
        beat = status.get("heartbeat")  # no lock is possible: another user's run, or a read-only copy
        return isinstance(beat, int | float) and abs(time.time() - beat) < 60
    return False
