"""The charts of the lesson's cards: what was measured, with its intervals. A value that is not known yet is not drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

INK = {False: "#1b1f24", True: "#e8eaed"}  # by dark
FAINT = {False: "#5b6470", True: "#a4adb8"}
LINE = {False: "#c9d0d8", True: "#3a414b"}
DASHES = ("dot", "dash", "solid")  # of attacks, from weak to strong
LINE_HEIGHT = 0.065  # of a chart's height: labels that are closer than this would overlap


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
class Look:
    """How everything about one ensemble is drawn: a name, a colour, and a marker's symbol or a bar's pattern as a second cue."""

    name: str
    colour: str
    symbol: str


def similarity_and_transfer(points: Sequence[tuple[Look, float, Share]], *, attack: str, dark: bool) -> go.Figure:
    """Draw transfer between members over the mean |cos| of their gradients, one point an ensemble.

    points: look, mean |cos|, transfer. attack: its name, for the axis.
    """
    traces = [
        {
            "type": "scatter", "x": [cosine], "y": [100 * share.value], "mode": "markers+text", "name": look.name,
            "text": [f"<b>{look.name}</b>"], "textposition": "middle right" if cosine < 0.45 else "middle left",
            "marker": {"color": look.colour, "symbol": look.symbol, "size": 15, "line": {"width": 1.5, "color": INK[dark]}},
            "error_y": _interval([share], look.colour), "cliponaxis": False,
            "hovertemplate": f"{look.name}: mean |cos| {cosine:.3f}, transfer {share.text}<extra></extra>",
        }
        for look, cosine, share in points
    ]  # fmt: skip
    said = "; ".join(
        f"{look.name}: mean |cos| {cosine:.3f}, transfer {100 * share.value:.0f} %" for look, cosine, share in points
    )
    layout = base_layout(dark, f"transfer by {attack} over mean |cos|. {said}")
    layout["xaxis"] |= {"title": "mean |cos| of members' gradients", "range": [-0.02, 0.72]}
    layout["yaxis"] |= {"title": f"transfer by {attack}, %", "range": [-3, 103]}
    return go.Figure({"data": traces, "layout": layout})


def accuracy_bars(bars: Sequence[tuple[Look, Share]], *, title: str, dark: bool) -> go.Figure:
    """Draw one bar an ensemble: the share of images that it classifies correctly, with its interval."""
    trace = {
        "type": "bar", "x": [look.name for look, _ in bars], "y": [100 * share.value for _, share in bars],
        "marker": {"color": [look.colour for look, _ in bars]}, "error_y": _interval([share for _, share in bars], INK[dark]),
        "text": [f"<b>{100 * share.value:.0f} %</b>" for _, share in bars], "textposition": "none",
        "hovertemplate": [f"{look.name}: {share.text}<extra></extra>" for look, share in bars],
    }  # fmt: skip
    layout = base_layout(dark, f"{title}. " + "; ".join(f"{look.name}: {share.text}" for look, share in bars))
    layout["yaxis"] |= {"title": title, "range": [0, 112], "tickvals": [0, 25, 50, 75, 100]}
    layout["xaxis"] |= {"showgrid": False}
    layout["annotations"] = [
        {
            "x": look.name,
            "y": 100 * share.high,
            "text": f"<b>{100 * share.value:.0f}</b>",
            "showarrow": False,
            "yanchor": "bottom",
        }
        for look, share in bars
    ]
    return go.Figure({"data": [trace], "layout": layout})


Curves = Mapping[str, Sequence[tuple[float, Share]]]  # by attack, from weak to strong: (eps, accuracy), eps rising


def accuracy_curves(curves: Sequence[tuple[Look, Curves]], *, dark: bool) -> go.Figure:
    """Draw accuracy over eps: one line an ensemble and attack, dashed by attack, with its name at the end and all intervals."""
    attacks = list(dict.fromkeys(attack for _, by_attack in curves for attack in by_attack))
    most = max((eps for _, by_attack in curves for points in by_attack.values() for eps, _ in points), default=0.3)
    traces, ends, said = [], [], []
    for place, (look, by_attack) in enumerate(curves):
        for attack, points in by_attack.items():
            if not points:
                continue
            aside = (place - 0.5) * 0.002  # so that intervals do not hide each other
            name = f"{look.name} {attack}"
            traces.append({
                "type": "scatter", "x": [eps + aside for eps, _ in points], "y": [100 * share.value for _, share in points],
                "mode": "lines+markers", "name": name, "error_y": _interval([share for _, share in points], look.colour),
                "line": {"color": look.colour, "width": 2.5, "dash": DASHES[attacks.index(attack) % len(DASHES)]},
                "marker": {"symbol": look.symbol, "size": 8, "color": look.colour, "line": {"width": 1, "color": INK[dark]}},
                "hovertemplate": [f"{name} at eps {eps:g}: {share.text}<extra></extra>" for eps, share in points],
            })  # fmt: skip
            ends.append((name, *points[-1]))
            said.append(f"{name}: " + ", ".join(f"{100 * share.value:.0f} % at {eps:g}" for eps, share in points))
    layout = base_layout(dark, f"accuracy over eps. {'; '.join(said)}")
    layout["xaxis"] |= {"title": "eps", "range": [-0.008, 1.42 * most], "tickvals": [0, 0.1, 0.15, 0.2, 0.3]}
    layout["yaxis"] |= {"title": "correct, %", "range": [-4, 104]}
    heights = spread([share.value for _, _, share in ends], LINE_HEIGHT)
    layout["annotations"] = [
        {"x": eps + 0.02 * most, "y": 100 * height, "text": f"<b>{name}</b>", "showarrow": False, "xanchor": "left"}
        for (name, eps, _), height in zip(ends, heights, strict=True)
    ]
    return go.Figure({"data": traces, "layout": layout})


def attack_bars(rows: Sequence[str], series: Sequence[tuple[Look, Sequence[Share | None]]], *, dark: bool) -> go.Figure:
    """Draw one group of horizontal bars a row, one bar a series: the accuracy under that row's attack. None is not drawn."""
    traces = []
    for look, shares in series:
        known = [(row, share) for row, share in zip(rows, shares, strict=True) if share]
        traces.append({
            "type": "bar", "orientation": "h", "name": look.name, "y": [row for row, _ in known],
            "x": [100 * share.value for _, share in known], "error_x": _interval([share for _, share in known], INK[dark]),
            "marker": {"color": look.colour, "pattern": {"shape": look.symbol, "fgcolor": INK[dark], "fgopacity": 0.35}},
            "hovertemplate": [f"{row}, {look.name}: {share.text}<extra></extra>" for row, share in known],
        })  # fmt: skip
    said = "; ".join(
        f"{row}, {look.name}: {share.text}" for look, shares in series for row, share in zip(rows, shares, strict=True) if share
    )
    layout = base_layout(dark, f"accuracy by attack. {said}")
    layout["yaxis"] |= {"categoryorder": "array", "categoryarray": list(reversed(rows)), "showgrid": False}
    layout["yaxis"] |= {"range": [-0.5, len(rows) - 0.5]}
    layout["xaxis"] |= {"title": "correct, %", "range": [0, 104]}
    layout |= {"barmode": "group", "bargap": 0.3, "showlegend": len(series) > 1}
    layout["legend"] = {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "traceorder": "reversed"}
    return go.Figure({"data": traces[::-1], "layout": layout})  # plotly stacks a group's bars from below


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


