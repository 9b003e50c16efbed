"""A training in this process: signals save and end it."""

import signal
import threading
from collections.abc import Callable

from trs_explorer import runs
from trs_explorer.cli import INTERRUPTED

STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def train_run(run: runs.Run, show: Callable[[dict], object]) -> int:
    """Train a run from where it is, in this process, and show every event. Ctrl-C saves and ends it. Returns the exit status."""
    stop, signals = threading.Event(), []

    def interrupted(number: int, frame: object) -> None:
        del frame
        if signals:
            raise KeyboardInterrupt  # asked twice: don't wait for the save
        signals.append(number)
        stop.set()

    previous = {number: signal.signal(number, interrupted) for number in STOPPING}
    try:
        from trs_explorer.training import train as events

        resume = any(run.checkpoints()) or runs.read_events(run).offset > 0
        for event in events(run, resume=resume, stop=stop):
            show(event)
    except KeyboardInterrupt:
        raise runs.RunError(f"interrupted twice: what came after the last checkpoint is lost; --resume {run.path}") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return INTERRUPTED if signals and run.status().get("state") == "stopped" else 0
