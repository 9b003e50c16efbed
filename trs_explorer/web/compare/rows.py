"""What is stored of every run on the data at hand: the paper's table, and each run's last probe. Nothing is measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dash import html

from trs_explorer.config import TrainConfig, same_split
from trs_explorer.evaluation.intervals import of_share, wilson
from trs_explorer.evaluation.table1.columns import LIMIT, SEED, STEPS, Column, all_columns
from trs_explorer.evaluation.table1.differences import difference_lines, orderings
from trs_explorer.evaluation.table1.rows import Row, best_row, image_count, make_row, sort_rows
from trs_explorer.evaluation.table1.stored import stored_evaluations
from trs_explorer.explore.library import DAMAGE, Library
from trs_explorer.files import Json, printable
from trs_explorer.options import UsageError
from trs_explorer.parse_events import mean, parse_probe
from trs_explorer.results import read_results
from trs_explorer.runs import RunError

UNREADABLE = (RunError, UsageError, *DAMAGE)  # one run's files, whatever is in them: the other runs are shown
MOST_IMAGES, LONGEST_NAME = 10**9, 80  # of an evaluation, and of an attack

# A rate with its 95 % interval, all in per cent: at which eps, the rate, low, high, and n.
Point = tuple[float, float, float, float, int]


@dataclass(frozen=True)
class Probe:
    """A training's last probe of a run: mean |cos| of pairs, and fooled of eligible images over all ordered pairs.

    pairs: how many ordered pairs those counts are of; an image may be in each of them.
    aimless: the share of the members' gradients below 1e-6, which count as having no direction, and as |cos| 0.
    """

    cosine: float
    fooled: int
    eligible: int
    pairs: int
    eps: float
    n: int
    aimless: float = 0.0

    @property
    def percent(self) -> float:
        """The transfer rate in per cent of the eligible."""
        return 100 * self.fooled / self.eligible

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval in per cent. Attempts on one image fall together: images are counted once, not once a pair."""
        low, high = of_share(self.fooled / self.eligible, self.eligible / self.pairs)
        return 100 * low, 100 * high


def same_data(library: Library, config: TrainConfig) -> list[str]:
    """The names of the runs with the same test images as a training's, as far as is known."""
    return [name for name, run in library.runs().items() if same_split(run.config, config, "test")]


def stored_rows(library: Library, config: TrainConfig) -> list[Row]:
    """A row of the paper's table for every run on a training's data whose newest weights can be read, in the table's order."""
    rows = []
    for name in same_data(library, config):
        try:
            run = library.run(name)
            newest = run.checkpoints()[-1]
            weights = library.digest(name, newest)
            config = replace(run.config, start_from=Path(run.config.start_from).name)  # the page says which, not where
            rows.append(make_row(name, config, newest.name, weights, stored_evaluations(run, weights, LIMIT), LIMIT))
        except UNREADABLE:
            continue
    return sort_rows(rows)


def other_points(library: Library, rows: Sequence[Row]) -> dict[str, dict[str, list[Point]]]:
    """By run, then by attack: what `trs evaluate` has stored of the rows' weights over eps (max norm), most images first.

    An attack's name tells its steps, unless they are the table's, and its starts. What is damaged is left out.
    """
    found: dict[str, dict[str, list[Point]]] = {}
    for one in rows:
        try:
            stored = [result for result in read_results(library.run(one.run), "evaluate") if result.get("weights") == one.weights]
        except UNREADABLE:
            continue
        points = [pair for result in stored for rate in _list(result.get("rates")) if (pair := _evaluated(result, rate))]
        for name, point in sorted(points, key=lambda pair: -pair[1][-1]):
            line = found.setdefault(one.run, {}).setdefault(name, [])
            if point[0] not in {known[0] for known in line}:
                line.append(point)
    return found


def _list(value: object) -> list:
    return value if isinstance(value, list) else []


def _evaluated(result: Json, rate: Json) -> tuple[str, Point] | None:
    """An attack's name and its point of a stored evaluation; None for what is no curve's, or damaged."""
    try:
        starts, n, correct = result["options"].get("restarts", 1), int(rate["n"]), int(rate["correct"])
        if "step_size" in result["options"]:
            return None  # a curve's name does not tell it
        name = str(rate["name"]).removesuffix(f"-{STEPS}") + (f", {starts} starts" if starts != 1 else "")
        eps = float(rate["eps"] or 0)
        if not (0 < eps < math.inf and 0 <= correct <= n <= MOST_IMAGES) or rate.get("norm", "linf") != "linf":
            return None
        if name.startswith("worst"):
            return None
        low, high = wilson(correct, n)
        return printable(name)[:LONGEST_NAME], (eps, 100 * correct / n, 100 * low, 100 * high, n)
    except DAMAGE:
        return None


