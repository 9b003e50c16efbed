"""The position in a run's log: at the newest event, or replaying from an earlier one. No terminal, no clock."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from trs_explorer.tui.event_log import EventLog, Stop
from trs_explorer.tui.history import History

SPEEDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
WHOLE_RUN_S = 20.0  # the initial speed replays the whole run in about this time


@dataclass
class Player:
    """A replay of a log.

    position: how many events are shown; None follows the newest one.
    playing: whether it moves on by itself.  speed: a multiple of the training's speed, 0 before one is chosen.
    """

    position: int | None = None
    playing: bool = False
    speed: int = 0
    _time: float = 0.0  # training time that the replay has reached, in seconds

    def history(self, event_log: EventLog) -> History:
        """The history at the present position. Raises OSError."""
        return event_log.history if self.position is None else event_log.at(self.position)

    def move(self, event_log: EventLog, events: int) -> None:
        """Move by a number of events. At the newest one it follows the run again."""
        self._go(event_log, (len(event_log) if self.position is None else self.position) + events)

    def stride(self, event_log: EventLog, by: int) -> None:
        """Move by hundredths of the log."""
        self.move(event_log, by * max(1, len(event_log) // 100))

    def jump(self, event_log: EventLog, direction: int) -> Stop | None:
        """Jump to the next (direction 1) or previous (-1) mark or checkpoint. None if there is none."""
        position = len(event_log) if self.position is None else self.position
        where = [stop.events for stop in event_log.stops]
        i = bisect_right(where, position) if direction > 0 else bisect_left(where, position) - 1
        if not 0 <= i < len(where):
            return None
        self._go(event_log, where[i])
        return event_log.stops[i]

    def start(self, event_log: EventLog) -> None:
        """Go to the first event."""
        self._go(event_log, min(1, len(event_log)))

    def end(self) -> None:
        """Follow the newest event."""
        self.position, self.playing = None, False

    def play(self, event_log: EventLog) -> None:
        """Play from here (from the start if this is the end), or pause."""
        if self.playing or not len(event_log):
            self.playing = False
            return
        if self.position is None:
            self.start(event_log)
        self._choose_speed(event_log)
        self.playing = self.position is not None
        self._synchronise(event_log)

    def change_speed(self, event_log: EventLog, by: int) -> None:
        """Change to the next higher (1) or lower (-1) speed; without effect at the newest event."""
        if self.position is None:
            return
        self._choose_speed(event_log)
        self.speed = SPEEDS[min(max(SPEEDS.index(self.speed) + by, 0), len(SPEEDS) - 1)]

    def _choose_speed(self, event_log: EventLog) -> None:
        if not self.speed:
            wanted = event_log.clock[-1] / WHOLE_RUN_S
            self.speed = next((speed for speed in SPEEDS if speed >= wanted), SPEEDS[-1])

    def tick(self, event_log: EventLog, seconds: float) -> None:
        """Advance by that many seconds of the viewer's time."""
        if self.playing and self.position is not None:
            self._time += seconds * self.speed
            self._move_to(event_log, max(self.position, bisect_right(event_log.clock, self._time)))

    def _go(self, event_log: EventLog, position: int) -> None:
        self._move_to(event_log, max(position, min(1, len(event_log))))
        self._synchronise(event_log)

    def _move_to(self, event_log: EventLog, position: int) -> None:
        if position >= len(event_log):
            self.end()
        else:
            self.position = position

    def _synchronise(self, event_log: EventLog) -> None:
        if self.position:
            self._time = event_log.clock[self.position - 1]
