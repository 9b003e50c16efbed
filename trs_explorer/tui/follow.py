"""Follows a run folder: new events, the status, and one word for the state. No terminal."""

import gc
import os
import time

from trs_explorer import runs
from trs_explorer.files import open_for_reading
from trs_explorer.tui.model import History
from trs_explorer.tui.tape import Tape
from trs_explorer.values import number, text

GLIMPSE = 1 << 18  # bytes at the end of a long log that are shown first
LONG = 1 << 22  # bytes that take a moment to read
MANY = 20_000  # events that take long enough to read that it is worth a word
MOST_AT_ONCE = 1 << 24  # bytes of new events that one look takes in
END_OF_LOG = 2000  # bytes of train.log
PATIENCE = 20.0  # seconds in which a trainer that this process started will have taken its lock


class Follower:
    """What is known of a run by now. `read` touches files (call it in a thread), `take` only memory."""

    def __init__(self, run: runs.Run, patience: float = 1.0) -> None:
        """Follow `run` from its first event; wait `patience` seconds for a trainer to show itself.

        With more than a moment's patience one is on its way: what an earlier one has said last is then not the state.
        """
        self.run = run
        self.tape = Tape(run)
        self.status: dict = {}
        self.state = "starting"
        self.waiting = "reading the run ..."
        self._patience = patience
        self._opened, self._since = time.monotonic(), time.time() if patience > 1 else 0.0
        self.trouble = ""
        self._alive = False
        self._new: runs.Batch | None = None
        self._glimpsed = False
        self._heard: tuple[object, float] | None = None  # what was last heard, and when
        self._silent_before = 0.0

    @property
    def history(self) -> History:
        """All that is known by now."""
        return self.tape.history

    @property
    def controllable(self) -> bool:
        """Whether a trainer is there to be asked."""
        return self.state in runs.ALIVE

    @property
    def silent(self) -> float:
        """Seconds since a sign of life: an event or a heartbeat.

        What came while this looks on is timed by this process's own clock, which nobody sets; how long it had been silent
        before only the calendar tells.
        """
        return self._silent_before + (time.monotonic() - self._heard[1]) if self._heard else 0.0

    def read(self) -> None:
        """Read what is new and look at the status; `trouble` says in words why that was not possible."""
        try:
            self._read()
            self.trouble = ""
        except OSError as error:
            self.trouble = f"cannot read {error.filename or self.run.path}: {error.strerror or error}"

    def _read(self) -> None:
        if self.tape.offset == 0:
            self.tape = _whole(self.run) if self._glimpsed else _glimpse(self.run)
            if self._glimpsed and len(self.tape) > MANY:
                self.tape.history.say(time.time(), f"read {len(self.tape):,} events".replace(",", " "))
            self._glimpsed = True
        else:
            self._new = runs.read_events(self.run, self.tape.offset, MOST_AT_ONCE)
        self.status = self.run.status()
        self._alive = self.status.get("state") in runs.ALIVE or runs.trainer_alive(self.run)

    def take(self) -> None:
        """Fold what was read, then name the state."""
        if self._new is not None:
            self.tape.add(self._new)
            self._new = None
        self._listen()
        self._settle()

    def _listen(self) -> None:
        last = (self.history.time, self.history.step, number(self.status.get("heartbeat")))
        if self._heard is None:
            known = [t for t in (last[0], last[2]) if t is not None]
            self._silent_before = max(0.0, time.time() - max(known)) if known else 0.0
        elif last == self._heard[0]:
            return
        else:
            self._silent_before = 0.0
        self._heard = (last, time.monotonic())

    def _settle(self) -> None:
        """Name the run's state, and find words for a run that has not written anything."""
        state = self.status.get("state")
        self.waiting = ""
        beat = number(self.status.get("heartbeat"))
        if time.monotonic() - self._opened < self._patience and (beat is None or beat < self._since):
            state = None
        if isinstance(state, str) and (self.history.events or state not in runs.ALIVE):
            self.state = text(state, 30)
        elif self.history.events and self._opened + self._patience < time.monotonic():
            self.state = "running" if self._alive else "crashed"
        elif self._alive or time.monotonic() - self._opened < self._patience:
            self.state = "starting"
            self.waiting = "starting ...\nthe trainer is loading; the first numbers come in some seconds"
        else:
            self.state = "no trainer"
            self.waiting = "no trainer is at work, and nothing has been recorded yet"
        if not self.history.events and self.state not in ("starting", "running", "paused"):
            self.waiting = (self.waiting or "nothing was recorded") + self._end_of_log()

    def _end_of_log(self) -> str:
        try:
            with open_for_reading(self.run.log) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - END_OF_LOG))
                end = file.read(END_OF_LOG).decode(errors="replace").strip()
        except OSError:
            return ""
        return "\n\nthe end of train.log:\n" + "\n".join(end.splitlines()[-6:]) if end else ""


def _glimpse(run: runs.Run) -> Tape:
    """The log's end alone, if it is long: something to look at while the whole is read. Its offset stays 0."""
    batch = runs.read_events(run, -GLIMPSE)
    if batch.offset < LONG:
        return _whole(run)
    tape = Tape(run)
    tape.history.fold(batch.events)
    return tape


def _whole(run: runs.Run) -> Tape:
    """Read a log that may be long, onto a tape of its own: this thread is not the one that draws."""
    tape = Tape(run)
    collects = gc.isenabled()
    gc.disable()  # 100,000 dicts make it run a hundred times for nothing: that alone doubles the time
    try:
        tape.read_all()
    finally:
        if collects:
            gc.enable()
    return tape
