"""A progress bar on stderr, for commands that take longer than two seconds; where stderr is no terminal, a line now and then."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic
from typing import Protocol

from trs_explorer.files import printable


class Advance(Protocol):
    """Moves a bar: called with the work done, all of it (None: unknown), and perhaps what is being done."""

    def __call__(self, done: float, total: float | None, now: str = "") -> None:
        """Move the bar."""
        ...


LINE_INTERVAL_S = 30.0  # between two lines without a terminal: a log stays short


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar with the time left; yields the function that moves it.

    If stderr is not a terminal, it gets a line every half minute, and none of a shorter task. Nothing is shown if quiet.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left:")]
    off = quiet or not console.is_terminal
    lines = None if quiet or console.is_terminal else _Lines()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=off) as bar:
        task = bar.add_task(escape(printable(title)), total=None)

        def advance(done: float, total: float | None, now: str = "") -> None:
            text = f"{title}: {now}" if now else title
            bar.update(task, completed=done, total=total, description=escape(printable(text)))
            if lines is not None:
                lines.show(text, done, total)

        yield advance


class _Lines:
    """Progress as lines of a log."""

    def __init__(self) -> None:
        self.began = self.last = monotonic()
        self.first: float | None = None  # what was done before, by a command that was interrupted

    def show(self, text: str, done: float, total: float | None) -> None:
        """Print what is done and how long the rest takes, if the last line is long ago."""
        now, self.first = monotonic(), done if self.first is None else self.first
        if now - self.last < LINE_INTERVAL_S:
            return
        self.last, spent = now, now - self.began
        share = f", {100 * done / total:.0f} %" if total else ""
        left = f", left: {_clock(spent * (total - done) / (done - self.first))}" if total and done > self.first else ""
        with contextlib.suppress(OSError, ValueError):  # a closed pipe: the work goes on
            print(printable(f"{text}: {_clock(spent)}{share}{left}"), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
