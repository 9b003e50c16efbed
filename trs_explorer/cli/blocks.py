"""Tables of any number of columns, printed in blocks that fit the terminal, so that no number and no name is cut."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

T = TypeVar("T")


@dataclass
class Column:
    """A column of a table: its heading, and a cell for each row."""

    heading: str
    cells: "list[RenderableType]" = field(default_factory=list)
    justify: str = "right"


def print_blocks(console: "Console", columns: Sequence[T], table: "Callable[[Sequence[T]], Table]") -> None:
    """Print columns in blocks: each has as many columns as fit the console, and at least one.

    - table: makes the rich table of some columns.

    A single column may be wider than the console: then its lines are longer.
    """
    from rich.console import Console

    remaining = columns
    while remaining:
        count = 1
        while count < len(remaining) and _width(console, table(remaining[: count + 1])) <= console.width:
            count += 1
        block = table(remaining[:count])
        wide = max(console.width, _width(console, block))
        Console(width=wide, highlight=False).print(block, no_wrap=True)  # wide enough: otherwise rich cuts
        remaining = remaining[count:]


def print_table(console: "Console", first: Sequence[Column], others: Sequence[Column], **style: object) -> None:
    """Print a table in blocks that all begin with the first columns.

    Where that is too wide for the console, the first columns are joined into one and the table has no frame.
    style: options of rich's `Table`.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    def table(columns: Sequence[Column]) -> Table:
        rich_table = Table(**style)
        for column in (*first, *columns):
            rich_table.add_column(column.heading, justify=column.justify, no_wrap=True)
        for cells in zip(*(column.cells for column in (*first, *columns)), strict=True):
            rich_table.add_row(*cells)
        return rich_table

    if any(_width(console, table([column])) > console.width for column in others):
        first = [_join_columns(first)]
        style = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    print_blocks(console, others, table)


def _join_columns(columns: Sequence[Column]) -> Column:
    """One column with the texts of several, below one another in each row."""
    rows = zip(*(column.cells for column in columns), strict=True)
    return Column("\n".join(column.heading for column in columns), ["\n".join(map(str, cells)) for cells in rows], "left")


def _width(console: "Console", table: "Table") -> int:
    """The width of a table with all columns at full width, whatever the console's width."""
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum
