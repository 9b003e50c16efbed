"""Where our figures and the paper's differ, in words made of what was measured; and whether its order of methods holds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from trs_explorer.evaluation import paper
from trs_explorer.evaluation.comparison import Row
from trs_explorer.evaluation.table1 import Column, Figure

FAR = 15.0  # percentage points, our choice
GROUPS = {"fgsm": ("fgsm",), "the iterated attacks": ("bim", "pgd", "mim", "apgd-dlr", "apgd-ce"), "cw": ("cw",), "ead": ("ead",)}
CW = "With one small constant CW mostly measures how large the logits are."
EAD = "With nine constants from c on nothing bounds how far EAD goes; with two the paper's shape comes back (README)."


@dataclass(frozen=True)
class Ordering:
    """Runs by their accuracy under one attack: in words, ours and the paper's, and how well the two orders agree.

    rho: Spearman's rank correlation of n runs; None for fewer than three, or where one side does not tell them apart.
    """

    column: Column
    n: int
    rho: float | None
    paper: str
    ours: str


def difference(figure: Figure) -> float | None:
    """Ours less the paper's, in percentage points, where they are far apart and its figure is outside our interval."""
    if figure.paper is None:
        return None
    low, high = figure.interval
    apart = figure.percent - figure.paper
    return apart if abs(apart) > FAR and not low <= figure.paper <= high else None


def differences(row: Row) -> list[str]:
    """A line for every kind of attack under which a run is far from the paper's: how far, and what explains it."""
    lines = []
    for name, attacks in GROUPS.items():
        group = {
            column: figure for column, figure in row.figures.items() if column.attack in attacks and figure.paper is not None
        }
        apart = {column: points for column, figure in group.items() if (points := difference(figure)) is not None}
        if apart:
            most = max(apart, key=lambda column: abs(apart[column]))
            figure = group[most]
            side = "above" if min(apart.values()) > 0 else "below" if max(apart.values()) < 0 else "away"
            lines.append(
                f"{row.label}, {most.words}: {figure.percent:.1f} %, in the paper {figure.paper:.1f}; of the {len(group)} "
                f"figures under {name} {len(apart)} are more than {FAR:g} points {side}. {_why(row, most, figure, apart[most])}"
            )
    return lines


def _why(row: Row, column: Column, figure: Figure, points: float) -> str:
    if column.attack == "cw":
        return CW
    if column.attack == "ead" and points < 0:
        return EAD
    unknown = f"explained by anything measured here: another model ({row.config.model}), recipe and budget than the paper's."
    if column.attack == "ead" or points < 0 or not row.masked:
        return f"Not {unknown}"
    checks = ", ".join(map(str, row.masked))
    masking = f"Masked gradients flatter it (check{'s' if len(row.masked) > 1 else ''} {checks})"
    least = row.worst_at(column.eps)
    if least is None:
        return f"{masking}, by how much was not measured."
    lower = f"{masking}: right under every attack of {column.at} are {figure.percent - least.percent:.1f} points fewer"
    if figure.paper is not None and least.percent - figure.paper > FAR:
        return f"{lower}, and the rest is not {unknown}"
    return f"{lower}."


def orderings(rows: Sequence[Row]) -> list[Ordering]:
    """By the paper's PGD figures at each of its radii, and ours under PGD, then under the worst of all attacks of that radius.

    Over the runs that have both; none where there are fewer than two.
    """
    found = []
    for eps in paper.parameters(rows[0].config.data, "pgd") if rows else ():
        column, worst = Column("pgd", eps), Column("the worst of all attacks", eps)
        known = [(row, row.figures[column]) for row in rows if column in row.figures and row.figures[column].paper is not None]
        found.append(_ordering(column, [(row, ours, ours.paper) for row, ours in known]))
        found.append(_ordering(worst, [(row, least, ours.paper) for row, ours in known if (least := row.worst_at(eps))]))
    return [ordering for ordering in found if ordering.n > 1]


def _ordering(column: Column, known: Sequence[tuple[Row, Figure, float]]) -> Ordering:
    """known: rows with our figure and the paper's."""
    by_ours = sorted(known, key=lambda one: -one[1].percent)
    by_paper = sorted(known, key=lambda one: -one[2])
    rho = spearman([ours.percent for _, ours, _ in known], [theirs for *_, theirs in known]) if len(known) > 2 else None
    alike = ["~" if _overlap(a, b) else ">" for (_, a, _), (_, b, _) in pairwise(by_ours)]
    equal = ["=" if a == b else ">" for (*_, a), (*_, b) in pairwise(by_paper)]
    return Ordering(column, len(known), rho, _chain(by_paper, equal), _chain(by_ours, alike))


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing theirs; None if either does not vary."""
    if len(set(a)) < 2 or len(set(b)) < 2:
        return None
    return statistics.correlation(_ranks(a), _ranks(b))


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def _overlap(higher: Figure, lower: Figure) -> bool:
    return higher.interval[0] <= lower.interval[1]


def _chain(known: Sequence[tuple[Row, Figure, float]], signs: Sequence[str]) -> str:
    """Labels with a sign between each two."""
    labels = [row.label for row, *_ in known]
    return " ".join(part for pair in zip_longest(labels, signs) for part in pair if part)
