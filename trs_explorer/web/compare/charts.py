"""What the charts of all runs on a data set show: pure functions of stored and measured results. How: `figures.runs`."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from dash import html

from trs_explorer.evaluation.table1.columns import CLEAN, Column, Figure
from trs_explorer.evaluation.table1.groups import group_seeds
from trs_explorer.evaluation.table1.rows import Row, sort_rows
from trs_explorer.evaluation.table1.seed_figures import AnyFigure
from trs_explorer.figures.runs import Point, RunPoint
from trs_explorer.web.compare.stored_results import Probe, with_side

WORST = "worst of several"
RISE = 2.0  # points of accuracy
MASKED_SHARE = 0.5  # with more vanishing gradients of the cross-entropy than this, attacks that follow it are weak

Curves = dict[str, dict[str, list[Point]]]  # by attack, then by run


def robust_curves(rows: Sequence[Row], others: Mapping[str, Mapping[str, Sequence[Point]]] | None = None) -> Curves:
    """Return the stored accuracies over eps, starting with the clean one, by attack and run.

    rows: the table's figures. The worst of several attacks of one eps is the last.
    others: points of other evaluations of the same weights, by run and attack; used at radii that the table does not have.
    """
    curves: Curves = {}
    for row in rows:
        clean = row.figures.get(CLEAN)
        first = [_point(CLEAN, clean)] if clean else []
        for column in (c for c in row.figures if c.eps):
            curves.setdefault(_attack(column), {}).setdefault(row.run, [*first]).append(_point(column, row.figures[column]))
        for attack, points in (others or {}).get(row.run, {}).items():
            line = curves.setdefault(attack, {}).setdefault(row.run, [*first])
            radii = {point[0] for point in line}
            line += [point for point in points if point[0] not in radii]
    drawn = {attack: {run: sorted(points) for run, points in runs.items()} for attack, runs in curves.items()}
    return {attack: drawn[attack] for attack in sorted(drawn, key=lambda attack: attack == WORST)}


def curves_caption(curves: Curves, rows: Sequence[Row], sides: Mapping[str, str]) -> str:
    """Describe the stored curves: their source, and which of A and B has none."""
    if not curves:
        return "No accuracy under attack is stored for these runs yet. Measure it with: trs compare"
    runs_with_curve = {run for runs in curves.values() for run in runs}
    counts = sorted({point[-1] for runs in curves.values() for points in runs.values() for point in points})
    n = f"n {counts[0]}" if len(counts) == 1 else f"n {counts[0]} to {counts[-1]}, as the table says"
    sentences = [f"Stored by trs compare and trs evaluate, {n}; 95 % intervals on A and B, other runs in grey."]
    for run in dict.fromkeys(sides.values()):
        if run not in runs_with_curve:
            sentences.append(f"Nothing is stored for {run}: trs compare measures it.")
    if masked := ", ".join(row.label for row in rows if row.masked):
        sentences.append(f"Masked, so too high: {masked}.")
    return " ".join(sentences)


def rising_words(curves: Mapping[str, Sequence[Point]]) -> str:
    """Say where accuracy rises with eps by more than RISE: a larger ball holds a smaller one, so an attack failed."""
    rises = []
    for run, points in curves.items():
        steps = [(low, high) for i, low in enumerate(points) for high in points[i + 1 :] if high[1] > low[1] + RISE]
        if steps:
            (eps, rate, *_), (larger, higher, *_) = max(steps, key=lambda pair: pair[1][1] - pair[0][1])
            rises.append(f"{run} has {rate:.1f} % at ε {eps:g} and {higher:.1f} % at {larger:g}")
    if not rises:
        return ""
    return f" {'; '.join(rises)}: the attack gets stuck there, so the higher figure is too high. Try MORA, or more starts."


def curves_table(curves: Mapping[str, Mapping[str, Sequence[Point]]], sides: Mapping[str, str]) -> html.Table:
    """Build a table of the charts' points. sides: the runs that are A and B, by "a" and "b"."""
    head = html.Tr([html.Th(name, scope="col") for name in ("attack", "run", "eps", "accuracy, %", "95 %", "n")])
    body = [
        html.Tr([html.Th(attack, scope="row"), html.Td(with_side(run, sides)),
                 *map(html.Td, (f"{eps:g}", f"{rate:.1f}", f"{low:.1f}-{high:.1f}", str(n)))])
        for attack, runs in curves.items() for run, points in runs.items() for eps, rate, low, high, n in points
    ]  # fmt: skip
    return html.Table([html.Thead(head), html.Tbody(body)])


def _attack(column: Column) -> str:
    return WORST if column.is_worst else column.attack


def _point(column: Column, figure: AnyFigure) -> Point:
    return (column.eps or 0.0, figure.percent, *figure.interval, figure.n)


def drawn_rows(rows: Sequence[Row], sides: Mapping[str, str]) -> list[Row]:
    """Return the rows of the charts: those of several seeds as one, unless both A and B are among them.

    rows: one a run.  sides: the runs that are A and B, by "a" and "b".
    """
    chosen = set(sides.values())
    grouped = group_seeds(rows)
    return sort_rows([one for row in grouped for one in (row.members if len(chosen & {*row.runs}) > 1 else (row,))])


