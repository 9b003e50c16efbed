"""A run's log as far as it was read, to be looked at from any moment. No terminal.

Keyframes of the history are kept every so many bytes; what lies between them is read from the file again when it is wanted.
So a log of 100,000 events costs some megabytes of memory and a few hundredths of a second for a jump to anywhere.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from trs_explorer import runs
from trs_explorer.curves import column
from trs_explorer.parse_events import event_step, parse_control, parse_start
from trs_explorer.tui.model import History

CHUNK = 1 << 18  # bytes between keyframes, doubled whenever there are more than MOST of them
MOST = 64
LONGEST_S = 5.0  # a silence (a pause, a night until the resume) counts as that much


@dataclass(frozen=True)
class Stop:
    """Something to jump to: how many events had been written when it happened, at which step, and what it was."""

    events: int
    step: int
    kind: str


@dataclass(frozen=True)
class _Keyframe:
    events: int
    offset: int
    history: History


class Tape:
    """The log of one run. `history` is the newest; `at` gives an earlier one."""

    def __init__(self, run: runs.Run) -> None:
        """Start with nothing read."""
        self.run = run
        self.history = History()
        self.offset = 0
        self.stops: list[Stop] = []
        self.clock: list[float] = []  # seconds of training up to each event
        self._last_time: float | None = None
        self._chunk = CHUNK
        self._keyframes = [_Keyframe(0, 0, History())]
        self._between: tuple[int, int, list[dict]] = (-1, -1, [])  # keyframe, offset of the end, events from there to it
        self._cursor: tuple[int, int, History] = (-1, 0, History())  # keyframe, events, their history

    def __len__(self) -> int:
        """How many events there are to move in."""
        return len(self.clock)

    def read_all(self) -> None:
        """Read and fold all that the file has by now. Raises OSError."""
        while True:
            batch = runs.read_events(self.run, self.offset, self._chunk)
            if batch.offset == self.offset:
                return
            self.add(batch)

    def add(self, batch: runs.Batch) -> None:
        """Fold what was read at `offset`."""
        if batch.events:
            times = column(batch.events, "t")
            times[np.isnan(times)] = self._last_time if self._last_time is not None else 0.0
            with np.errstate(over="ignore"):
                steps = np.diff(times, prepend=self._last_time if self._last_time is not None else times[0]).clip(0, LONGEST_S)
            self.clock += (np.cumsum(steps) + (self.clock[-1] if self.clock else 0.0)).tolist()
            self._last_time = float(times[-1])
            latest = {"step": self.history.step}
            for i, event in enumerate(batch.events, start=self.history.events + 1):
                latest = event if "step" in event else latest
                if event["kind"] != "step" and (kind := _stop(event)):
                    self.stops.append(Stop(i, event_step(latest) or 0, kind))
        self.history.fold(batch.events)
        self.history.damaged += batch.damaged
        self.offset = batch.offset
        if self.offset - self._keyframes[-1].offset >= self._chunk:
            self._keyframes.append(_Keyframe(self.history.events, self.offset, self.history.copy()))
            if len(self._keyframes) > MOST:
                self._keyframes, self._chunk = self._keyframes[::2], 2 * self._chunk
                self._between, self._cursor = (-1, -1, []), (-1, 0, History())

    def at(self, events: int) -> History:
        """The history after the first `events` events; not to be changed. Going on from the last one is cheap. Raises OSError."""
        i = bisect_right(self._keyframes, events, key=lambda keyframe: keyframe.events) - 1
        keyframe = self._keyframes[i]
        end = self._keyframes[i + 1].offset if i + 1 < len(self._keyframes) else self.offset
        if self._between[:2] != (i, end):
            self._between = (i, end, runs.read_events(self.run, keyframe.offset, end - keyframe.offset).events)
        at, done, history = self._cursor
        if at != i or done > events:
            done, history = keyframe.events, keyframe.history.copy()
        history.fold(self._between[2][done - keyframe.events : events - keyframe.events])
        self._cursor = (i, events, history)
        return history


def _stop(event: dict) -> str | None:
    """What kind of stop an event is, None if it is none."""
    kind = event["kind"]
    if kind == "control":
        control = parse_control(event)
        return None if control.error or control.action == "save" else control.action
    if kind == "start":
        return "resumed" if parse_start(event).resumed else None
    return {"checkpoint": "save", "note": "note", "stopped": "stopped"}.get(kind)
