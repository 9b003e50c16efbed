"""What a running sweep shows: a table that follows the trials, plain lines, or lines of JSON."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from trs_explorer.files import printable
from trs_explorer.measure.sweep.state import ENDED, FAILED, FINISHED, MEASURING, TRAINING, WAITING, TrialState
from trs_explorer.sweep_plan import Trial

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {FINISHED: "green", FAILED: "red", MEASURING: "cyan"}
LINE_INTERVAL_S = 60.0  # between two plain lines about a training's epochs


class SweepDisplay(Protocol):
    """Shows the states of trials."""

    def show(self, trial: Trial, state: TrialState) -> None:
        """Show how far a trial is. It is called again while nothing has changed."""
        ...


@contextmanager
def sweep_display(trials: Sequence[Trial], how: str) -> Iterator[SweepDisplay]:
    """The display for how = "rich", "plain" or "json". trials: those that are going to run."""
    if how == "rich":
        from rich.live import Live

        table = _Table(trials)
        with Live(get_renderable=table.render, refresh_per_second=2, transient=True):
            yield table
    else:
        yield _Json() if how == "json" else _Lines(len(trials))


class Clock:
    """The time that a training still needs, from the steps that it has made since it began or went on."""

    def __init__(self) -> None:
        self._began: int | None = None  # the step at which it was first seen
        self._first: tuple[float, int] | None = None  # when it was first seen after that, and at which step

    def left(self, state: TrialState, now: float) -> float | None:
        """Seconds; None while nothing is known. The time until its first steps are done, and a pause, count for nothing."""
        if state.state != TRAINING or not state.steps or self._began is None or state.step < self._began:
            self._began = state.step if state.state == TRAINING else None
            self._first = None
            return None
        if self._first is None:
            self._first = (now, state.step) if state.step > self._began else None
            return None
        then, step = self._first
        return (now - then) * (state.steps - state.step) / (state.step - step) if state.step > step else None


class _Json:
    """A line for every change."""

    def __init__(self) -> None:
        self._last: dict[str, TrialState] = {}

    def show(self, trial: Trial, state: TrialState) -> None:
        if self._last.get(trial.name, TrialState()) != state:
            self._last[trial.name] = state
            print(json.dumps({"kind": "trial", "name": trial.name, **asdict(state)}, separators=(",", ":")), flush=True)


class _Lines:
    """A line when a trial begins and when it ends, and one about its epochs now and then."""

    def __init__(self, count: int) -> None:
        self._count, self._ended = count, 0
        self._last: dict[str, tuple[str, float]] = {}
        self._clocks: dict[str, Clock] = {}

    def show(self, trial: Trial, state: TrialState) -> None:
        now = time.monotonic()
        left = self._clocks.setdefault(trial.name, Clock()).left(state, now)
        before, then = self._last.get(trial.name, (WAITING, now))
        if before == state.state and (state.state in ENDED or now - then < LINE_INTERVAL_S):
            return
        self._last[trial.name] = state.state, now
        self._ended += state.state in ENDED
        count = f"  ({self._ended} of {self._count})" if state.state in ENDED else ""
        with contextlib.suppress(OSError, ValueError):  # a closed pipe: the trials go on
            print(printable(f"{trial.name}: {state_text(state)}{_left_text(left)}{count}"), flush=True)


class _Table:
    """All trials that run, the last ones that have ended, and how many there are."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._states = {trial.name: TrialState() for trial in trials}
        self._clocks = {trial.name: Clock() for trial in trials}
        self._left: dict[str, float | None] = {}
        self._order: list[str] = []  # of those that have ended

    def show(self, trial: Trial, state: TrialState) -> None:
        self._states[trial.name] = state
        self._left[trial.name] = self._clocks[trial.name].left(state, time.monotonic())
        if state.state in ENDED:
            self._order = [*(name for name in self._order if name != trial.name), trial.name]

    def render(self) -> "Table":
        """The table as it is now: of all trials where they fit, else of those that run and that ended last."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        room = max(4, Console().height - 6)
        running = [name for name, state in self._states.items() if state.state not in (*ENDED, WAITING)]
        names = list(self._states)
        if len(names) > room:
            names = [*self._order[-max(0, room - len(running)) :], *running][-room:]
        counts = [sum(one.state == state for one in self._states.values()) for state in (FINISHED, FAILED, WAITING)]
        finished, failed, waiting = counts
        title = f"{finished} of {len(self._states)} finished, {failed} failed, {len(running)} running, {waiting} waiting"
        table = Table("trial", "state", "epoch", "left", title=title, title_justify="left", box=None)
        for name in names:
            state, left = self._states[name], self._left.get(name)
            style = STYLES.get(state.state, "dim" if state.state == WAITING else "")
            epochs = f"{state.epoch}/{state.epochs}" if state.epochs else ""
            what = printable(state.error or state.state)
            clock = str(timedelta(seconds=round(left))) if left is not None else ""
            table.add_row(escape(name), f"[{style}]{escape(what)}[/]" if style else escape(what), epochs, clock)
        return table


def state_text(state: TrialState) -> str:
    """A state in words: with the epoch of a training, and with what made it fail."""
    if state.error:
        return f"{state.state}: {state.error}"
    return f"{state.state}, epoch {state.epoch}/{state.epochs}" if state.epochs and state.state not in ENDED else state.state


def _left_text(left: float | None) -> str:
    return "" if left is None else f", {timedelta(seconds=round(left))} left"
