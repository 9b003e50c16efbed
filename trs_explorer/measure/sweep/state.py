"""How far a trial of a sweep is: what its run's folder, and the file of its last attempt, say."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trs_explorer.files import Json, printable, read_report, write_atomically
from trs_explorer.results import is_table_alone
from trs_explorer.runs import Run, RunError, open_run
from trs_explorer.sweep_plan import Measure, Trial
from trs_explorer.values import whole

WAITING, STARTING, TRAINING, PAUSED = "waiting", "starting", "training", "paused"
MEASURING, STOPPING = "measuring", "stopping"
FINISHED, FAILED, STOPPED = "finished", "failed", "stopped"
ENDED = (FINISHED, FAILED, STOPPED)
INTERRUPTED = (130, -2)  # exit statuses of a process that Ctrl-C ended, by itself or by the signal, before it had begun
LOGS = "logs"  # in a sweep's folder: the output of each trial, how its last attempt ended, and its lock
_PROGRESS = {"running": TRAINING, "paused": PAUSED}
RECORD = "sweep.json"  # in a run's results: what the sweep has measured of it


@dataclass(frozen=True)
class TrialState:
    """How far a trial is.

    - state: WAITING, STARTING (its process is there, and has not begun), TRAINING, PAUSED, MEASURING,
      STOPPING (the sweep is to end, and it saves), or one of ENDED.
    - epoch, epochs, step, steps: of its training; 0 where they are unknown.
    - error: why it failed.
    """

    state: str = WAITING
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    error: str = ""


def run_of(folder: Path, trial: Trial) -> Run | None:
    """A trial's run; None if it has not begun. Raises RunError if something else is in its place."""
    path = folder / trial.name
    return open_run(path) if (path / "config.json").exists() else None


def is_trained(run: Run | None) -> bool:
    """Whether a run is trained to its end; also if only its config and its Table 1 are kept."""
    return run is not None and (run.status().get("state") == FINISHED or is_table_alone(run))


def missing(run: Run, measures: Sequence[Measure]) -> list[Measure]:
    """The measurements that a run still lacks."""
    return [one for one in measures if result_file(run, one) is None]


def result_file(run: Run, measure: Measure) -> Path | None:
    """The file of a measurement that the sweep has made of a run; None if it has not, or the file is gone."""
    for one in _records(run):
        if one.get("measure") == json.loads(json.dumps(asdict(measure))):
            path = run.path / "results" / Path(str(one.get("file"))).name
            return path if path.is_file() else None
    return None


def record(run: Run, measure: Measure, file: str) -> None:
    """Note that a measurement was made, and the name of its file in the run's results."""
    kept = [one for one in _records(run) if one.get("measure") != asdict(measure)]
    text = json.dumps({"measured": [*kept, {"measure": asdict(measure), "file": file}]}) + "\n"
    write_atomically(run.path / "results" / RECORD, lambda temporary: temporary.write_text(text))


def _records(run: Run) -> list[Json]:
    stored = (read_report(run.path / "results" / RECORD) or {}).get("measured")
    return [one for one in stored if isinstance(one, dict)] if isinstance(stored, list) else []


def is_done(folder: Path, trial: Trial, measures: Sequence[Measure]) -> bool:
    """Whether a trial is trained, and all of it is measured. Raises RunError if something else is in its place."""
    run = run_of(folder, trial)
    return run is not None and is_trained(run) and not missing(run, measures)


def progress_of(folder: Path, trial: Trial) -> TrialState:
    """How far a trial is that some process is working on."""
    try:
        run = run_of(folder, trial)
    except RunError:
        return TrialState(STARTING)
    if run is None:
        return TrialState(STARTING)
    status = run.status()
    # until its process trains, the status is that of an earlier attempt
    state = MEASURING if is_trained(run) else _PROGRESS.get(str(status.get("state")), STARTING)
    epoch, epochs, step, steps = (whole(status.get(name)) or 0 for name in ("epoch", "epochs", "step", "steps"))
    return TrialState(state, epoch, epochs, step, steps)


# --- how an attempt ended ------------------------------------------------------------------------------------------------


def write_outcome(folder: Path, name: str, state: str, error: str = "") -> None:
    """Note how an attempt at a trial ended."""
    text = json.dumps({"state": state, "error": error, "time": time.time()}) + "\n"
    write_atomically(folder / LOGS / f"{name}.json", lambda temporary: temporary.write_text(text), sync=False)


def forget_outcome(folder: Path, name: str) -> None:
    """Make the folder for logs, and remove what an earlier attempt has left there."""
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    (folder / LOGS / f"{name}.json").unlink(missing_ok=True)


def read_outcome(folder: Path, name: str, status: int) -> TrialState:
    """How an attempt ended, whose process ended with this exit status (below 0: by that signal)."""
    stored = read_report(folder / LOGS / f"{name}.json") or {}
    state, error = stored.get("state"), printable(stored.get("error", ""))
    if state in ENDED:
        return TrialState(str(state), error=error)
    if status in INTERRUPTED:
        return TrialState(STOPPED)
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    kept = "; the same command continues it" if (folder / name / "status.json").exists() else ""
    return TrialState(FAILED, error=f"its process {how}{kept} (its output: {folder / LOGS / name}.log)")
