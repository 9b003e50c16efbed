"""A run's log as read so far, with the history at any earlier event. No terminal.

Copies of the history (keyframes) are kept at regular distances in the file. The events between two of them are read from the
file again when they are needed. A log of 100,000 events takes some megabytes of memory, and a jump takes some hundredths of a
second.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from trs_explorer import runs
from trs_explorer.curves import column
from trs_explorer.newest_probe import stored_probe
from trs_explorer.parse_events import event_step, parse_control, parse_start
from trs_explorer.tui.history import History

CHUNK = 1 << 18  # bytes between keyframes, doubled whenever there are more than MOST_KEYFRAMES
MOST_KEYFRAMES = 64
LONGEST_GAP_S = 5.0  # a longer gap between events (a pause, a night before a resume) counts as this


@dataclass(frozen=True)
class Stop:
    """An event that the replay can jump to.

    events: how many events had been written, this one included.  step: the training step.  kind: save, note, set, ...
    """

    events: int
    step: int
    kind: str


@dataclass(frozen=True)
class _Keyframe:
    events: int
    offset: int
    history: History


class EventLog:
    """The log of one run. `history` is the state after the newest event; `at` returns an earlier one."""

    def __init__(self, run: runs.Run) -> None:
        """Start with nothing read."""
        self.run = run
        self.history = History(stored=stored_probe(run))
        self.offset = 0
        self.stops: list[Stop] = []
        self.clock: list[float] = []  # training time of each event in seconds, without long gaps
        self._last_time: float | None = None
        self._chunk = CHUNK
        self._keyframes = [_Keyframe(0, 0, self.history.copy())]
        self._between: tuple[int, int, list[dict]] = (-1, -1, [])  # keyframe, end offset, the events between
        self._cursor: tuple[int, int, History] = (-1, 0, History())  # keyframe, number of events, history after them

    def __len__(self) -> int:
        """Number of events."""
        return len(self.clock)

    def read_all(self) -> None:
        """Read and fold everything that the file contains now. Raises OSError."""
        while True:
            batch = runs.read_events(self.run, self.offset, self._chunk)
            if batch.offset == self.offset:
                return
            self.add(batch)

    def add(self, batch: runs.Batch) -> None:
        """Fold a batch that was read at `offset`."""
        if batch.events:
            times = column(batch.events, "t")
            times[np.isnan(times)] = self._last_time if self._last_time is not None else 0.0
            with np.errstate(over="ignore"):
                steps = np.diff(times, prepend=self._last_time if self._last_time is not None else times[0]).clip(
                    0, LONGEST_GAP_S
                )
            self.clock += (np.cumsum(steps) + (self.clock[-1] if self.clock else 0.0)).tolist()
            self._last_time = float(times[-1])
            latest = {"step": self.history.step}
            for i, event in enumerate(batch.events, start=self.history.events + 1):
                latest = event if "step" in event else latest
                if event["kind"] != "step" and (kind := _stop_kind(event)):
                    self.stops.append(Stop(i, event_step(latest) or 0, kind))
        self.history.fold(batch.events)
        self.history.damaged += batch.damaged
        self.offset = batch.offset
        if self.offset - self._keyframes[-1].offset >= self._chunk:
            self._keyframes.append(_Keyframe(self.history.events, self.offset, self.history.copy()))
            if len(self._keyframes) > MOST_KEYFRAMES:
                self._keyframes, self._chunk = self._keyframes[::2], 2 * self._chunk
                self._between, self._cursor = (-1, -1, []), (-1, 0, History())

    def at(self, events: int) -> History:
        """The history after the first `events` events, not to be changed. Continuing from the last call is cheap.

        Raises: OSError.
        """
        i = bisect_right(self._keyframes, events, key=lambda keyframe: keyframe.events) - 1
        keyframe = self._keyframes[i]
        end = self._keyframes[i + 1].offset if i + 1 < len(self._keyframes) else self.offset
        if self._between[:2] != (i, end):
            self._between = (i, end, runs.read_events(self.run, keyframe.offset, end - keyframe.offset).events)
        index, done, history = self._cursor
        if index != i or done > events:
            done, history = keyframe.events, keyframe.history.copy()
        history.fold(self._between[2][done - keyframe.events : events - keyframe.events])
        self._cursor = (i, events, history)
        return history


def _stop_kind(event: dict) -> str | None:
    """The kind of stop that an event is, None if it is not a stop."""
    kind = event["kind"]
    if kind == "control":
        control = parse_control(event)
        return None if control.error or control.action == "save" else control.action
    if kind == "start":
        return "resumed" if parse_start(event).resumed else None
    return {"checkpoint": "save", "note": "note", "stopped": "stopped"}.get(kind)
