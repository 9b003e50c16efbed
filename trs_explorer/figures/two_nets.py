"""Two networks in the plane: their boundaries with attacks on one of them, and the cosines of their gradients over beta."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from trs_explorer.figures.lesson import base_layout
from trs_explorer.figures.theme import CLASS_COLOURS, LOOKS, SERIES_COLOURS
from trs_explorer.files import Json

FINE = 6  # pixels of the picture per cell of the grid
CLASSES = CLASS_COLOURS[:2]
# By look: the second network, and what fools both. As --second and --hit of the page's style sheet.
SECOND = {"light": "#00795a", "dark": "#3fc79c", "print": "#00795a"}
HIT = {"light": "#d55e00", "dark": "#ff8a3d", "print": "#d55e00"}
CHARACTER = 0.031  # of a label, over the distance between the outermost groups: as on a phone
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)  # of beta

Grid = np.ndarray  # [member, row, column], rows from the window's lower edge up
Points = np.ndarray


def plane_figure(
    margins: Grid, points: Points, *, half: float, attacks: Sequence[Sequence[float]] = (), about: str = "", look: str = "light"
) -> go.Figure:
    """Draw the boundaries of F (solid) and G (dashed), where the two agree, and the training points.

    margins: of both networks, above 0 where one predicts class 1.
    points: x, y and class of each training point.
    half: half the side of the window.
    attacks: attacks that fool F: x, y before; x, y after; whether G is fooled too. A cross ends those that fool both, a ring the
    others.
    about: how far the training is, for the description.
    """
    along = np.linspace(-half, half, margins.shape[-1], dtype=np.float32)
    traces = [_class_points(points, label, look) for label in (0, 1)]
    for network, colour, dash in ((0, LOOKS[look].text, "solid"), (1, SECOND[look], "dash")):
        for line in ({"color": LOOKS[look].paper, "width": 6}, {"color": colour, "width": 3, "dash": dash}):
            traces.append({
                "type": "contour", "x": along, "y": along, "z": margins[network].astype(np.float32), "name": "FG"[network],
                "autocontour": False, "contours": {"start": 0, "end": 0, "size": 1, "coloring": "none"}, "line": line,
                "showscale": False, "hoverinfo": "skip",
            })  # fmt: skip
    for both, colour, symbol in ((0, LOOKS[look].text, "circle"), (1, HIT[look], "x")):
        chosen = np.array([one[:4] for one in attacks if int(one[4]) == both]).reshape(-1, 4)
        if len(chosen):
            traces += _attacks(chosen, "fools F and G" if both else "fools F only", colour, symbol, look)
    agree = float((np.sign(margins[0]) == np.sign(margins[1])).mean())
    drawn = f" {len(attacks)} attacks that fool F: {sum(int(one[4]) for one in attacks)} fool G too." if len(attacks) else ""
    label = f"{len(points)} points of two classes, and the boundaries of F and G{about}"
    label += f": they agree on {100 * agree:.0f} % of the plane."
    layout = base_layout(look, label + drawn)
    axis = {"range": [-half, half], "constrain": "domain", "showgrid": False, "showticklabels": False, "mirror": True}
    layout["xaxis"] |= axis
    layout["yaxis"] |= axis | {"scaleanchor": "x"}
    layout |= {"margin": {"l": 1, "r": 1, "t": 1, "b": 1}, "images": [_regions(margins, half, look)]}
    return go.Figure({"data": traces, "layout": layout})


def _class_points(points: Points, label: int, look: str) -> Json:
    chosen = points[points[:, 2] == label].astype(np.float32)
    marker = {
        "size": 5,
        "color": CLASSES[label],
        "symbol": ("circle", "square")[label],
        "line": {"width": 0.8, "color": LOOKS[look].text},
    }
    trace = {"type": "scatter", "mode": "markers", "name": f"class {label}", "marker": marker, "hoverinfo": "skip"}
    return trace | {"x": chosen[:, 0], "y": chosen[:, 1]}


def _attacks(attacks: Points, name: str, colour: str, symbol: str, look: str) -> list[Json]:
    """Return one trace for all lines, with gaps, and one for all ends."""
    gap = np.full(len(attacks), np.nan)
    line = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "name": name, "line": {"color": colour, "width": 1.5},
            "x": np.column_stack([attacks[:, 0], attacks[:, 2], gap]).ravel(),
            "y": np.column_stack([attacks[:, 1], attacks[:, 3], gap]).ravel()}  # fmt: skip
    marker = {"symbol": symbol, "size": 9, "color": colour, "line": {"width": 0}}
    if symbol == "circle":
        marker = {"symbol": symbol, "size": 9, "color": LOOKS[look].paper, "line": {"width": 2, "color": colour}}
    ends = {"type": "scatter", "mode": "markers", "hoverinfo": "skip", "name": name, "x": attacks[:, 2], "y": attacks[:, 3]}
    return [line, ends | {"marker": marker}]


def _regions(margins: Grid, half: float, look: str) -> Json:
    """Return a picture of the plane: a class's colour where both networks predict it, hatched where they disagree."""
    first, second = (_refined(margin) > 0 for margin in margins)
    rows, columns = np.indices(first.shape)
    picture = np.zeros((*first.shape, 4), np.uint8)
    picture[(first != second) & ((rows + columns) % 12 < 2)] = [*_rgb(LOOKS[look].text), 110]
    for label, colour in enumerate(CLASSES):
        picture[(first == second) & (first == label)] = [*_rgb(colour), 82]
    file = io.BytesIO()
    Image.fromarray(picture[::-1].copy()).save(file, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return {"source": uri, "xref": "x", "yref": "y", "x": -half, "y": half, "sizex": 2 * half, "sizey": 2 * half,
            "sizing": "stretch", "layer": "below"}  # fmt: skip


def _rgb(colour: str) -> list[int]:
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]