def point_name(row: Row, sides: Mapping[str, str]) -> str:
    """Return the run whose name and style a row's point has: A or B if it is among its seeds, else the first."""
    return next((name for name in sides.values() if name in row.runs), row.runs[0])


def point_label(row: Row) -> str:
    """Return what is written beside a row's point: its label without the data set. How many seeds a point has, it says itself."""
    return row.label.removeprefix(f"{row.config.data}-").removesuffix(f" ({len(row.members)} seeds)")


def _seeds(count: int) -> str:
    return f" ({count} seeds)" if count > 1 else ""


def cosine_points(
    probes: Mapping[str, Probe], labels: Mapping[str, str], groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, RunPoint]:
    """Return mean |cos| of the members' gradients against transfer in %, per run: low |cos| alone is not low transfer.

    labels: by the name of a point.
    groups: the runs that differ only in the seed, by the name of their point: one with the mean of those that have a probe.
    """
    groups = groups or {}
    points = {}
    for name, runs in {**{name: (name,) for name in probes}, **groups}.items():
        of_seeds = [probes[run] for run in runs if run in probes]
        label = (
            labels.get(name, name)
            + _seeds(len(of_seeds))
            + (" †" if any(probe.vanishing > MASKED_SHARE for probe in of_seeds) else "")
        )
        if len(of_seeds) == 1:
            points[name] = _cosine_point(of_seeds[0], label)
        elif of_seeds:
            percents, cosines = [probe.percent for probe in of_seeds], [probe.cosine for probe in of_seeds]
            counts = sum(probe.fooled for probe in of_seeds), sum(probe.eligible for probe in of_seeds)
            extent = min(cosines), max(cosines)
            points[name] = RunPoint(
                fmean(cosines), fmean(percents), min(percents), max(percents), *counts, label, len(of_seeds), extent
            )
    inside = {run for runs in groups.values() for run in runs} - groups.keys()
    return {name: point for name, point in points.items() if name not in inside}


def _cosine_point(probe: Probe, label: str) -> RunPoint:
    return RunPoint(probe.cosine, probe.percent, *probe.interval, probe.fooled, probe.eligible, label)


def robust_points(
    rows: Sequence[Row], probes: Mapping[str, Probe], labels: Mapping[str, str], sides: Mapping[str, str] | None = None
) -> tuple[dict[str, RunPoint], str]:
    """Return transfer between members against the ensemble's robust accuracy, both in %, per row; and the attacks' name.

    Of several seeds the accuracy is of all, the transfer of those that have a probe.
    labels, sides: as for `cosine_points` and `point_name`.
    """
    columns = (c for row in rows for c in sorted(row.figures, key=lambda c: c.eps or 0.0) if _attack(c) == WORST)
    column = next(columns, None)
    if column is None:
        return {}, ""
    points = {}
    for row in rows:
        figure, of_seeds = row.figures.get(column), [probes[run].percent for run in row.runs if run in probes]
        if not figure or not of_seeds:
            continue
        name = point_name(row, sides or {})
        count = 1 if isinstance(figure, Figure) else len(figure.by_seed)
        label = labels.get(name, name) + _seeds(count) + (" ‡" if row.masked else "")
        if isinstance(figure, Figure):
            points[name] = RunPoint(of_seeds[0], figure.percent, *figure.interval, figure.correct, figure.n, label)
        else:
            counts = [sum(one) for one in zip(*((f.correct, f.n) for f in figure.by_seed.values()), strict=True)]
            extent = min(of_seeds), max(of_seeds)
            points[name] = RunPoint(fmean(of_seeds), figure.percent, *figure.range, counts[0], counts[1], label, count, extent)
    return points, column.words


def robust_table(points: Mapping[str, RunPoint], sides: Mapping[str, str]) -> html.Table:
    """Build a table of the points of `robust_points`."""
    head = [html.Th(name, scope="col") for name in ("run", "transfer, %", "robust accuracy, %", "95 %", "correct/n")]
    body = [
        html.Tr([html.Th([with_side(run, sides), *_of_seeds(p)], scope="row"),
                 *map(html.Td, (f"{p.x:.1f}", f"{p.y:.1f}", _extent(p), f"{p.count}/{p.n}"))])
        for run, p in sorted(points.items(), key=lambda item: -item[1].y)
    ]  # fmt: skip
    return html.Table([html.Thead(html.Tr(head)), html.Tbody(body)])


def _of_seeds(point: RunPoint) -> list[str]:
    return [f" and {point.seeds - 1} other seed{'s' * (point.seeds > 2)}"] if point.seeds > 1 else []


def _extent(point: RunPoint) -> str:
    """The interval of a run, or from the smallest to the largest of several seeds."""
    return f"{point.low:.1f}{'-' if point.seeds == 1 else '..'}{point.high:.1f}"
