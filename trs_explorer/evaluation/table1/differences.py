"""Where our figures and the paper's differ, and why as far as was measured; and whether the paper's order of methods holds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from trs_explorer.evaluation.table1 import paper
from trs_explorer.evaluation.table1.columns import Column
from trs_explorer.evaluation.table1.rows import Row, is_better
from trs_explorer.evaluation.table1.seed_figures import AnyFigure, SeedFigure

LARGE = 15.0  # percentage points, our choice
GROUPS = {"fgsm": ("fgsm",), "the iterated attacks": ("bim", "pgd", "mim", "apgd-dlr", "apgd-ce"), "cw": ("cw",), "ead": ("ead",)}
CW = "With one small constant CW mostly measures how large the logits are."
EAD = "With nine constants from c on nothing bounds EAD's change; with two the paper's shape comes back (checkpoints/README.md)."


@dataclass(frozen=True)
class Ordering:
    """The order of runs by their accuracy under one attack: ours, the paper's, and how well the two agree.

    - n: the number of runs.
    - rho: Spearman's rank correlation of the two; None for fewer than three runs, or where all figures of one side are equal.
    - paper, ours: the labels of the runs, highest accuracy first, as text; ">" where `is_better` holds, else "~".
    """

    column: Column
    n: int
    rho: float | None
    paper: str
    ours: str


def large_difference(figure: AnyFigure) -> float | None:
    """Our figure minus the paper's, in percentage points, if that is large and the paper's is outside our interval; else None.

    Of several seeds: outside the interval over images and outside that between trainings.
    """
    if figure.paper is None:
        return None
    between = figure.between if isinstance(figure, SeedFigure) else None
    points = figure.percent - figure.paper
    inside = any(low <= figure.paper <= high for low, high in (figure.interval, between or figure.interval))
    return points if abs(points) > LARGE and not inside else None


def difference_lines(row: Row) -> list[str]:
    """A line for every kind of attack with a large difference between a run and the paper: how large, and what explains it."""
    lines = []
    for name, attacks in GROUPS.items():
        group = {
            column: figure for column, figure in row.figures.items() if column.attack in attacks and figure.paper is not None
        }
        large = {column: points for column, figure in group.items() if (points := large_difference(figure)) is not None}
        if large:
            largest = max(large, key=lambda column: abs(large[column]))
            figure = group[largest]
            side = "above" if min(large.values()) > 0 else "below" if max(large.values()) < 0 else "away"
            lines.append(
                f"{row.label}, {largest.words}: {figure.percent:.1f} %, in the paper {figure.paper:.1f}; of the {len(group)} "
                f"figures under {name} {len(large)} are more than {LARGE:g} points {side}. "
                f"{_explanation(row, largest, figure, large[largest])}"
            )
    return lines


def _explanation(row: Row, column: Column, figure: AnyFigure, points: float) -> str:
    if column.attack == "cw":
        return CW
    if column.attack == "ead" and points < 0:
        return EAD
    unknown = f"explained by anything measured here: another model ({row.config.model_name}), recipe and budget than the paper's."
    if column.attack == "ead" or points < 0 or not row.masked:
        return f"Not {unknown}"
    checks = ", ".join(map(str, row.masked))
    masking = f"Masked gradients flatter it (check{'s' if len(row.masked) > 1 else ''} {checks})"
    least = row.worst_at(column.eps)
    if least is None:
        return f"{masking}, by how much was not measured."
    lower = f"{masking}: right under every attack of {column.at} are {figure.percent - least.percent:.1f} points fewer"
    if figure.paper is not None and least.percent - figure.paper > LARGE:
        return f"{lower}, and the rest is not {unknown}"
    return f"{lower}."


def orderings(rows: Sequence[Row]) -> list[Ordering]:
    """Compare the paper's PGD figures at each of its radii with ours: under PGD, then under the worst of all attacks.

    Only runs that have both count. There is no ordering of fewer than two runs.
    """
    orders = []
    for eps in paper.parameters(rows[0].config.data, "pgd") if rows else ():
        column, worst = Column("pgd", eps), Column("the worst of all attacks", eps)
        both = [
            (row, ours, ours.paper) for row in rows if (ours := row.figures.get(column)) is not None and ours.paper is not None
        ]
        orders.append(_ordering(column, both))
        orders.append(_ordering(worst, [(row, least, theirs) for row, _, theirs in both if (least := row.worst_at(eps))]))
    return [ordering for ordering in orders if ordering.n > 1]


def _ordering(column: Column, compared: Sequence[tuple[Row, AnyFigure, float]]) -> Ordering:
    """The ordering of rows, each with our figure and the paper's."""
    by_ours = sorted(compared, key=lambda one: -one[1].percent)
    by_paper = sorted(compared, key=lambda one: -one[2])
    rho = spearman([ours.percent for _, ours, _ in compared], [theirs for *_, theirs in compared]) if len(compared) > 2 else None
    our_signs = [">" if is_better(a, b) else "~" for (_, a, _), (_, b, _) in pairwise(by_ours)]
    paper_signs = ["=" if a == b else ">" for (*_, a), (*_, b) in pairwise(by_paper)]
    return Ordering(column, len(compared), rho, _chain(by_paper, paper_signs), _chain(by_ours, our_signs))


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, where equal values share theirs; None if either does not vary."""
    if len(set(a)) < 2 or len(set(b)) < 2:
        return None
    return statistics.correlation(_ranks(a), _ranks(b))


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def _chain(ordered: Sequence[tuple[Row, AnyFigure, float]], signs: Sequence[str]) -> str:
    """The labels with a sign between each two."""
    labels = [row.label for row, *_ in ordered]
    return " ".join(part for pair in zip_longest(labels, signs) for part in pair if part)
