"""Tables of any number of columns: printed in blocks of as many as fit, so that no figure and no name is ever shortened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

T = TypeVar("T")


@dataclass
class Column:
    """A column: its heading, and a cell a row."""

    heading: str
    cells: "list[RenderableType]" = field(default_factory=list)
    justify: str = "right"


def print_blocks(console: "Console", columns: Sequence[T], table: "Callable[[Sequence[T]], Table]") -> None:
    """Print the tables that `table` makes of columns: each of as many as the console is wide, and of one at least.

    One column may be wider than the console: then its lines are longer.
    """
    from rich.console import Console

    left = columns
    while left:
        shown = 1
        while shown < len(left) and _width(console, table(left[: shown + 1])) <= console.width:
            shown += 1
        block = table(left[:shown])
        wide = max(console.width, _width(console, block))
        Console(width=wide, highlight=False).print(block, no_wrap=True)  # rich fits what is wider than its console, and cuts
        left = left[shown:]


def print_table(console: "Console", first: Sequence[Column], others: Sequence[Column], **style: object) -> None:
    """Print a table in blocks, each with the first columns: in one, and without a frame, where that is too wide for the console.

    style: as for rich's `Table`.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    def table(columns: Sequence[Column]) -> Table:
        made = Table(**style)
        for column in (*first, *columns):
            made.add_column(column.heading, justify=column.justify, no_wrap=True)
        for cells in zip(*(column.cells for column in (*first, *columns)), strict=True):
            made.add_row(*cells)
        return made

    if any(_width(console, table([column])) > console.width for column in others):
        first = [_in_one(first)]
        style = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    print_blocks(console, others, table)


def _in_one(columns: Sequence[Column]) -> Column:
    """Columns of texts, below one another in each row."""
    rows = zip(*(column.cells for column in columns), strict=True)
    return Column("\n".join(column.heading for column in columns), ["\n".join(map(str, cells)) for cells in rows], "left")


def _width(console: "Console", table: "Table") -> int:
    """The width of a table whose columns all have theirs, whatever the console's is."""
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum
