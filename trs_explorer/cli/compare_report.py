"""What `trs compare` prints: the table in blocks that fit the terminal, then notes about its figures."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trs_explorer.cli.blocks import print_blocks
from trs_explorer.cli.flags import on_terminal
from trs_explorer.evaluation.table1.columns import SEED, STEPS, Column, all_columns
from trs_explorer.evaluation.table1.differences import difference_lines, orderings
from trs_explorer.evaluation.table1.rows import Row, best_row, image_count, seeds_text
from trs_explorer.evaluation.table1.seed_figures import LEGEND, SeedFigure
from trs_explorer.evaluation.table1.seed_orders import order_lines
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.files import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH = 120  # without a terminal
MIN_NAME_WIDTH = 14
MISSING = "missing"


def show(data: str, rows: Sequence[Row]) -> None:
    """Print the table of one data set's runs, the sanity checks, the differences to the paper, and whether its order holds."""
    from rich.console import Console
    from rich.markup import escape

    columns = os.environ.get("COLUMNS", "")
    console = Console(width=None if on_terminal() or columns.isdigit() else WIDTH, highlight=False)
    has_paper = any(figure.paper is not None for row in rows for figure in row.figures.values())
    n = image_count(rows)
    on = f"on the first {n} test images (seed {SEED}, {STEPS} steps, one start)" if n else "(no figure is stored)"
    below = "; below: the paper's figure, for its own models and recipe" if has_paper else ""
    console.print(
        f"[bold]{escape(data)}[/]: accuracy in % {on}; second line: 95 % Wilson interval{below}. "
        "* best of its column: gradients not masked, and its interval overlaps with no other."
        + (f" {LEGEND}" if any(row.members for row in rows) else "")
    )
    print_blocks(console, all_columns(data), lambda columns: _table(console, rows, columns))
    for part in (_trust(rows), [line for row in rows for line in difference_lines(row)], [*order_lines(rows), *_orders(rows)]):
        if part:
            console.print(*(escape(printable(line)) for line in part), "", sep="\n")


def _table(console: "Console", rows: Sequence[Row], columns: Sequence[Column]) -> "Table":
    """A table with columns of fixed widths, so that no figure is cut or wrapped. Names are wrapped at a third of the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, leading=1)
    names = [_name(row) for row in rows]
    longest = max(len(line) for name in names for line in name)
    table.add_column("", width=min(longest, max(console.width // 3, MIN_NAME_WIDTH)), overflow="fold")
    best = {column: best_row(rows, column) for column in columns}
    cells = {column: [_cell(row, column, row is best[column]) for row in rows] for column in columns}
    for column, below in cells.items():
        heading = f"{column.attack}\n{column.at}"
        widest = max(len(line) for text in [heading, *(cell.plain for cell in below)] for line in text.split("\n"))
        table.add_column(Text(heading), width=widest, justify="right", no_wrap=True)
    for place, name in enumerate(names):
        table.add_row(Text("\n".join(name)), *(below[place] for below in cells.values()))
    return table


def _name(row: Row) -> list[str]:
    """The row's name and the warnings about its figures, in short lines."""
    numbers = [str(number) for number in row.warned]
    groups = [", ".join(numbers[first : first + 3]) for first in range(0, len(numbers), 3)]
    warns = [f"warns: {group}" if not place else f"  {group}" for place, group in enumerate(groups)]
    checked = warns or ["no warnings" if row.checks else "not checked"]
    seeds = [f"{len(row.seeds)} seeds: {seeds_text(row.seeds)}"] if row.members else []
    return [printable(row.label), *seeds, *map(printable, row.deviations), *(["MASKED"] if row.masked else []), *checked]


def _cell(row: Row, column: Column, first: bool) -> "Text":
    from rich.text import Text

    figure = row.figures.get(column)
    if figure is None:
        return Text(MISSING, "dim")
    low, high = figure.interval
    lines = [(f"*{figure.percent:.1f}", "bold") if first else f"{figure.percent:.1f}"]
    if isinstance(figure, SeedFigure):
        lines += [f"\n{line}" for line in _over_seeds(figure, len(row.members))]
    lines.append(f"\n{'i ' if row.members else ''}{low:.1f}-{high:.1f}")
    if figure.paper is not None:
        lines.append((f"\npaper {figure.paper:.1f}", "dim italic"))
    return Text.assemble(*lines)


def _over_seeds(figure: SeedFigure, seeds: int) -> list[str]:
    """The range over trainings and the t interval; and how many of a row's seeds have the figure, if not all."""
    few = [] if len(figure.by_seed) == seeds else [f"{len(figure.by_seed)} of {seeds} seeds"]
    interval = [] if figure.between is None else ["t {:.1f}-{:.1f}".format(*figure.between)]
    return ["{:.1f}..{:.1f}".format(*figure.range), *interval, *few]


def _trust(rows: Sequence[Row]) -> list[str]:
    """Notes: which rows have too high figures, which checks warned, and what is missing."""
    lines = []
    if masked := [row.label for row in rows if row.masked]:
        lines.append(
            f"MASKED: attacks miss adversarial images of {', '.join(masked)}: their figures are too high, also under PGD. "
            "The worst of several attacks is closer to the truth, but may still be too high."
        )
    if warned := sorted({number for row in rows for number in row.warned}):
        lines.append(
            "Checks that warn, each with the condition that does not hold: "
            + "; ".join(f"{k}: {CHECKS[k]}" for k in warned)
            + "."
        )
    if any(len(one.figures) < len(all_columns(one.config.data)) for row in rows for one in row.members or (row,)):
        lines.append(f"{MISSING}: not stored with the run for these weights and this version; measured without --stored.")
    counts = sorted({len(row.checks) for row in rows})
    count = "-".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    lines.append(f"{count} of {len(CHECKS)} sanity checks run per row; trs evaluate RUN --trust runs and prints all.")
    return lines


def _orders(rows: Sequence[Row]) -> list[str]:
    """Notes on whether the paper's order of methods holds."""
    lines = []
    overlap = "intervals overlap" + " over images; of two rows of several seeds: not called" * any(row.members for row in rows)
    for order in orderings(rows):
        rho = "" if order.rho is None else f"rank correlation (Spearman) {order.rho:.2f} of {order.n} runs. "
        lines.append(f"Order under {order.column.words}: {rho}Paper (PGD): {order.paper}; ours: {order.ours} (~: {overlap}).")
    return lines
