"""The charts of the lesson's cards: what was measured, with its intervals. A value that is not known yet is not drawn."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from trs_explorer.figures.slice_data import Attacks, Slice
from trs_explorer.figures.slice_figure import slice_spec
from trs_explorer.figures.theme import LOOKS, template
from trs_explorer.files import Json

DASHES = ("dot", "dash", "solid", "longdashdot")  # of attacks, from weak to strong
LINE_HEIGHT = 0.065  # of a chart's height: labels that are closer than this would overlap
NAMES_ROOM = 1.7  # how far an axis of eps reaches, over the largest eps: a phone has room there for a curve's name
ROW_CHARACTERS = 20  # of a row's name, before it goes on in the next line


@dataclass(frozen=True)
class Share:
    """A measured share: hits of `of`, and the ends of its 95 % interval, in [0, 1]."""

    hits: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.hits / self.of

    @property
    def text(self) -> str:
        """The share in per cent, its interval and its counts."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f}-{100 * self.high:.1f}), {self.hits} of {self.of}"


@dataclass(frozen=True)
class Series:
    """How everything about one ensemble is drawn: a name, a colour, and a marker's symbol or a bar's pattern as a second cue."""

    name: str
    colour: str
    symbol: str


def similarity_and_transfer(
    points: Sequence[tuple[Series, float, Share]], *, unknown: Sequence[tuple[Series, float]] = (), attack: str, look: str
) -> go.Figure:
    """Draw transfer between members over the mean |cos| of their gradients, one point an ensemble.

    points: series, mean |cos|, transfer.
    unknown: series and mean |cos| of ensembles whose transfer is not known: each is a dotted line over all of the chart's height.
    attack: its name, for the axis.
    """
    ink = LOOKS[look].text
    traces = [
        {
            "type": "scatter", "x": [cosine], "y": [100 * share.value], "mode": "markers+text", "name": series.name,
            "text": [f"<b>{series.name}</b>"], "textposition": "middle right" if cosine < 0.45 else "middle left",
            "marker": {"color": series.colour, "symbol": series.symbol, "size": 15, "line": {"width": 1.5, "color": ink}},
            "error_y": _interval([share], series.colour), "cliponaxis": False,
            "hovertemplate": f"{series.name}: mean |cos| {cosine:.3f}, transfer {share.text}<extra></extra>",
        }
        for series, cosine, share in points
    ]  # fmt: skip
    said = "; ".join(
        [f"{series.name}: mean |cos| {cosine:.3f}, transfer {100 * share.value:.0f} %" for series, cosine, share in points]
        + [f"{series.name}: mean |cos| {cosine:.3f}, transfer not known" for series, cosine in unknown]
    )
    layout = base_layout(look, f"transfer by {attack} over mean |cos|. {said}")
    layout["xaxis"] |= {"title": "mean |cos| of members' gradients", "range": [-0.02, 0.72]}
    layout["yaxis"] |= {"title": f"transfer by {attack}, %", "range": [-3, 103]}
    layout["shapes"] = [
        {"type": "line", "x0": cosine, "x1": cosine, "y0": 0, "y1": 100, "line": {"color": series.colour, "dash": "dot"}}
        for series, cosine in unknown
    ]
    layout["annotations"] = [
        {
            "x": cosine,
            "y": 100 * (1 - (place + 0.5) * LINE_HEIGHT),
            "text": f"<b>{series.name}: ?</b>",
            "showarrow": False,
            "xanchor": "left" if cosine < 0.45 else "right",
            "bgcolor": LOOKS[look].paper,
        }
        for place, (series, cosine) in enumerate(unknown)
    ]
    return go.Figure({"data": traces, "layout": layout})


def accuracy_bars(bars: Sequence[tuple[Series, Share]], *, title: str, look: str) -> go.Figure:
    """Draw one bar an ensemble: the share of images that it classifies correctly, with its interval."""
    ink = LOOKS[look].text
    trace = {
        "type": "bar", "x": [series.name for series, _ in bars], "y": [100 * share.value for _, share in bars],
        "marker": {"color": [series.colour for series, _ in bars]}, "error_y": _interval([share for _, share in bars], ink),
        "text": [f"<b>{100 * share.value:.0f} %</b>" for _, share in bars], "textposition": "none",
        "hovertemplate": [f"{series.name}: {share.text}<extra></extra>" for series, share in bars],
    }  # fmt: skip
    layout = base_layout(look, f"{title}. " + "; ".join(f"{series.name}: {share.text}" for series, share in bars))
    layout["yaxis"] |= {"title": title, "range": [0, 112], "tickvals": [0, 25, 50, 75, 100]}
    layout["xaxis"] |= {"showgrid": False}
    layout["annotations"] = [
        {
            "x": series.name,
            "y": 100 * share.high,
            "text": f"<b>{100 * share.value:.0f}</b>",
            "showarrow": False,
            "yanchor": "bottom",
        }
        for series, share in bars
    ]
    return go.Figure({"data": [trace], "layout": layout})


Curves = Mapping[str, Sequence[tuple[float, Share]]]  # by attack, from weak to strong: (eps, accuracy), eps rising


