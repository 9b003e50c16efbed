"""Where a viewer stands in a run's log: at its newest event, or at one in the past, perhaps moving on. No terminal, no clock."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from trs_explorer.tui.model import History
from trs_explorer.tui.tape import Stop, Tape

SPEEDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SHOW_S = 20.0  # the speed that is chosen at first takes about as long for the whole run


@dataclass
class Player:
    """position: how many events are shown, None for all there are, also of those to come. speed: times the training's own."""

    position: int | None = None
    playing: bool = False
    speed: int = 0
    _moment: float = 0.0  # seconds of training that playing has reached

    def history(self, tape: Tape) -> History:
        """What is to be shown. Raises OSError."""
        return tape.history if self.position is None else tape.at(self.position)

    def move(self, tape: Tape, events: int) -> None:
        """Go so many events on or back; the newest one follows the run again."""
        self._go(tape, (len(tape) if self.position is None else self.position) + events)

    def stride(self, tape: Tape, by: int) -> None:
        """Go so many hundredths of the log on or back."""
        self.move(tape, by * max(1, len(tape) // 100))

    def jump(self, tape: Tape, direction: int) -> Stop | None:
        """Go to the next mark or checkpoint (direction 1) or to the one before (-1). None if there is none."""
        at = len(tape) if self.position is None else self.position
        where = [stop.events for stop in tape.stops]
        i = bisect_right(where, at) if direction > 0 else bisect_left(where, at) - 1
        if not 0 <= i < len(where):
            return None
        self._go(tape, where[i])
        return tape.stops[i]

    def start(self, tape: Tape) -> None:
        """Go to the first event."""
        self._go(tape, min(1, len(tape)))

    def end(self) -> None:
        """Follow the newest event."""
        self.position, self.playing = None, False

    def play(self, tape: Tape) -> None:
        """Play on from here (from the start if this is the end), or stop playing."""
        if self.playing or not len(tape):
            self.playing = False
            return
        if self.position is None:
            self.start(tape)
        self._choose_speed(tape)
        self.playing = self.position is not None
        self._hold(tape)

    def faster(self, tape: Tape, by: int) -> None:
        """The next speed up (1) or down (-1), in the past; the newest event has none."""
        if self.position is None:
            return
        self._choose_speed(tape)
        self.speed = SPEEDS[min(max(SPEEDS.index(self.speed) + by, 0), len(SPEEDS) - 1)]

    def _choose_speed(self, tape: Tape) -> None:
        if not self.speed:
            wanted = tape.clock[-1] / SHOW_S
            self.speed = next((speed for speed in SPEEDS if speed >= wanted), SPEEDS[-1])

    def tick(self, tape: Tape, seconds: float) -> None:
        """Let so many seconds of the viewer's time pass."""
        if self.playing and self.position is not None:
            self._moment += seconds * self.speed
            self._reach(tape, max(self.position, bisect_right(tape.clock, self._moment)))

    def _go(self, tape: Tape, position: int) -> None:
        self._reach(tape, max(position, min(1, len(tape))))
        self._hold(tape)

    def _reach(self, tape: Tape, position: int) -> None:
        if position >= len(tape):
            self.end()
        else:
            self.position = position

    def _hold(self, tape: Tape) -> None:
        if self.position:
            self._moment = tape.clock[self.position - 1]
