"""The "Training" section: curves over the run's steps, status, checkpoints, and tables of numbers."""

import math
from collections.abc import Sequence

import numpy as np
from dash import html

from trs_explorer.config import TrainConfig
from trs_explorer.curves import column, pair_means, term_rows, thin
from trs_explorer.explore.angles import NORM_NAMES, Angles
from trs_explorer.files import Json, printable
from trs_explorer.parse_events import parse_checkpoint, parse_probe, parse_step
from trs_explorer.web.figures import as_label, ink

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MAX_POINTS, MAX_ROWS = 400, 40  # of a curve and of a table
MAX_CHARACTERS = 20  # of a log's field that should be a word or a number
MAX_STEP = 1 << 53  # larger integers are not exact in a browser


def history_figure(events: Sequence[Json], *, at_step: int | None = None, dark: bool = False) -> Json:
    """Plot loss terms above, mean |cos| and transfer rate of the probe below, over the steps; a plain dictionary.

    at_step: mark this step, at which the selected checkpoint was saved, with a dotted line.
    """
    colours = ink(dark)
    (steps, step_numbers), (probes, probe_numbers) = _of_kind(events, "step"), _of_kind(events, "matrix")
    terms = term_rows(steps)
    curves = [(printable(name), step_numbers, column(terms, name), "y") for name in (terms[-1] if terms else ())]
    curves.append(("|cos|, mean of pairs", probe_numbers, pair_means(probes, "log_odds_cosine"), "y2"))
    curves.append(("|cos| of the loss's gradients", probe_numbers, pair_means(probes), "y2"))
    transfer = column([{"transfer": parse_probe(event).transfer} for event in probes], "transfer")
    curves.append(("transfer over all pairs", probe_numbers, transfer, "y2"))
    data = []
    for number, (name, x, y, axis) in enumerate(curves):
        x, y = thin(x, y, MAX_POINTS)
        line = {"color": SERIES[number % len(SERIES)], "dash": DASHES[number % len(DASHES)], "width": 2}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x.astype(int).tolist(),
                "y": [None if math.isnan(value) else value for value in y.tolist()],
                "name": as_label(name),
                "line": line,
                "xaxis": "x",
                "yaxis": axis,
            }
        )
    negative = any(bool((y < 0).any()) for _, _, y, axis in curves if axis == "y")
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


def _of_kind(events: Sequence[Json], kind: str) -> tuple[list[Json], np.ndarray]:
    """Return the events of a kind that have a valid step, and those steps."""
    chosen = [event for event in events if event["kind"] == kind]
    steps = column(chosen, "step")
    valid = np.abs(steps) <= MAX_STEP  # False for NaN
    return [event for event, keep in zip(chosen, valid, strict=True) if keep], steps[valid]


def status_line(config: TrainConfig, status: Json, events: Sequence[Json], checkpoints: Sequence[str]) -> str:
    """Describe a run and its progress in one line."""
    _, steps = _of_kind(events, "step")
    parts = [f"{config.members} x {config.model}, {printable(status.get('state') or 'unknown')[:MAX_CHARACTERS]}"]
    parts += [f"step {steps[-1]:.0f}"] if len(steps) else []
    parts += [f"saved {checkpoint_label(checkpoints[-1])}" if checkpoints else "nothing saved yet"]
    return ", ".join(parts)


def checkpoint_label(checkpoint: str) -> str:
    """Return a readable name of a checkpoint: "epoch 7", or "epoch 6, step 123 of the next"."""
    epoch, _, step = checkpoint.partition("-")
    return f"epoch {int(epoch)}" + (f", step {int(step)} of the next" if step else "")


def step_of(events: Sequence[Json], checkpoint: str) -> int | None:
    """Return the step at which a checkpoint was saved; None if the log does not have it."""
    saved = map(parse_checkpoint, reversed(_of_kind(events, "checkpoint")[0]))
    return next((event.step for event in saved if event.name == checkpoint), None)


def history_table(events: Sequence[Json]) -> html.Table:
    """Build a table of the probes, one row each: the numbers behind the curves."""
    (steps, step_numbers), (probes, _) = _of_kind(events, "step"), _of_kind(events, "matrix")
    names, rows = list(parse_step(steps[-1]).terms) if steps else [], []
    for event in probes[:: -max(1, math.ceil(len(probes) / MAX_ROWS))][::-1]:
        probe = parse_probe(event)
        earlier = np.where(step_numbers <= probe.step, step_numbers, -np.inf)
        nearest = parse_step(steps[int(earlier.argmax())]).terms if np.isfinite(earlier).any() else {}
        values = [*map(nearest.get, names), probe.cosine, probe.loss_cosine, probe.transfer]
        rows.append([_count(probe.epoch), str(probe.step), *map(_short, values), _count(probe.n)])
    head = ["epoch", "step", *map(printable, names), "|cos|", "|cos|, loss", "transfer", "images"]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> html.Table:
    body = [html.Tr([html.Th(row[0], scope="row"), *(html.Td(cell) for cell in row[1:])]) for row in rows]
    top = html.Thead(html.Tr([html.Th(name, scope="col") for name in head]))
    return html.Table([*([html.Caption(caption)] if caption else []), top, html.Tbody(body)])


def angle_table(measured: Angles) -> html.Table:
    """Build a table of |cos| of every pair, at x and in the ball around it, and of every member's gradient norms."""
    members = len(measured.norms)
    matrices = measured.at_x, measured.mean, measured.deviation, measured.largest
    head = ["pair", "|cos| at x", "in the ball: mean", "± sd", "largest"]
    pairs = [
        [f"F{i + 1}, F{j + 1}", *(_short(float(m[i, j])) for m in matrices)]
        for i in range(members) for j in range(i + 1, members)
    ]  # fmt: skip
    norms = [
        [f"F{i + 1} norm", _short(float(measured.norms[i])), "", "", _short(float(measured.steepest[i]))] for i in range(members)
    ]
    ball = f"{measured.samples} points within eps {measured.eps:g} ({NORM_NAMES[measured.norm]})"
    return _table(head, pairs + norms, f"{ball}: the largest value is a lower bound")


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _count(value: int | None) -> str:
    return "" if value is None else str(value)[:MAX_CHARACTERS]
