"""A progress bar on stderr, for commands that take longer than two seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trs_explorer.files import printable

Advance = Callable[..., None]


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Advance]:
    """A bar with the time left, moved by calling it with (done, all) and perhaps what is done now.

    Nothing is drawn where stderr is not a terminal, or if it must be quiet.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left:")]
    off = quiet or not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=off) as bar:
        task = bar.add_task(escape(printable(what)), total=None)

        def advance(done: float, total: float, now: str = "") -> None:
            bar.update(task, completed=done, total=total, description=escape(printable(f"{what}: {now}" if now else what)))

        yield advance
