"""The training room: curves over the run's steps, its checkpoints, and angles in a table."""

import math
from collections.abc import Sequence

from dash import html

from trs_explorer.config import TrainConfig
from trs_explorer.explore.angles import NORM_WORDS, Angles
from trs_explorer.files import Json, printable
from trs_explorer.web.figures import as_label, ink

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
POINTS, ROWS = 400, 40  # a curve's and a table's, on the screen
SHORT = 20  # characters of what should be a word or a number
LAST_STEP = 1 << 53  # the last whole number that a browser knows from its neighbours
DAMAGED = (LookupError, TypeError, ArithmeticError)  # what a probe that is none leads to


def history_figure(events: Sequence[Json], *, at_step: int | None = None, dark: bool = False) -> Json:
    """Loss terms above, |cos| of pairs and the probe's transfer rate below, over one axis of steps; a plain dictionary.

    at_step: where the checkpoint on the screen was saved: a dotted line.
    """
    colours = ink(dark)
    steps, probes = _of_kind(events, "step"), _of_kind(events, "matrix")
    at, probed = [e["step"] for e in steps], [e["step"] for e in probes]
    curves = [(term, at, [_number(_terms(e).get(term)) for e in steps], "y") for term in (_terms(steps[-1]) if steps else ())]
    curves.append(("|cos|, mean of pairs", probed, [pair_mean(e) for e in probes], "y2"))
    curves.append(("transfer, pairs together", probed, [_pooled(e) for e in probes], "y2"))
    data = []
    for number, (name, x, y, axis) in enumerate(curves):
        x, y = thinned(x, y, POINTS)
        line = {"color": SERIES[number % len(SERIES)], "dash": DASHES[number % len(DASHES)], "width": 2}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": y,
                "name": as_label(name),
                "line": line,
                "xaxis": "x",
                "yaxis": axis,
            }
        )
    negative = any(value < 0 for _, _, y, axis in curves if axis == "y" for value in y if value is not None)
    common = {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False, "fixedrange": True}
    ruler = {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": colours.text, "width": 1.5, "dash": "dot"},
    }
    layout = {
        "xaxis": {**common, "title": {"text": "step", "standoff": 4}, "anchor": "y2"},
        "yaxis": {**common, "domain": [0.56, 1], "type": "linear" if negative else "log", "title": {"text": "loss"}, "nticks": 4,
                  "exponentformat": "power"},
        "yaxis2": {**common, "domain": [0, 0.46], "range": [0, 1], "title": {"text": "rate"}, "nticks": 4},
        "shapes": [] if at_step is None else [ruler | {"x0": at_step, "x1": at_step}],
        "hovermode": "x unified", "hoversubplots": "axis", "dragmode": False, "margin": {"l": 56, "r": 8, "t": 6, "b": 36},
        "legend": {"font": {"size": 12}, "y": 0.5, "yanchor": "middle", "itemclick": False, "itemdoubleclick": False},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": colours.text, "size": 13},
        "hoverlabel": {"bgcolor": colours.paper, "font": {"color": colours.text}},
    }  # fmt: skip
    return {"data": data, "layout": layout}


