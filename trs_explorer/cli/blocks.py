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
    left = columns
    while left:
        shown = 1
        while shown < len(left) and _width(console, table(left[: shown + 1])) <= console.width:
            shown += 1
        block = table(left[:shown])
        console.print(block, width=max(console.width, _width(console, block)), crop=False, no_wrap=True)
        left = left[shown:]


def print_table(console: "Console", first: Sequence[Column], others: Sequence[Column], **style: object) -> None:
    """Print a table in blocks, each with the first columns. style: as for rich's `Table`."""
    from rich.table import Table

    def table(columns: Sequence[Column]) -> Table:
        made = Table(**style)
        for column in (*first, *columns):
            made.add_column(column.heading, justify=column.justify, no_wrap=True)
        for cells in zip(*(column.cells for column in (*first, *columns)), strict=True):
            made.add_row(*cells)
        return made

    print_blocks(console, others, table)


def _width(console: "Console", table: "Table") -> int:
    """The width of a table whose columns all have theirs, whatever the console's is."""
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum
