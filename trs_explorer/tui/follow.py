"""Follows a run folder: new events, the status, and one word for the state. No terminal."""

import gc
import time

from trs_explorer import runs
from trs_explorer.tui.model import History

PATIENCE = 20.0  # seconds in which a trainer that this process started will have taken its lock


class Follower:
    """What is known of a run by now. `read` touches files (call it in a thread), `take` only memory."""

    def __init__(self, run: runs.Run, patience: float = 1.0) -> None:
        """Follow `run` from its first event; wait `patience` seconds for a trainer to show itself."""
        self.run = run
        self.history = History()
        self.status: dict = {}
        self.state = "starting"
        self.waiting = "reading the run ..."
        self._patience = patience
        self._opened = time.monotonic()
        self._offset = 0
        self._alive = False
        self._new: list[dict] = []
        self._damaged = 0

    @property
    def controllable(self) -> bool:
        """Whether a trainer is there to be asked."""
        return self.state in ("running", "paused", "starting")

    def read(self) -> None:
        """Read what is new and look at the status. Raises OSError if the folder cannot be read."""
        if self._offset == 0:
            self._read_all()
        else:
            batch = runs.read_events(self.run, self._offset)
            self._offset, self._new, self._damaged = batch.offset, batch.events, batch.damaged
        self.status = self.run.status()
        self._alive = self.status.get("state") in runs.ALIVE or runs.trainer_alive(self.run)

    def _read_all(self) -> None:
        """Read a log that may be long, into a history of its own: this thread is not the one that draws."""
        history = History()
        collects = gc.isenabled()
        gc.disable()  # 100,000 dicts make it run a hundred times for nothing: that alone doubles the time
        try:
            batch = runs.read_events(self.run)
            history.fold(batch.events)
        finally:
            if collects:
                gc.enable()
        history.damaged = batch.damaged
        self._offset, self.history = batch.offset, history

    def take(self) -> None:
        """Fold what was read, then name the state."""
        self.history.fold(self._new)
        self.history.damaged += self._damaged
        self._new, self._damaged = [], 0
        self._settle()

    def _settle(self) -> None:
        """Name the run's state, and find words for a run that has not written anything."""
        state = self.status.get("state")
        self.waiting = ""
        if isinstance(state, str) and (self.history.events or state not in runs.ALIVE):
            self.state = state
        elif self.history.events:
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
            text = self.run.log.read_bytes()[-2000:].decode(errors="replace").strip()
        except OSError:
            return ""
        return "\n\nthe end of train.log:\n" + "\n".join(text.splitlines()[-6:]) if text else ""
