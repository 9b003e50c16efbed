"""Train in this process; signals save the training and end it."""

import contextlib
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from trs_explorer import runs
from trs_explorer.cli import DONE, INTERRUPTED, exit_on_interrupt
from trs_explorer.cli.progress import progress

if TYPE_CHECKING:
    from trs_explorer.training.processes import Processes

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
TWICE_S = 1.0  # torchrun passes on a signal that the terminal has sent to every process already: that is one Ctrl-C
SAVED = ("stopped", "finished")  # states after which nothing is lost


class InterruptedTwice(runs.RunError):
    """A training was ended by a second Ctrl-C, before it had saved."""


class _Stop:
    """A threading.Event without a lock: a signal handler may run while it is being set."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


def train_run(run: runs.Run, show: Callable[[dict], object], processes: "Processes | None" = None) -> int:
    """Train a run from its newest checkpoint, in this process, and show every event. Returns the exit status.

    processes: that share the training. The first one's call begins it in all of them, if they `follow`.

    Ctrl-C saves and ends the training, a second one ends it at once. Later ones are ignored: the process is about to end, and
    must end with the right message. Signals that were ignored when the process began, as by nohup, stay ignored.
    Raises: InterruptedTwice after a second Ctrl-C before the save was done; and as `training.train`.
    """
    with exit_on_interrupt():
        from trs_explorer.training import train as events
        from trs_explorer.training.processes import ALONE, ProcessLost
    stop, signals, first = _Stop(), [], 0.0
    processes = processes or ALONE

    def interrupted(number: int, frame: object) -> None:
        nonlocal first
        del frame
        if processes.size > 1 and signals and time.monotonic() - first < TWICE_S:
            return
        first = first or time.monotonic()
        signals.append(number)
        stop.set()
        if len(signals) == 2:
            raise KeyboardInterrupt  # second signal: do not wait for the save

    handled = [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, interrupted) for number in handled}
    ends = failed = True
    try:
        if processes.leads:
            processes.command("train", str(run.path.absolute()), run.config.to_json())
        resume = processes.leads and (any(run.checkpoints()) or runs.has_begun(run))
        for event in events(run, resume=resume, stop=stop, processes=processes):
            show(event)
        anywhere = bool(signals)
        with contextlib.suppress(ProcessLost):  # nothing of the training is missing
            anywhere = processes.any(anywhere)
        ends = anywhere and (not processes.leads or run.status().get("state") == "stopped")
        signals += [0] * (anywhere and not signals)
        failed = False
    except KeyboardInterrupt:
        if run.status().get("state") not in SAVED:
            raise InterruptedTwice(_loss_message(run)) from None
    finally:
        quiet = bool(signals) and ends
        signals += [0, 0]
        for (
            number,
            handler,
        ) in previous.items():  # torchrun ends the other processes after one has failed: they must say why first
            signal.signal(number, signal.SIG_IGN if quiet or (failed and processes.size > 1) else handler)
    return INTERRUPTED if quiet else DONE


def _loss_message(run: runs.Run) -> str:
    """What is lost after a second Ctrl-C."""
    if not runs.has_begun(run):
        return "interrupted before the training began"
    saved = run.checkpoints()[-1:]
    if not saved:
        return f"interrupted twice, before anything was saved; --resume {run.path} starts anew"
    return f"interrupted twice: what came after checkpoint {saved[0].name} is lost; go on with --resume {run.path}"


def train_with_progress(run: runs.Run, processes: "Processes | None" = None) -> bool:
    """Train a run with a progress bar on stderr. Returns whether it was trained to the end."""
    with progress(f"training {run.path.name}") as advance:

        def show(event: dict) -> None:
            if event["kind"] == "start":
                advance(event["step"], event["steps"])
            elif event["kind"] in ("step", "epoch"):
                advance(event["step"], None)

        return train_run(run, show, processes) == DONE
