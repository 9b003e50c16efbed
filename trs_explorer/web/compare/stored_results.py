"""Stored results of all runs on one data set: the paper's Table 1, other evaluations, and each run's last probe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dash import html

from trs_explorer.catalogue import DATA
from trs_explorer.config import TrainConfig, same_split
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.table1.columns import LIMIT, SEED, STEPS, Column, Figure, all_columns
from trs_explorer.evaluation.table1.columns import WORST as WORST_COLUMN
from trs_explorer.evaluation.table1.differences import difference_lines, orderings
from trs_explorer.evaluation.table1.rows import Row, best_row, image_count, make_row, seeds_text, sort_rows
from trs_explorer.evaluation.table1.seed_figures import LEGEND
from trs_explorer.evaluation.table1.seed_orders import order_lines
from trs_explorer.evaluation.table1.stored import measured_checkpoint, stored_evaluations
from trs_explorer.explore.library import DAMAGE, Library
from trs_explorer.figures.runs import Point
from trs_explorer.files import Json, printable
from trs_explorer.matrices import mean
from trs_explorer.newest_probe import newest_probe
from trs_explorer.options import UsageError
from trs_explorer.results import read_results
from trs_explorer.runs import RunError

UNREADABLE = (RunError, UsageError, *DAMAGE)  # errors of one run's damaged files: that run is left out, the others are shown
NO_PROBE = "No run has a probe in its log: trainings make one after every epoch, and imported ensembles have no training here."
MAX_IMAGES, MAX_NAME = 10**9, 80  # images of an evaluation, characters of an attack's name


@dataclass(frozen=True)
class Probe:
    """The last probe that a training has logged.

    cosine: mean |cos| over pairs of members, by the log-odds.
    fooled, eligible: counts of images, summed over all ordered pairs.
    pairs: the number of ordered pairs; an image may be counted in each of them.
    eps: the probe's attack radius.
    n: the number of images.
    pooled: the 95 % interval of the transfer rate, in which an image counts once.
    vanishing: the share of the members' cross-entropy gradients with a norm below 1e-6.
    """

    cosine: float
    fooled: int
    eligible: int
    pairs: int
    eps: float
    n: int
    pooled: tuple[float, float]
    vanishing: float = 0.0

    @property
    def percent(self) -> float:
        """Transfer rate, in % of the eligible images."""
        return 100 * self.fooled / self.eligible

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the transfer rate, in %. Outcomes on one image are correlated: it counts once, not once per pair."""
        return 100 * self.pooled[0], 100 * self.pooled[1]


def runs_on_same_data(library: Library, config: TrainConfig) -> list[str]:
    """Return the names of the runs with the same test images as a training, as far as known."""
    return [name for name, run in library.runs().items() if same_split(run.config, config, "test")]


def stored_rows(library: Library, config: TrainConfig) -> list[Row]:
    """Return the rows of the paper's table, in its order: one for every run on the same data whose newest weights can be read."""
    rows = []
    for name in runs_on_same_data(library, config):
        try:
            run = library.run(name)
            checkpoint, weights = measured_checkpoint(run, partial(library.digest, name))
            config = replace(
                run.config, start_from=Path(run.config.start_from).name
            )  # the page shows the run's name, not its path
            rows.append(make_row(name, config, checkpoint, weights, stored_evaluations(run, weights, LIMIT), LIMIT))
        except UNREADABLE:
            continue
    return sort_rows(rows)


def other_points(library: Library, rows: Sequence[Row]) -> dict[str, dict[str, list[Point]]]:
    """Return what `trs evaluate` has stored for the rows' weights over eps (max norm), by run and attack.

    Of several evaluations at one eps, the one with the most images counts. The attack's name has its steps, unless they are the
    table's, and its restarts. Damaged results are left out.
    """
    curves: dict[str, dict[str, list[Point]]] = {}
    for entry in rows:
        try:
            stored = [
                result for result in read_results(library.run(entry.run), "evaluate") if result.get("weights") == entry.weights
            ]
        except UNREADABLE:
            continue
        points = [pair for result in stored for rate in _list(result.get("rates")) if (pair := _stored_point(result, rate))]
        for name, point in sorted(points, key=lambda pair: -pair[1][-1]):
            line = curves.setdefault(entry.run, {}).setdefault(name, [])
            if point[0] not in {other[0] for other in line}:
                line.append(point)
    return curves


