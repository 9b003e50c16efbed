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


class _Signals:
    """Handle the signals that stop a training: it ends after the first one, a second one raises KeyboardInterrupt.

    It is a threading.Event without a lock, which a handler could not take while the event is being set.
    """

    def __init__(self, as_one_s: float) -> None:
        """Start without a signal. as_one_s: those within so many seconds of the first one are the same."""
        self.number, self._as_one_s, self._first, self._set = 0, as_one_s, 0.0, False

    def __call__(self, number: int, frame: object) -> None:
        """Handle a signal. Those after the second do nothing."""
        del number, frame
        if self.number == 1 and time.monotonic() - self._first < self._as_one_s:
            return
        self._first, self._set = self._first or time.monotonic(), True
        self.number += 1
        if self.number == 2:
            raise KeyboardInterrupt  # do not wait for the save

    def set(self) -> None:
        """End the training without a signal."""
        self._set = True

    def is_set(self) -> bool:
        """Whether the training must end."""
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
    processes = processes or ALONE
    signals = _Signals(TWICE_S if processes.size > 1 else 0.0)
    previous = {number: signal.signal(number, signals) for number in _not_ignored()}
    interrupted, failed = False, True
    try:
        if processes.leads:
            processes.send_command("train", str(run.path.absolute()), run.config.to_json())
        resume = processes.leads and (any(run.checkpoints()) or runs.has_begun(run))
        for event in events(run, resume=resume, stop=signals, processes=processes):
            show(event)
        interrupted = bool(signals.number)
        with contextlib.suppress(ProcessLost):  # nothing of the training is missing
            interrupted = processes.any_process(interrupted)
        interrupted &= not processes.leads or run.status().get("state") == "stopped"
        failed = False
    except KeyboardInterrupt:
        if run.status().get("state") not in SAVED:
            raise InterruptedTwice(_loss_message(run)) from None
        interrupted = True
    finally:
        was_signalled, signals.number = signals.number > 0, 2  # a further one raises nothing here
        if interrupted or (failed and was_signalled):
            ignore_signals()
        elif failed and processes.size > 1:
            postpone_signals()  # torchrun ends this process as soon as another one has ended: it says why first
        else:
            for number, handler in previous.items():
                signal.signal(number, handler)
    return INTERRUPTED if interrupted else DONE


def ignore_signals() -> None:
    """Ignore the signals that stop a training from here on."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def postpone_signals() -> None:
    """Ignore the signals that stop a training until the next training."""
    for number in _not_ignored():
        signal.signal(number, lambda number, frame: None)


def _not_ignored() -> list[int]:
    return [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]


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
