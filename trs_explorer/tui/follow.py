"""Follow a run folder: read new events and the status, and name the run's state. No terminal."""

import gc
import os
import time

from trs_explorer import runs
from trs_explorer.files import open_for_reading
from trs_explorer.tui.event_log import EventLog
from trs_explorer.tui.history import History
from trs_explorer.values import number, text

TAIL_BYTES = 1 << 18  # the end of a long log, shown first
LONG_BYTES = 1 << 22  # a longer log takes a noticeable time to read
MANY_EVENTS = 20_000  # that many are reported in the log panel once they are read
MOST_AT_ONCE = 1 << 24  # bytes of new events that are read in one go
END_OF_LOG = 2000  # bytes of train.log
ENDED = ("finished", "failed", "stopped", "crashed")  # states of a training that has ended
STARTUP_S = 20.0  # within this time a trainer that this process started has taken its lock


class Follower:
    """A run as read so far. `read` accesses files (call it in a thread), `apply` only memory."""

    def __init__(self, run: runs.Run, startup: float = 1.0) -> None:
        """Follow a run from its first event.

        startup: seconds to wait for a trainer before the run counts as crashed or without one. More than a second means that a
        trainer is being started: the last status of an earlier one is then ignored.
        """
        self.run = run
        self.event_log = EventLog(run)
        self.status: dict = {}
        self.state = "starting"
        self.waiting = "reading the run ..."
        self._startup = startup
        self._opened, self._started_at = time.monotonic(), time.time() if startup > 1 else 0.0
        self.error = ""
        self._alive = False
        self._new: runs.Batch | None = None
        self._tail_shown = False
        self._last_sign: tuple[object, float] | None = None  # the last sign of life, and when it was noticed
        self._silent_before = 0.0

    @property
    def history(self) -> History:
        """The history after the newest event."""
        return self.event_log.history

    @property
    def controllable(self) -> bool:
        """Whether a trainer can receive requests."""
        return self.state in runs.ALIVE

    @property
    def silent(self) -> float:
        """Seconds since the last sign of life: an event or a heartbeat.

        Signs that arrive while this process runs are timed by its monotonic clock, which cannot be set. How long the run had
        been silent before is taken from the wall clock.
        """
        return self._silent_before + (time.monotonic() - self._last_sign[1]) if self._last_sign else 0.0

    def read(self) -> None:
        """Read new events and the status. If that fails, `error` says why."""
        try:
            self._read()
            self.error = ""
        except OSError as error:
            self.error = f"cannot read {error.filename or self.run.path}: {error.strerror or error}"

    def _read(self) -> None:
        if self.event_log.offset == 0:
            self.event_log = _read_all(self.run) if self._tail_shown else _read_tail(self.run)
            if self._tail_shown and len(self.event_log) > MANY_EVENTS:
                self.event_log.history.say(time.time(), f"read {len(self.event_log):,} events".replace(",", " "))
            self._tail_shown = True
        else:
            self._new = runs.read_events(self.run, self.event_log.offset, MOST_AT_ONCE)
        self.status = self.run.status()
        self._alive = self.status.get("state") in runs.ALIVE or runs.trainer_alive(self.run)

    def apply(self) -> None:
        """Fold what was read, then update the state."""
        if self._new is not None:
            self.event_log.add(self._new)
            self._new = None
        self._update_silence()
        self._update_state()

    def _update_silence(self) -> None:
        last = (self.history.time, self.history.step, number(self.status.get("heartbeat")))
        if self._last_sign is None:
            times = [t for t in (last[0], last[2]) if t is not None]
            self._silent_before = max(0.0, time.time() - max(times)) if times else 0.0
        elif last == self._last_sign[0]:
            return
        else:
            self._silent_before = 0.0
        self._last_sign = (last, time.monotonic())

    def _update_state(self) -> None:
        """Name the run's state, and explain a run that has no events."""
        state = self.status.get("state")
        self.waiting = ""
        heartbeat = number(self.status.get("heartbeat"))
        starting = time.monotonic() - self._opened < self._startup
        if starting and (heartbeat is None or heartbeat < self._started_at):
            state = None
        if isinstance(state, str) and (self.history.events or state not in runs.ALIVE):
            self.state = text(state, 30)
        elif self.history.events and not starting:
            self.state = "running" if self._alive else "crashed"
        elif self._alive or starting:
            self.state = "starting"
            self.waiting = "starting ...\nthe trainer is loading; the first numbers appear within seconds"
        else:
            self.state = "no trainer"
            self.waiting = "no trainer is running, and nothing has been recorded yet"
        if not self.history.events and self.state not in ("starting", "running", "paused"):
            self.waiting = (self.waiting or "nothing was recorded") + self._end_of_log()

    def _end_of_log(self) -> str:
        try:
            with open_for_reading(self.run.log) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - END_OF_LOG))
                end = file.read(END_OF_LOG).decode(errors="replace").strip()
        except OSError:
            return ""
        return "\n\nend of train.log:\n" + "\n".join(end.splitlines()[-6:]) if end else ""


def _read_tail(run: runs.Run) -> EventLog:
    """Only the end of a long log, to be shown while all of it is read. Its offset stays 0."""
    batch = runs.read_events(run, -TAIL_BYTES)
    if batch.offset < LONG_BYTES:
        return _read_all(run)
    event_log = EventLog(run)
    event_log.history.fold(batch.events)
    return event_log


def _read_all(run: runs.Run) -> EventLog:
    """Read a log that may be long. Into a new EventLog, because this thread is not the one that draws."""
    event_log = EventLog(run)
    was_enabled = gc.isenabled()
    gc.disable()  # 100,000 new dicts would trigger it a hundred times in vain, which doubles the time
    try:
        event_log.read_all()
    finally:
        if was_enabled:
            gc.enable()
    return event_log
