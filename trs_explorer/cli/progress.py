"""A progress bar on stderr, for commands that take longer than two seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from trs_explorer.files import printable


class Advance(Protocol):
    """Moves a bar: called with the work done, all of it (None: unknown), and perhaps what is being done."""

    def __call__(self, done: float, total: float | None, now: str = "") -> None:
        """Move the bar."""
        ...


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar with the time left; yields the function that moves it.

    Nothing is drawn if stderr is not a terminal, or if quiet.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left:")]
    off = quiet or not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=off) as bar:
        task = bar.add_task(escape(printable(title)), total=None)

        def advance(done: float, total: float | None, now: str = "") -> None:
            bar.update(task, completed=done, total=total, description=escape(printable(f"{title}: {now}" if now else title)))

        yield advance
