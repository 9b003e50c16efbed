"""The order of methods over seeds: each two compared in every column, and in a line for the worst of the attacks. No torch."""

from collections.abc import Sequence
from itertools import combinations, pairwise

from trs_explorer.evaluation.table1.columns import Column
from trs_explorer.evaluation.table1.rows import Row, column_json
from trs_explorer.evaluation.table1.seed_figures import TESTS, SeedComparison, compare_over_seeds
from trs_explorer.files import Json

ONE_SEED = "One seed each, so nothing is called between trainings; trs train --seeds 0-4 trains several."
MASKED = "†"
HEADLINE = "pgd"  # the attack whose order is shown on data without a worst of several


def comparisons_json(rows: Sequence[Row]) -> list[Json]:
    """The comparison of every two rows of several seeds in every column, as JSON holds it, with the rows' labels."""
    groups = [row for row in rows if row.members]
    return [
        {**column_json(column), "first": one.label, "second": other.label}
        | compare_over_seeds(one.figures[column], other.figures[column]).to_json()
        for one, other in combinations(groups, 2)
        for column in one.figures
        if column in other.figures
    ]


def order_lines(rows: Sequence[Row]) -> list[str]:
    """What holds between trainings, in words: the order of the rows of several seeds, and that others have one seed alone."""
    groups = [row for row in rows if row.members]
    lines = [line for column in _headlines(groups) if (line := _order(groups, column))]
    if lines:
        counts = sorted({len(row.members) for row in groups})
        n = "-".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        pairs = len(groups) * (len(groups) - 1) // 2
        lines.append(
            f"> holds between trainings: {TESTS}, p < .05 each, on the same images; ~ does not. Trainings of one seed are paired "
            f"(n = {n} seeds). Assumed: their differences are independent and about normal. Not corrected for {pairs} "
            + ("pair." if pairs == 1 else "pairs.")
            + (f" {MASKED}: masked, so its figure may be too high." if any(row.masked for row in groups) else "")
        )
    alone = [row.label for row in rows if not row.members and row.figures]
    if alone and groups:
        lines.append(f"One seed, so nothing is called between trainings: {', '.join(alone)}.")
    return [*lines, *([ONE_SEED] if alone and not groups else [])]


def _headlines(groups: Sequence[Row]) -> list[Column]:
    columns = list(dict.fromkeys(column for row in groups for column in row.figures))
    return [column for column in columns if column.is_worst] or [column for column in columns if column.attack == HEADLINE]


def _order(groups: Sequence[Row], column: Column) -> str:
    """The rows with a figure in a column, the highest first, with a sign between each two; empty for fewer than two."""
    ranked = sorted((row for row in groups if column in row.figures), key=lambda row: -row.figures[column].percent)
    if len(ranked) < 2:
        return ""
    named = [f"{row.label}{MASKED * bool(row.masked)} {row.figures[column].percent:.1f}" for row in ranked]
    texts = named[:1]
    for (higher, lower), name in zip(pairwise(ranked), named[1:], strict=True):
        comparison = compare_over_seeds(higher.figures[column], lower.figures[column])
        texts += [f"{'>' if comparison.called == 1 else '~'} ({_p(comparison)})", name]
    return f"Order over seeds under {column.words}: {' '.join(texts)}."


def _p(comparison: SeedComparison) -> str:
    """The p of the test over seeds in words."""
    if comparison.over_seeds is None:
        return "no two seeds in common"
    p = comparison.over_seeds.p
    return "p < .001" if p < 0.001 else f"p {p:.3f}".replace("0.", ".")
