"""The curves of a training as a figure: loss terms above, similarity and transfer of the probe below."""

import math
from collections.abc import Container, Sequence

import numpy as np
import plotly.graph_objects as go

from trs_explorer.curves import column, pair_means, term_rows, thin
from trs_explorer.figures.theme import LOOKS, SERIES_COLOURS, SERIES_DASHES, as_label, template
from trs_explorer.files import Json, printable
from trs_explorer.parse_events import PROBE, parse_checkpoint, parse_control, parse_probe

MAX_POINTS = 400  # of a curve
MAX_STEP = 1 << 53  # larger integers are not exact in a browser
TICKS = 6  # of an axis, at most
RATES = (5, 6, 7)  # styles of the rates, the same for every run: terms have those before


def training_figure(events: Sequence[Json], **settings: object) -> go.Figure:
    """Return the curves as a plotly figure, every property checked by plotly. Arguments: see `training_spec`."""
    return go.Figure(training_spec(events, **settings))  # type: ignore[arg-type]


def training_spec(
    events: Sequence[Json], *, at_step: int | None = None, kept: Container[str] | None = None, look: str = "light"
) -> Json:
    """Draw loss terms above, mean |cos| and the probe's transfer rate below, over the steps, as a plain dictionary.

    events: of the run's log. Marks between the two: ◆ a checkpoint, ▲ a change that a viewer asked for.
    kept: the names of the checkpoints that are still there; None: all of them.
    at_step: a dotted line marks this step, at which the selected checkpoint was saved.
    look: one of `theme.LOOKS`.
    """
    (steps, step_numbers), (probes, probe_numbers) = of_kind(events, "step"), of_kind(events, PROBE)
    terms = term_rows(steps)
    curves = [(printable(name), step_numbers, column(terms, name), "y") for name in (terms[-1] if terms else ())]
    curves.append(("|cos|", probe_numbers, pair_means(probes, "log_odds_cosine"), "y2"))
    curves.append(("|cos| of the loss", probe_numbers, pair_means(probes), "y2"))
    transfer = column([{"transfer": parse_probe(event).transfer} for event in probes], "transfer")
    curves.append(("transfer", probe_numbers, transfer, "y2"))
    styles = [*range(len(curves) - len(RATES)), *RATES]
    data = [_curve(style, *curve) for style, curve in zip(styles, curves, strict=True) if np.isfinite(curve[2]).any()]
    data += _marks(events, kept)
    without_axis = {"visible": False, "fixedrange": True}
    values = np.concatenate([y[np.isfinite(y)] for _, _, y, axis in curves if axis == "y"] or [np.zeros(0)])
    last = max((float(x.max()) for _, x, _, _ in curves if len(x)), default=0.0)
    line = {"color": LOOKS[look].text, "width": 1.5, "dash": "dot"}
    ruler = {"type": "line", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "line": line}
    common = {"fixedrange": True, "automargin": False}
    layout = {
        "template": template(look),
        "xaxis": {**common, "title": {"text": "step", "standoff": 4}, "anchor": "y2", "tickformat": "d", **_whole_ticks(last)},
        "yaxis": {**common, "domain": [0.58, 1], "title": {"text": "loss"}, **_loss_axis(values)},
        "yaxis2": {**common, "domain": [0, 0.43], "range": [0, 1], "title": {"text": "rate"}, "tickvals": [0, 0.5, 1]},
        "yaxis3": {**without_axis, "domain": [0.46, 0.55], "range": [-1, 1]},
        "shapes": [] if at_step is None else [ruler | {"x0": at_step, "x1": at_step}],
        "hovermode": "x unified", "hoversubplots": "axis", "margin": {"l": 56, "r": 8, "t": 10, "b": 36},
        "legend": {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "itemclick": False, "itemdoubleclick": False},
    }  # fmt: skip
    return {"data": data, "layout": layout}


def of_kind(events: Sequence[Json], kind: str) -> tuple[list[Json], np.ndarray]:
    """Return the events of a kind that have a valid step, and those steps."""
    chosen = [event for event in events if event["kind"] == kind]
    steps = column(chosen, "step")
    valid = np.abs(steps) <= MAX_STEP  # False for NaN
    return [event for event, keep in zip(chosen, valid, strict=True) if keep], steps[valid]


def _curve(number: int, name: str, x: np.ndarray, y: np.ndarray, axis: str) -> Json:
    x, y = thin(x, y, MAX_POINTS)
    return {
        "type": "scatter", "mode": "lines", "name": as_label(name), "xaxis": "x", "yaxis": axis,
        "x": x.astype(int).tolist(), "y": [None if math.isnan(value) else value for value in y.tolist()],
        "line": {"color": SERIES_COLOURS[number % len(SERIES_COLOURS)], "dash": SERIES_DASHES[number % len(SERIES_DASHES)]},
    }  # fmt: skip


def _marks(events: Sequence[Json], kept: Container[str] | None) -> list[Json]:
    """Return a trace of checkpoints and one of changes, between the charts; none of what never happened."""
    named = [(int(step), parse_checkpoint(event).name) for event, step in zip(*of_kind(events, "checkpoint"), strict=True)]
    saved = [(step, f"checkpoint {name}") for step, name in named if kept is None or name in kept]
    changes = [(parse_control(event), int(step)) for event, step in zip(*of_kind(events, "control"), strict=True)]
    changed = [(step, control.request) for control, step in changes if control.action == "set" and not control.error]
    return [
        {
            "type": "scatter", "mode": "markers", "name": name, "xaxis": "x", "yaxis": "y3", "cliponaxis": False,
            "x": [step for step, _ in points], "y": [0] * len(points),
            "text": [as_label(printable(words)) for _, words in points],
            "hovertemplate": "%{text}<extra></extra>", "marker": {"symbol": symbol, "size": 8, "color": "#808080"},
        }
        for name, symbol, points in (("checkpoint", "diamond", saved), ("change", "triangle-up", changed))
        if points
    ]  # fmt: skip


def _whole_ticks(last: float) -> Json:
    """Return tick settings for whole numbers up to `last`: a short training would otherwise have ticks at halves."""
    rough = max(1.0, last / TICKS)
    power = 10 ** math.floor(math.log10(rough))
    return {"tick0": 0, "dtick": next(power * k for k in (1, 2, 5, 10) if power * k >= rough)}


def _loss_axis(values: np.ndarray) -> Json:
    """Return the scale of the losses: logarithmic where all are positive, with ticks that do not run into each other."""
    positive = values[values > 0]
    if (values < 0).any() or not len(positive):
        return {"type": "linear", "nticks": 4}
    low, high = math.log10(positive.min()), math.log10(positive.max())
    decades = range(max(math.floor(low), -307), min(math.ceil(high), 308) + 1)  # powers that a float holds
    factors = (1,) if high - low > 2 else (1, 3) if high - low > 1 else (1, 2, 5)
    ticks = [k * 10.0**decade for decade in decades for k in factors]
    inside = [tick for tick in ticks if low - 0.1 <= math.log10(tick) <= high + 0.1]
    inside = inside[:: max(1, math.ceil(len(inside) / TICKS))]
    return {
        "type": "log",
        **({"tickvals": inside, "ticktext": [f"{tick:g}" for tick in inside]} if len(inside) > 1 else {"nticks": 4}),
    }