def _list(value: object) -> list:
    return value if isinstance(value, list) else []


def _stored_point(result: Json, rate: Json) -> tuple[str, Point] | None:
    """Return the attack's name and its point; None if the rate belongs to no curve, or is damaged."""
    try:
        starts, n, correct = result["options"].get("restarts", 1), int(rate["n"]), int(rate["correct"])
        if "step_size" in result["options"]:
            return None  # a curve's name does not tell it
        name = str(rate["name"]).removesuffix(f"-{STEPS}") + (f", {starts} starts" if starts != 1 else "")
        eps = float(rate["eps"] or 0)
        if not (0 < eps < math.inf and 0 <= correct <= n <= MAX_IMAGES) or rate.get("norm", "linf") != "linf":
            return None
        if name.startswith(WORST_COLUMN):
            return None
        low, high = wilson(correct, n)
        return printable(name)[:MAX_NAME], (eps, 100 * correct / n, 100 * low, 100 * high, n)
    except DAMAGE:
        return None


def last_probe(library: Library, name: str) -> Probe | None:
    """Return a run's last probe; None if it has none, or the probe is damaged."""
    try:
        probe = newest_probe(library.run(name), library.events(name))
    except UNREADABLE:
        return None
    if probe is None or probe.interval is None:
        return None
    fooled, eligible, zero = probe.fooled, probe.eligible, probe.zero_gradients
    if fooled is None or not eligible or None in (probe.cosine, probe.eps, probe.n, *zero):
        return None
    if not (0 <= fooled <= eligible <= probe.pairs * MAX_IMAGES and 0 <= probe.n <= MAX_IMAGES):
        return None
    return Probe(probe.cosine, fooled, eligible, probe.pairs, probe.eps, probe.n, probe.interval, mean(zero) or 0.0)


def table1(rows: list[Row], sides: dict[str, str]) -> list:
    """Build the paper's Table 1 with our figures. sides: the names of the runs by side, "a" and "b"."""
    measured = [one for one in rows if one.figures]
    if not measured:
        return [html.P("No results are stored for these runs yet: run trs compare to measure them and fill this table.")]
    columns, examples = all_columns(measured[0].config.data), DATA[measured[0].config.data].examples
    top = html.Tr([html.Th("", scope="col"), *(html.Th([one.attack, html.Br(), one.at], scope="col") for one in columns)])
    best = {column: best_row(measured, column) for column in columns}
    body = [html.Tr([_name(one, sides), *(_cell(one, column, best[column]) for column in columns)]) for one in measured]
    about = (
        f"Accuracy in % on the first {image_count(measured)} test {examples} (seed {SEED}, {STEPS} steps, one start); below it "
        "the 95 % interval; below that the paper's figure, for its own models and recipe. * best of its column: not masked, and "
        "its interval overlaps with no other. Sanity checks that warn are numbered: trs evaluate RUN --trust prints them."
        + (f" {LEGEND}" if any(one.members for one in measured) else "")
    )
    left_out = [one.label for one in rows if not one.figures]
    missing = f"Not measured yet: {', '.join(left_out)}." if left_out else ""
    masked = [one.label for one in measured if one.masked]
    warning = (
        f"MASKED: attacks miss adversarial examples of {', '.join(masked)}: these accuracies are too high." if masked else ""
    )
    notes = [line for one in measured for line in difference_lines(one)]
    for order in orderings(measured):
        notes.append(f"Order under {order.column.words}: paper (PGD): {order.paper}; ours: {order.ours} (~: intervals overlap).")
    return [
        html.P(about),
        html.Div(
            html.Table([html.Thead(top), html.Tbody(body)]),
            className="scrolling",
            tabIndex=0,
            role="region",
            **{"aria-label": "Table 1: it scrolls sideways"},
        ),
        html.P(" ".join(filter(None, (warning, missing)))),
        *map(html.P, order_lines(measured)),
        html.Details(
            [
                html.Summary("where our figures differ from the paper's, and why, as far as measured"),
                html.Ul([html.Li(p) for p in notes]),
            ]
        )
        if notes
        else None,
    ]


