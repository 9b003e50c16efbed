"""`trs compare --markdown`: a table with attacks as rows, and the paper's figures in columns of their own."""

from collections.abc import Sequence

from trs_explorer.evaluation.table1.columns import Column, all_columns
from trs_explorer.evaluation.table1.rows import Row, best_row, seeds_text
from trs_explorer.evaluation.table1.seed_figures import AnyFigure, SeedFigure
from trs_explorer.files import printable


def markdown(data: str, rows: Sequence[Row]) -> str:
    """The table of one data set's runs. Bold: the best of a row (`best_row`).

    Of several seeds: mean (smallest..largest; t: interval between trainings; i: interval over images).
    """
    has_paper = [any(figure.paper is not None for figure in row.figures.values()) for row in rows]
    head = ["attack"]
    for row, paper in zip(rows, has_paper, strict=True):
        seeds = [f"seeds {seeds_text(row.seeds)}"] if row.members else []
        head += [_escaped(", ".join([row.label, *seeds, *row.deviations])), *(["*paper*"] if paper else [])]
    lines = [head, ["---"] * len(head)]
    for column in all_columns(data):
        first = best_row(rows, column)
        line = [_attack(column)]
        for row, paper in zip(rows, has_paper, strict=True):
            figure = row.figures.get(column)
            if figure is None:
                line += ["", *([""] if paper else [])]
                continue
            low, high = figure.interval
            share = f"**{figure.percent:.1f}**" if row is first else f"{figure.percent:.1f}"
            line.append(f"{share} ({_over_seeds(figure)}{low:.1f}-{high:.1f})")
            line += [f"*{figure.paper:.1f}*" if figure.paper is not None else ""] if paper else []
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _over_seeds(figure: AnyFigure) -> str:
    """The range over trainings and the t interval between them; empty for a single run."""
    if not isinstance(figure, SeedFigure):
        return ""
    between = "t {:.1f}-{:.1f}; ".format(*figure.between) if figure.between else ""
    return "{:.1f}..{:.1f}; ".format(*figure.range) + f"{between}i "


def _attack(column: Column) -> str:
    """The attack and its eps or c, without the 0 before the decimal point."""
    if not column.value:
        return column.attack
    return f"{column.attack}, {'c' if column.eps is None else 'ε'} {f'{column.value:g}'.removeprefix('0')}"


def _escaped(label: str) -> str:
    return printable(label).replace("|", "\\|")