def _refined(grid: np.ndarray) -> np.ndarray:
    """Interpolate a square grid bilinearly at the centres of FINE x FINE pixels in each of its cells."""
    n = len(grid)
    at = (np.arange((n - 1) * FINE) + 0.5) / FINE
    low, part = at.astype(int), at % 1
    up = grid[low] * (1 - part)[:, None] + grid[low + 1] * part[:, None]
    return up[:, low] * (1 - part) + up[:, low + 1] * part


@dataclass(frozen=True)
class Pair:
    """One training: beta, the lowest and the highest cosine found around the points, and the number of its group (-1: none)."""

    beta: float
    lowest: float
    highest: float
    group: int = -1


def cosine_ranges(
    pairs: Sequence[Pair], labels: Sequence[str], *, trained_here: Sequence[Pair] = (), over_beta: bool, look: str = "light"
) -> go.Figure:
    """Draw a line for each training from its lowest to its highest cosine.

    pairs: those of the groups. labels: one a group. trained_here: trainings that are drawn in the ink.
    over_beta: from left to right is beta, else the groups stand side by side.
    """
    groups = [[pair for pair in pairs if pair.group == group] for group in range(len(labels))]
    traces, middles = [], []
    for group, (members, text) in enumerate(zip(groups, labels, strict=True)):
        x = [pair.beta if over_beta else group + 0.06 * (k - (len(members) - 1) / 2) for k, pair in enumerate(members)]
        traces.append(_ranges(members, x, text, SERIES_COLOURS[group % len(SERIES_COLOURS)]))
        middles.append(sum(map(math.log10, x)) / len(x) if over_beta else group)
    if shown := [pair for pair in trained_here if over_beta or pair.group >= 0]:
        x = [pair.beta if over_beta else pair.group + 0.42 for pair in shown]
        traces.append(_ranges(shown, x, "trained here", LOOKS[look].text))
    said = "; ".join(
        f"{text}: cosines {min(p.lowest for p in members):.2f} to {max(p.highest for p in members):.2f}"
        + (f", beta {min(p.beta for p in members):.0f} to {max(p.beta for p in members):.0f}" if over_beta else "")
        for members, text in zip(groups, labels, strict=True)
    )
    layout = base_layout(
        look, f"cosines of the gradients of F and G around the points. {said}. {len(trained_here)} trained here."
    )
    layout["yaxis"] |= {"title": "cosine of the gradients", "range": [-1.22, 1.22], "tickvals": [-1, -0.5, 0, 0.5, 1]}
    layout["xaxis"] |= {"showgrid": False}
    if over_beta:
        layout["xaxis"] |= {"type": "log", "title": "β of the loss (smoother to the left)", "tickvals": TICKS}
    else:
        layout["xaxis"] |= {"range": [-0.5, len(labels) - 0.5], "showticklabels": False}
    layout["annotations"] = [
        {"x": x, "y": y, "text": f"<b>{text}</b>", "showarrow": False, "bgcolor": LOOKS[look].paper, "opacity": 0.9}
        for text, (x, y) in zip(labels, _label_places(groups, middles, labels), strict=True)
    ]
    return go.Figure({"data": traces, "layout": layout})


def _ranges(pairs: Sequence[Pair], x: Sequence[float], name: str, colour: str) -> Json:
    """Return one trace: lines with gaps, and a bar at either end, so that a range without length is seen too."""
    return {
        "type": "scatter", "mode": "lines+markers", "name": name, "line": {"color": colour, "width": 2.5}, "opacity": 0.8,
        "marker": {"symbol": "line-ew-open", "size": 8, "color": colour, "line": {"width": 2, "color": colour}},
        "x": [value for at in x for value in (at, at, None)], "connectgaps": False,
        "y": [value for pair in pairs for value in (pair.lowest, pair.highest, None)],
        "hovertemplate": f"{name}: cosine %{{y:.2f}}<extra></extra>",
    }  # fmt: skip


def _label_places(groups: Sequence[Sequence[Pair]], middles: Sequence[float], labels: Sequence[str]) -> list[tuple[float, float]]:
    """Return a place for each group's label: above its lines, below them, or on them where they are long; on no other label.

    middles: the groups' places from left to right, in the axis's own units.
    """
    wide = max(0.13, CHARACTER * max(map(len, labels), default=0))
    width = wide * (max(middles) - min(middles))
    places: list[tuple[float, float]] = []
    taken = [
        (x, (_low(group) + _high(group)) / 2) for group, x in zip(groups, middles, strict=True) if _high(group) - _low(group) <= 1
    ]
    for group, x in zip(groups, middles, strict=True):
        low, high = _low(group), _high(group)
        heights = (0.3, 0, -0.3, -0.6) if high - low > 1 else (high + 0.13, low - 0.13, low - 0.29, low - 0.45, low - 0.61)
        free = [y for y in heights if y < 1.15 and not any(abs(x - a) < width and abs(y - b) < 0.12 for a, b in taken)]
        places.append((x, (free or heights[-1:])[0]))
        taken.append(places[-1])
    return places


def _low(group: Sequence[Pair]) -> float:
    return min(pair.lowest for pair in group)


def _high(group: Sequence[Pair]) -> float:
    return max(pair.highest for pair in group)