def thinned(x: Sequence, y: Sequence, most: int) -> tuple[list, list]:
    """A curve of about `most` points that keeps every block's lowest and highest, so that no spike is lost."""
    size = math.ceil(len(x) / max(1, most // 2))
    if size <= 2:
        return list(x), list(y)
    kept: list[int] = []
    for begin in range(0, len(x), size):
        block = [i for i in range(begin, min(begin + size, len(x))) if y[i] is not None] or [begin]
        kept += sorted({min(block, key=lambda i: y[i]), max(block, key=lambda i: y[i])} if y[block[0]] is not None else {begin})
    return [x[i] for i in kept], [y[i] for i in kept]


def _of_kind(events: Sequence[Json], kind: str) -> list[Json]:
    """Events of a kind that say at which step they were. Logs may be damaged: nothing in them is sure to be what it should."""
    return [e for e in events if e["kind"] == kind and isinstance(step := e.get("step"), int) and abs(step) <= LAST_STEP]


def _terms(event: Json) -> Json:
    """The terms of a step by printable names."""
    terms = event.get("terms")
    return {printable(name): value for name, value in terms.items()} if isinstance(terms, dict) else {}


def _number(value: object) -> float | None:
    """A finite number as a float; None for anything else, such as a number of 400 digits."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def pair_mean(probe: Json) -> float | None:
    """Mean |cos| of the pairs of different members; None if there is none, or it is no matrix."""
    try:
        values = [probe["cosine"][i][j] for i in range(len(probe["cosine"])) for j in range(i)]
        return _number(sum(values) / len(values))
    except DAMAGED:
        return None


def _pooled(probe: Json) -> float | None:
    """The probe's transfer rate over all ordered pairs of different members; None where nothing was eligible."""
    try:
        pairs = [(i, j) for i in range(len(probe["fooled"])) for j in range(len(probe["fooled"])) if i != j]
        return _number(sum(probe["fooled"][i][j] for i, j in pairs) / sum(probe["eligible"][i][j] for i, j in pairs))
    except DAMAGED:
        return None


def status_words(config: TrainConfig, status: Json, events: Sequence[Json], checkpoints: Sequence[str]) -> str:
    """What a run is and how far it is, in a line."""
    steps = [e["step"] for e in _of_kind(events, "step")]
    parts = [f"{config.members} x {config.model}, {printable(status.get('state') or 'unknown')[:SHORT]}"]
    parts += [f"step {steps[-1]}"] if steps else []
    parts += [f"saved {epoch_words(checkpoints[-1])}" if checkpoints else "nothing saved yet"]
    return ", ".join(parts)


def epoch_words(checkpoint: str) -> str:
    """A checkpoint's name for people: "epoch 7", "epoch 6, step 123 of the next"."""
    epoch, _, step = checkpoint.partition("-")
    return f"epoch {int(epoch)}" + (f", step {int(step)} of the next" if step else "")


def step_of(events: Sequence[Json], checkpoint: str) -> int | None:
    """The step at which a checkpoint was saved; None if the log does not say."""
    return next((e["step"] for e in reversed(_of_kind(events, "checkpoint")) if e.get("name") == checkpoint), None)


def history_table(events: Sequence[Json]) -> html.Table:
    """The probes, one row each: what the curves show, in numbers."""
    steps, probes = _of_kind(events, "step"), _of_kind(events, "matrix")
    terms, rows = list(_terms(steps[-1])) if steps else [], []
    for probe in probes[:: -max(1, math.ceil(len(probes) / ROWS))][::-1]:
        near = _terms(max((e for e in steps if e["step"] <= probe["step"]), key=lambda e: e["step"], default={}))
        values = [*(near.get(term) for term in terms), pair_mean(probe), _pooled(probe)]
        epoch, n = (printable(probe.get(name, ""))[:SHORT] for name in ("epoch", "n"))
        rows.append([epoch, str(probe["step"]), *map(_short, values), n])
    head = ["epoch", "step", *terms, "|cos|", "transfer", "images"]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> html.Table:
    body = [html.Tr([html.Th(row[0], scope="row"), *(html.Td(cell) for cell in row[1:])]) for row in rows]
    top = html.Thead(html.Tr([html.Th(name, scope="col") for name in head]))
    return html.Table([*([html.Caption(caption)] if caption else []), top, html.Tbody(body)])


def angle_table(found: Angles) -> html.Table:
    """|cos| of every pair at x and around it, and every member's gradient norms."""
    members = len(found.norms)
    head = ["pair", "|cos| at x", "around: mean", "± sd", "largest"]
    pairs = [
        [f"F{i + 1}, F{j + 1}", *(_short(float(m[i, j])) for m in (found.at_x, found.mean, found.deviation, found.largest))]
        for i in range(members) for j in range(i + 1, members)
    ]  # fmt: skip
    norms = [[f"F{i + 1} norm", _short(float(found.norms[i])), "", "", _short(float(found.steepest[i]))] for i in range(members)]
    caption = f"{found.samples} points within eps {found.eps:g} ({NORM_WORDS[found.norm]}): the largest found is a lower bound"
    return _table(head, pairs + norms, caption)


def _short(value: object) -> str:
    return "-" if (number := _number(value)) is None else f"{number:.3g}"
