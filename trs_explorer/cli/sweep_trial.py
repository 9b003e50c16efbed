"""One trial of `trs sweep`, as a process: `python -m trs_explorer.cli.sweep_trial FOLDER NAME` trains and measures it.

It ends, and has saved, when its standard input is closed.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from trs_explorer.cli import DONE, FAILED, INTERRUPTED, WRONG_USAGE, error_message, exit_on_interrupt


def main(folder: Path, name: str) -> int:
    """Train and measure a trial, or do what is left of it. Returns the exit status; the folder's logs say how it ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the sweep may ignore it, as nohup does
    threading.Thread(target=_interrupt_when_closed, daemon=True).start()
    with exit_on_interrupt():
        from typer import Abort

        from trs_explorer import sweep_plan
        from trs_explorer.measure.sweep import state
    sweep = sweep_plan.read(folder)
    trial = sweep.trial(name)
    try:
        with _locked(folder / state.LOGS / f"{name}.lock"):
            ended, error = _attempt(folder, trial, sweep.measures)
    except (KeyboardInterrupt, Abort):
        ended, error = state.STOPPED, ""
    except Exception as failure:
        if os.environ.get("TRS_DEBUG") == "1":
            raise
        typers = hasattr(failure, "format_message")  # about a command line
        ended, error = state.FAILED, failure.format_message() if typers else error_message(failure)
        print(f"trs: {error}", file=sys.stderr)
    state.write_outcome(folder, name, ended, error)
    return {state.FINISHED: DONE, state.STOPPED: INTERRUPTED}.get(ended, FAILED)


def _attempt(folder: Path, trial, measures) -> tuple[str, str]:
    """Do what is left of a trial. Returns how it ended, and why if it failed."""
    from trs_explorer.measure.sweep import state

    trial.allow_code()
    run = state.run_of(folder, trial)
    if not state.is_trained(run):
        run = _train(run, folder / trial.name, trial)
        status = run.status()
        if status.get("state") != state.FINISHED:
            return str(status.get("state", state.FAILED)), str(status.get("error", ""))
    for measure in state.missing(run, measures):
        print(f"measuring: {measure.what}", flush=True)
        _measure(run, trial, measure)
    return state.FINISHED, ""


def _train(run, path: Path, trial):
    """Train a trial's run, or continue it."""
    with exit_on_interrupt():
        from trs_explorer import runs
        from trs_explorer.cli.display import display
        from trs_explorer.cli.flags import say
        from trs_explorer.cli.trainer import train_run, train_with_progress
        from trs_explorer.training.new_run import prepare, with_start
    new = run is None
    if run is None:
        settings = prepare(trial.values, notify=say)
        needed = settings.about_method.trained_start and not settings.start_from
        lock = _locked(Path("checkpoints") / f".{runs.start_name(settings)}.lock") if needed else contextlib.nullcontext()
        with lock:  # of several trials that need it, one trains it, and the others wait here
            settings = with_start(settings, train=train_with_progress, notify=say)
        run = runs.create(path, settings)
    with runs.discard_unless_begun(run) if new else contextlib.nullcontext(), display(run, "plain") as show:
        show.starting()
        train_run(run, show.event)
    return runs.open_run(path)


def _measure(run, trial, measure) -> None:
    """Measure a run by the command of that name, and note the file of its result."""
    from trs_explorer.cli.app import app
    from trs_explorer.measure.sweep import state

    flags = command_flags(measure.options)
    if "device" in trial.values:
        flags += ["--device", str(trial.values["device"])]
    if trial.code_of_others:
        flags.append("--allow-code")
    if measure.what == "blackbox" and "surrogates" not in measure.options:
        _train_surrogates(run, str(trial.values.get("device", "auto")))
    folder = run.path / "results"
    before = {path.name for path in folder.glob("*")}
    app(["compare" if measure.what == "table1" else measure.what, str(run.path), *flags], standalone_mode=False)
    if measure.what == "table1":
        file = "table1.json"
    else:
        made = sorted(path.name for path in folder.glob(f"{measure.what}-*.json") if path.name not in before)
        file = made[-1] if made else ""
    if not (folder / file).is_file():
        raise RuntimeError(f"{measure.what}: nothing was stored with {run.path}")
    state.record(run, measure, file)


def _train_surrogates(run, device: str) -> None:
    """Train the standard surrogates if they are missing: of several trials one does it, and the others wait."""
    from trs_explorer import plugins
    from trs_explorer.cli.flags import say
    from trs_explorer.cli.trainer import train_with_progress
    from trs_explorer.training.surrogates import standard_surrogates

    with _locked(Path("checkpoints") / f".surrogates-{run.config.data}-{plugins.stem(run.config.model)}.lock"):
        standard_surrogates(run, device=device, train=train_with_progress, notify=say)


def command_flags(options) -> list[str]:
    """The flags of a command, from a measurement's options."""
    flags = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        flags += ([flag] if value else []) if isinstance(value, bool) else [flag, str(value)]
    return flags


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, and wait until it is free. On disks without locks nothing is held: a run's trainer refuses a second one."""
    from trs_explorer import locks

    lock = None
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = locks.acquire(path, timeout=-1)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _interrupt_when_closed() -> None:
    """Wait until standard input is closed, then interrupt the main thread as Ctrl-C does."""
    with contextlib.suppress(OSError, ValueError):
        while os.read(0, 4096):
            pass
    _thread.interrupt_main()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2]) if len(sys.argv) == 3 else WRONG_USAGE)
