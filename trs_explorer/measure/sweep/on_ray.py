"""Run trials as tasks of a Ray cluster: in a folder that its machines share, or each in one of its own whose files come back."""

import json
import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trs_explorer.files import write_atomically
from trs_explorer.measure.sweep.bundle import pack, unpack
from trs_explorer.measure.sweep.child import Child
from trs_explorer.measure.sweep.local import Report, Stop
from trs_explorer.measure.sweep.state import FAILED, LOGS, STARTING, STOPPED, TrialState, progress_of, read_outcome
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.sweep_plan import FILE, Measure, Sweep, Trial

TOKEN = "shared-folder"  # a file in the logs with a random text, by which a task knows that the folder is the same
RETRIES = 3  # of a trial whose worker or machine dies: it continues from its newest checkpoint
POLL_S, STOP_S, CHILD_POLL_S = 0.5, 60.0, 0.5
MISSING = "--ray needs Ray: pip install 'trs-explorer[cluster]'"


@dataclass(frozen=True)
class Cluster:
    """Where and with what trials run.

    - address: "local" starts Ray on this machine alone; "auto" takes the cluster that this machine is in; else an address.
    - cpus, gpus: of each trial, as Ray counts them.
    - fetch: nothing is shared: the runs' files are sent and come back.
    - starts: with fetch, by trial, the folders of trained ensembles that it needs, which are sent along.
    """

    address: str
    cpus: float = 1
    gpus: float = 0
    fetch: bool = False
    starts: Mapping[str, Sequence[Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What a task needs to know; all of it can be pickled.

    - folder, cwd: of the sweep, and of the command that started it.
    - token: what the folder's file TOKEN must hold.
    - sweep: with fetch, a sweep.json with this trial alone; else empty.
    - run: with fetch, the files of the run so far, packed; empty: it has not begun.
    - starts: with fetch, by name, the packed folders that the trial needs.
    """

    trial: Trial
    module: str
    folder: str
    cwd: str
    token: str
    threads: int
    sweep: str = ""
    run: bytes = b""
    starts: Mapping[str, bytes] = field(default_factory=dict)


class Progress:
    """With fetch, an actor of Ray: how far each trial is that some machine is working on."""

    def __init__(self) -> None:
        """Nothing has begun."""
        self._states: dict[str, TrialState] = {}

    def set(self, name: str, state: TrialState) -> None:
        """Note how far a trial is."""
        self._states[name] = state

    def all(self) -> dict[str, TrialState]:
        """By the names of trials, how far each is."""
        return self._states


def load_ray() -> Any:
    """The package ray, told to report nothing to anyone. Raises UsageError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns that this will change
    try:
        import ray  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise UsageError(MISSING) from error
    return ray


def run_on_ray(
    trials: Sequence[Trial],
    measures: Sequence[Measure],
    folder: Path,
    module: str,
    cluster: Cluster,
    report: Report,
    stop: Stop,
) -> None:
    """Run trials, each as a task of Ray, which decides where and when. Arguments: see `local.run_here`.

    A task whose worker is killed is started again by Ray, RETRIES times, and the trial continues from its checkpoint.
    Raises: UsageError if Ray is missing; RunError if there is no cluster at the address.
    """
    ray = load_ray()
    token = secrets.token_hex(16)
    (folder / LOGS).mkdir(exist_ok=True)
    write_atomically(folder / LOGS / TOKEN, lambda path: path.write_text(token), sync=False)
    _start(ray, cluster)
    try:
        remote = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=RETRIES)(attempt)
        progress = ray.remote(num_cpus=0)(Progress).remote() if cluster.fetch else None
        tasks = {remote.remote(task_of(one, measures, folder, module, token, cluster), progress): one for one in trials}
        _follow(ray, tasks, folder, progress, report, stop)
    finally:
        ray.shutdown()


def _start(ray: Any, cluster: Cluster) -> None:
    """Start Ray here or join a cluster, so that nothing of it is printed. Raises RunError if there is no cluster."""
    where: dict[str, Any] = {"address": cluster.address}
    if cluster.address == "local":
        where = {"include_dashboard": False}
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 would let everything else on this machine go first
    if hasattr(ray._private.worker, "print_to_stdstream"):  # prints on stdout, among lines of JSON, when a worker dies
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        with _signal_handlers_kept():
            ray.init(**where, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(f"--ray {cluster.address}: {' '.join(str(error).split())[:300]}") from error


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Put back the handlers of signals that the code inside replaces: Ray's own end the process at once."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def task_of(trial: Trial, measures: Sequence[Measure], folder: Path, module: str, token: str, cluster: Cluster) -> Task:
    """The task of a trial. Raises RunError if a run is too large to be sent."""
    shared = Task(trial, module, str(folder.resolve()), str(Path.cwd()), token, max(1, int(cluster.cpus)))
    if not cluster.fetch:
        return shared
    run = folder / trial.name
    return replace(
        shared,
        token="",
        sweep=json.dumps(Sweep([trial], measures).to_json()),
        run=pack(run) if (run / "config.json").exists() else b"",
        starts={path.name: pack(path) for path in cluster.starts.get(trial.name, ())},
    )


def _follow(ray: Any, tasks: dict[Any, Trial], folder: Path, progress: Any, report: Report, stop: Stop) -> None:
    """Report trials until all have ended. On a stop: cancel all tasks, whose trials save."""
    deadline = None
    while tasks:
        if stop.requested and deadline is None:
            deadline = time.monotonic() + STOP_S
            for one in tasks:
                ray.cancel(one, force=False)
        if deadline is not None and (stop.count > 1 or time.monotonic() > deadline):
            return
        for done in ray.wait(list(tasks), num_returns=1, timeout=POLL_S)[0]:
            trial = tasks.pop(done)
            report(trial, _result(ray, done, folder, trial))
        sent = _sent(ray, progress) if progress else None
        for trial in tasks.values():
            state = progress_of(folder, trial) if sent is None else sent.get(trial.name, TrialState(STARTING))
            report(trial, TrialState() if state.state == STARTING else state)  # Ray has no place for it yet, or not again


def _sent(ray: Any, progress: Any) -> dict[str, TrialState]:
    """What the actor `Progress` knows; nothing while its process starts, or if its machine is lost."""
    try:
        states: dict[str, TrialState] = ray.get(progress.all.remote(), timeout=POLL_S)
    except ray.exceptions.RayError:
        return {}
    return states


def _result(ray: Any, done: Any, folder: Path, trial: Trial) -> TrialState:
    """How a task ended; the files that it sends back are written."""
    try:
        state, packed = ray.get(done)
        if packed:
            unpack(packed, folder / trial.name)
    except ray.exceptions.TaskCancelledError:
        return TrialState(STOPPED)
    except (ray.exceptions.RayError, RunError) as error:
        return TrialState(FAILED, error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    ended: TrialState = state
    return ended


# --- in a worker of the cluster ------------------------------------------------------------------------------------------


def attempt(task: Task, progress: Any = None) -> tuple[TrialState, bytes]:
    """Run a trial as a child of Ray's worker. Returns how it ended and, with fetch, the files of its run.

    progress: with fetch, the actor `Progress`, which is told how far it is.

    If the worker is killed, the child's standard input closes: it saves and ends, and the task's next attempt, which waits for
    it where locks are shared, continues. On `ray.cancel` it saves and ends; with fetch what it has saved is sent back.
    """
    if task.sweep:
        with tempfile.TemporaryDirectory(prefix="trs-sweep-") as place:
            folder = Path(place)
            (folder / FILE).write_text(task.sweep)
            for name, packed in task.starts.items():
                (folder / "checkpoints").mkdir(exist_ok=True)
                unpack(packed, folder / "checkpoints" / Path(name).name)
            run = folder / task.trial.name
            if task.run:
                unpack(task.run, run)
            state = _wait(task, folder, place, progress)
            return state, pack(run) if (run / "config.json").exists() else b""
    folder = Path(task.folder)
    try:
        shared = (folder / LOGS / TOKEN).read_text() == task.token
    except OSError:
        shared = False
    if not shared:
        error = f"{folder} is not shared with {socket.gethostname()}: choose an --out that is, or --fetch"
        return TrialState(FAILED, error=error), b""
    return _wait(task, folder, task.cwd if Path(task.cwd).is_dir() else task.folder), b""


def _wait(task: Task, folder: Path, cwd: str, progress: Any = None) -> TrialState:
    """Run the trial's process until it ends, or save and end it on `ray.cancel`, which raises KeyboardInterrupt here."""
    child = Child(task.module, folder, task.trial.name, threads=task.threads, cwd=cwd)
    try:
        while (status := child.wait(CHILD_POLL_S)) is None:
            if progress is not None:
                progress.set.remote(task.trial.name, progress_of(folder, task.trial))
    except KeyboardInterrupt:
        child.stop()
        status = child.wait(STOP_S)
        if status is None:
            raise
    child.stop()
    return read_outcome(folder, task.trial.name, status)