def last_probe(library: Library, name: str) -> Probe | None:
    """A run's last probe; None if there is none that has counts."""
    try:
        event = [event for event in library.events(name) if event["kind"] == "matrix"][-1]
    except UNREADABLE:
        return None
    probe = parse_probe(event)
    fooled, eligible, zero = probe.fooled, probe.eligible, probe.zero_gradients
    if fooled is None or not eligible or None in (probe.cosine, probe.eps, probe.n, *zero):
        return None
    if not (0 <= fooled <= eligible <= probe.pairs * MOST_IMAGES and 0 <= probe.n <= MOST_IMAGES):
        return None
    aimless = mean(zero) or 0.0
    return Probe(probe.cosine, fooled, eligible, probe.pairs, probe.eps, probe.n, aimless)


def table(rows: list[Row], sides: dict[str, str]) -> list:
    """The paper's Table 1 with our figures; sides: the names of the runs that are A and B."""
    known = [one for one in rows if one.figures]
    if not known:
        return [html.P("No figure is stored with these runs yet: trs compare measures them, and shows this table.")]
    columns = all_columns(known[0].config.data)
    top = html.Tr([html.Th("", scope="col"), *(html.Th([one.attack, html.Br(), one.at], scope="col") for one in columns)])
    body = [html.Tr([_name(one, sides), *(_cell(one, column, best_row(known, column)) for column in columns)]) for one in known]
    about = (
        f"Right, in % of the first {image_count(known)} test images (seed {SEED}, {STEPS} steps, one start); below it the 95 % "
        "interval; below that the paper's figure, of its own models and recipe. * best of its column: not masked, and its "
        "interval overlaps with no other's."
    )
    left_out = [one.label for one in rows if not one.figures]
    missing = f"Not measured yet: {', '.join(left_out)}." if left_out else ""
    masked = [one.label for one in known if one.masked]
    words = f"MASKED: attacks miss images of {', '.join(masked)}: their figures are too high." if masked else ""
    said = [line for one in known for line in difference_lines(one)]
    for order in orderings(known):
        said.append(f"Order under {order.column.words}: paper (PGD): {order.paper}; ours: {order.ours} (~: intervals overlap).")
    return [
        html.P(about),
        html.Table([html.Thead(top), html.Tbody(body)]),
        html.P(" ".join(filter(None, (words, missing)))),
        html.Details(
            [
                html.Summary("where the paper's figures differ, and why as far as it was measured"),
                html.Ul([html.Li(p) for p in said]),
            ]
        )
        if said
        else None,
    ]


def _name(one: Row, sides: dict[str, str]) -> html.Th:
    side = [html.B(f"{letter.upper()} ") for letter, name in sides.items() if name == one.run]
    warned = f"warns: {', '.join(map(str, one.warned))}" if one.warned else "no warning" if one.checks else "not checked"
    return html.Th([*side, one.label, html.Br(), html.Small(warned + (", MASKED" if one.masked else ""))], scope="row")


def _cell(one: Row, column: Column, first: Row | None) -> html.Td:
    figure = one.figures.get(column)
    if figure is None:
        return html.Td("-", title="missing")
    low, high = figure.interval
    number = f"{'*' if one is first else ''}{figure.percent:.1f}"
    paper = [html.Br(), html.I(f"paper {figure.paper:.1f}")] if figure.paper is not None else []
    shown = html.B(number) if one is first else number
    return html.Td([shown, html.Br(), html.Small(f"{low:.1f}-{high:.1f}"), *paper], title=f"{figure.correct} of {figure.n}")


def probe_words(probes: Mapping[str, Probe]) -> str:
    """What the charts' cosines and transfer rates are of."""
    if not probes:
        return "No run has a probe in its log."
    of = sorted({f"eps {probe.eps:g}, {probe.n}" for probe in probes.values()})
    return (
        f"Each run's last probe, as its training logged it: PGD-10 on members, {'; '.join(of)} held-out images; pairs together, "
        "of the images that both have right and on which the surrogate falls (Def. 6). Bars: 95 %, an image counted once. "
        "Gradients below 1e-6 have no direction and count as |cos| 0: where most are (†), it is masking, not orthogonality."
    )


def probe_table(probes: Mapping[str, Probe], sides: dict[str, str]) -> html.Table:
    """The charts' points in numbers."""
    head = html.Tr(
        [html.Th(name, scope="col") for name in ("run", "|cos|", "no direction, %", "transfer, %", "95 %", "fooled/eligible")]
    )
    body = []
    for name, probe in sorted(probes.items(), key=lambda item: item[1].cosine):
        side = "".join(f" ({letter.upper()})" for letter, chosen in sides.items() if chosen == name)
        low, high = probe.interval
        rates = (f"{probe.percent:.1f}", f"{low:.1f}-{high:.1f}", f"{probe.fooled}/{probe.eligible}")
        cells = (f"{probe.cosine:.3f}", f"{100 * probe.aimless:.0f}", *rates)
        body.append(html.Tr([html.Th(name + side, scope="row"), *map(html.Td, cells)]))
    return html.Table([html.Thead(head), html.Tbody(body)])