def _name(one: Row, sides: dict[str, str]) -> html.Th:
    side = [html.B(f"{letter.upper()} ") for letter, name in sides.items() if name in one.runs]
    seeds = [html.Br(), html.Small(f"{len(one.seeds)} seeds: {seeds_text(one.seeds)}")] if one.members else []
    numbers = ", ".join(map(str, one.warned))
    checks = f"checks {numbers} warn" if len(one.warned) > 1 else f"check {numbers} warns"
    warned = checks if one.warned else "no warning" if one.checks else "not checked"
    return html.Th([*side, one.label, *seeds, html.Br(), html.Small(warned + (", MASKED" if one.masked else ""))], scope="row")


def _cell(one: Row, column: Column, first: Row | None) -> html.Td:
    figure = one.figures.get(column)
    if figure is None:
        return html.Td("-", title="missing")
    low, high = figure.interval
    number = f"{'*' if one is first else ''}{figure.percent:.1f}"
    paper = [html.Br(), html.I(f"paper {figure.paper:.1f}")] if figure.paper is not None else []
    shown = html.B(number) if one is first else number
    if isinstance(figure, Figure):
        intervals, counts = [f"{low:.1f}-{high:.1f}"], f"{figure.correct} of {figure.n}"
    else:
        between = [] if figure.between is None else ["t {:.1f}-{:.1f}".format(*figure.between)]
        intervals = ["{:.1f}..{:.1f}".format(*figure.range), *between, f"i {low:.1f}-{high:.1f}"]
        counts = "; ".join(f"seed {seed}: {of_seed.correct} of {of_seed.n}" for seed, of_seed in figure.by_seed.items())
    return html.Td([shown, *(part for text in intervals for part in (html.Br(), html.Small(text))), *paper], title=counts)


def with_side(run: str, sides: Mapping[str, str]) -> str:
    """Return a run's name, marked if it is A or B. sides: the names of the runs by side, "a" and "b"."""
    return run + "".join(f" ({side.upper()})" for side, name in sides.items() if name == run)


def probe_caption(probes: Mapping[str, Probe], data: str, left_out: Sequence[str] = ()) -> str:
    """Describe how the |cos| and transfer rates in the charts were measured. left_out: the runs without a probe."""
    examples = DATA[data].examples
    if not probes:
        return NO_PROBE
    settings = sorted({f"ε {probe.eps:g}, {probe.n}" for probe in probes.values()})
    return (
        f"Each run's last probe, as its training logged it: PGD-10 on members, {'; '.join(settings)} held-out "
        f"{examples}; transfer over all pairs, counted over {examples} both models classify correctly and on which the attack "
        f"fools the surrogate (Def. 6). Bars: 95 % intervals, each of the {examples} counted once. Counts, and names without "
        "room here, are in the table. |cos| is of the gradients of the log-odds; where "
        "most of the cross-entropy's vanish (†, norm below 1e-6), attacks that follow those are weak."
        + (f" Without a probe, so not drawn: {', '.join(left_out)}." if left_out else "")
    )


def probe_table(probes: Mapping[str, Probe], sides: dict[str, str]) -> html.Table:
    """Build a table of the charts' points."""
    head = html.Tr(
        [
            html.Th(name, scope="col")
            for name in ("run", "|cos|", "vanishing gradients, %", "transfer, %", "95 %", "fooled/eligible")
        ]
    )
    body = []
    for name, probe in sorted(probes.items(), key=lambda item: item[1].cosine):
        low, high = probe.interval
        rates = (f"{probe.percent:.1f}", f"{low:.1f}-{high:.1f}", f"{probe.fooled}/{probe.eligible}")
        cells = (f"{probe.cosine:.3f}", f"{100 * probe.vanishing:.0f}", *rates)
        body.append(html.Tr([html.Th(with_side(name, sides), scope="row"), *map(html.Td, cells)]))
    return html.Table([html.Thead(head), html.Tbody(body)])