def accuracy_curves(curves: Sequence[tuple[Series, Curves]], *, look: str) -> go.Figure:
    """Draw accuracy over eps: one line an ensemble and attack, dashed by attack, with its name at the end and all intervals."""
    ink = LOOKS[look].text
    attacks = list(dict.fromkeys(attack for _, by_attack in curves for attack in by_attack))
    most = max((eps for _, by_attack in curves for points in by_attack.values() for eps, _ in points), default=0.3)
    traces, ends, said = [], [], []
    for place, (series, by_attack) in enumerate(curves):
        for attack, points in by_attack.items():
            if not points:
                continue
            aside = (place - 0.5) * 0.002  # so that intervals do not hide each other
            name = f"{series.name} {attack}"
            traces.append({
                "type": "scatter", "x": [eps + aside for eps, _ in points], "y": [100 * share.value for _, share in points],
                "mode": "lines+markers", "name": name, "error_y": _interval([share for _, share in points], series.colour),
                "line": {"color": series.colour, "width": 2.5, "dash": DASHES[attacks.index(attack) % len(DASHES)]},
                "marker": {"symbol": series.symbol, "size": 8, "color": series.colour, "line": {"width": 1, "color": ink}},
                "hovertemplate": [f"{name} at ε {eps:g}: {share.text}<extra></extra>" for eps, share in points],
            })  # fmt: skip
            ends.append((name, *points[-1]))
            said.append(f"{name}: " + ", ".join(f"{100 * share.value:.0f} % at {eps:g}" for eps, share in points))
    layout = base_layout(look, f"accuracy over ε. {'; '.join(said)}")
    layout["xaxis"] |= {"title": "eps", "range": [-0.008, NAMES_ROOM * most], "tickvals": [0, 0.1, 0.15, 0.2, 0.3]}
    layout["yaxis"] |= {"title": "correct, %", "range": [-4, 104]}
    inside = [one for one in ends if one[1] < most]  # other lines go on to the right of these: their names stand below
    ends = [one for one in ends if one not in inside]
    heights = spread([share.value for _, _, share in ends], LINE_HEIGHT)
    places = [(name, eps, height, "middle") for (name, eps, _), height in zip(ends, heights, strict=True)]
    places += [(name, eps, share.value - LINE_HEIGHT / 3, "top") for name, eps, share in inside]
    layout["annotations"] = [
        {
            "x": eps + 0.02 * most,
            "y": 100 * height,
            "text": f"<b>{name}</b>",
            "showarrow": False,
            "xanchor": "left",
            "yanchor": side,
        }
        for name, eps, height, side in places
    ]
    return go.Figure({"data": traces, "layout": layout})


def attack_bars(rows: Sequence[str], groups: Sequence[tuple[Series, Sequence[Share | None]]], *, look: str) -> go.Figure:
    """Draw the accuracy under each row's attack as a horizontal bar, one for each of `groups`. None is not drawn."""
    ink = LOOKS[look].text
    traces = []
    for series, shares in groups:
        measured = [(row, share) for row, share in zip(rows, shares, strict=True) if share]
        traces.append({
            "type": "bar", "orientation": "h", "name": series.name, "y": [row for row, _ in measured],
            "x": [100 * share.value for _, share in measured], "error_x": _interval([share for _, share in measured], ink),
            "marker": {"color": series.colour, "pattern": {"shape": series.symbol, "fgcolor": ink, "bgcolor": series.colour}},
            "hovertemplate": [f"{row}, {series.name}: {share.text}<extra></extra>" for row, share in measured],
        })  # fmt: skip
    said = "; ".join(
        f"{row}, {series.name}: {share.text}"
        for series, shares in groups
        for row, share in zip(rows, shares, strict=True)
        if share
    )
    layout = base_layout(look, f"accuracy by attack. {said}")
    layout["yaxis"] |= {"categoryorder": "array", "categoryarray": list(reversed(rows)), "showgrid": False}
    names = ["<br>".join(textwrap.wrap(row, ROW_CHARACTERS)) for row in rows]
    layout["yaxis"] |= {"range": [-0.5, len(rows) - 0.5], "tickvals": list(rows), "ticktext": names}
    layout["xaxis"] |= {"title": "correct, %", "range": [0, 104]}
    layout |= {"barmode": "group", "bargap": 0.3, "showlegend": len(groups) > 1}
    layout["legend"] = {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "traceorder": "reversed"}
    return go.Figure({"data": traces[::-1], "layout": layout})  # plotly stacks a group's bars from below


def small_slice(plane: Slice, attacks: Attacks, *, label: str, look: str) -> go.Figure:
    """Draw a slice of one model without titles, ticks and key, for a small place. label: what it shows, in words."""
    spec = slice_spec(plane, attacks, look=look)
    layout = spec["layout"]
    layout |= {"showlegend": False, "annotations": [], "margin": {"l": 1, "r": 1, "t": 1, "b": 1}, "meta": {"label": label}}
    layout["font"] = {"size": 14}
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"showticklabels": False, "ticks": ""}
    return go.Figure(spec)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights, in [0, 1], apart so that no two are closer than `gap`, and none is above 1; their order stays."""
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    moved = [heights[k] for k in order]
    for k in range(1, len(moved)):
        moved[k] = max(moved[k], moved[k - 1] + gap)
    ceiling = 1.0
    for k in reversed(range(len(moved))):
        moved[k] = min(moved[k], ceiling)
        ceiling = moved[k] - gap
    return [height for _, height in sorted(zip(order, moved, strict=True))]


def _interval(shares: Sequence[Share], colour: str) -> Json:
    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": 1.5, "width": 3,
        "array": [100 * (share.high - share.value) for share in shares],
        "arrayminus": [100 * (share.value - share.low) for share in shares],
    }  # fmt: skip


def base_layout(look: str, label: str) -> Json:
    """Return the layout that the lesson's charts start from. label: what the chart shows, in words."""
    axis = {"fixedrange": True, "showline": True, "tickfont": {"color": LOOKS[look].faint}}
    return {
        "template": template(look), "meta": {"label": label}, "font": {"size": 14}, "showlegend": False, "hovermode": "closest",
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10}, "xaxis": dict(axis), "yaxis": dict(axis),
    }  # fmt: skip