def _interval(shares: Sequence[Share], colour: str) -> dict:
    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": 1.5, "width": 3,
        "array": [100 * (share.high - share.value) for share in shares],
        "arrayminus": [100 * (share.value - share.low) for share in shares],
    }  # fmt: skip


def base_layout(dark: bool, label: str) -> dict:
    """Return the layout that all charts start from. label: what the chart shows, in words."""
    axis = {"gridcolor": LINE[dark], "zeroline": False, "linecolor": FAINT[dark], "showline": True, "automargin": True,
            "tickfont": {"color": FAINT[dark]}, "fixedrange": True}  # fmt: skip
    return {
        "meta": {"label": label}, "font": {"color": INK[dark], "size": 14, "family": "system-ui, sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "showlegend": False, "hovermode": "closest", "dragmode": False, "xaxis": dict(axis), "yaxis": dict(axis),
    }  # fmt: skip


def attack_slice(
    picture: str,
    labels: Sequence[tuple[int, float, float]],
    *,
    span: float,
    ball: Sequence[Sequence[float]],
    path: Sequence[Sequence[float]],
    fooled: bool,
    label: str,
    dark: bool,
) -> go.Figure:
    """Draw a slice of one model with an attack's path in it.

    picture: a PNG of the classes, as a data URI, that covers the square of `span` each way.
    labels: class, across and up, the places in [0, 1]^2.
    ball: the corners of the eps-ball in the plane.
    path: the attack's iterates.
    fooled: whether the attack's image fools the model.
    label: what the slice shows, in words.
    """
    ball_x, ball_y = zip(*[*ball, ball[0]], strict=True)
    path_x, path_y = zip(*path, strict=True)
    lines = [
        (ball_x, ball_y, "eps-ball", "#000", 1.5),
        (path_x, path_y, "attack", "#000", 5),
        (path_x, path_y, "attack", "#fff", 2.5),
    ]
    traces = [
        {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": {"color": colour, "width": width}}
        for x, y, name, colour, width in lines
    ]
    marker = {"symbol": "x" if fooled else "circle-open", "size": 11, "color": "#fff" if fooled else "#000"}
    marker["line"] = {"width": 1.5 if fooled else 3, "color": "#000"}
    name = "the attack's image: " + ("fools" if fooled else "does not fool")
    traces.append({"type": "scatter", "mode": "markers", "x": path_x[-1:], "y": path_y[-1:], "name": name, "marker": marker})
    layout = base_layout(dark, label)
    axis = {"range": [-span, span], "constrain": "domain", "showgrid": False, "showticklabels": False, "mirror": True}
    layout["xaxis"] |= axis
    layout["yaxis"] |= axis | {"scaleanchor": "x"}
    layout["annotations"] = [
        {"x": (2 * across - 1) * span, "y": (2 * up - 1) * span, "text": f"<b>{number}</b>", "showarrow": False,
         "font": {"color": "#000"}, "bgcolor": "rgba(255,255,255,.6)"}
        for number, across, up in labels
    ]  # fmt: skip
    square = {"x": -span, "y": span, "sizex": 2 * span, "sizey": 2 * span, "sizing": "stretch", "layer": "below"}
    layout |= {"margin": {"l": 1, "r": 1, "t": 1, "b": 1}, "images": [{"source": picture, "xref": "x", "yref": "y", **square}]}
    return go.Figure({"data": traces, "layout": layout})
