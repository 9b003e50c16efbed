"""Charts of all runs on a data set, of which two, A and B, stand out by colour, dash and symbol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from trs_explorer.figures.labels import is_beside, place_labels
from trs_explorer.figures.theme import LOOKS, as_label, template
from trs_explorer.files import Json

STYLES = {
    "a": {"color": "#0072b2", "dash": "solid", "symbol": "circle"},
    "b": {"color": "#d55e00", "dash": "dash", "symbol": "square"},
}
OTHER = {"color": "rgba(128,128,128,.55)", "dash": "solid", "symbol": "circle-open"}
COLUMNS, HEIGHT = 4, 170  # charts in a row, and the height of one in pixels
# The smallest plot area of a scatter chart: its labels are placed for it, and have more room in any other.
SCATTER_PX = (260, 260)
MARGIN = 0.08  # of an axis, beyond the largest value
TICKS = {"ticks": "outside", "ticklen": 7, "tickcolor": "rgba(0,0,0,0)"}  # keep an axis' numbers off the marks of a point at 0

# (eps, rate, low, high, n): a rate with its 95 % interval, in per cent.
Point = tuple[float, float, float, float, int]


@dataclass(frozen=True)
class RunPoint:
    """A run in a scatter chart.

    y, low, high: count of n in %, and its 95 % interval. Of several seeds: the mean, the smallest and the largest.
    label: written beside the point.
    seeds: the number of trainings that differ only in the seed; count and n are their sums.
    x_range: of several seeds, the smallest and the largest x.
    """

    x: float
    y: float
    low: float
    high: float
    count: int
    n: int
    label: str
    seeds: int = 1
    x_range: tuple[float, float] | None = None


def curves_figure(curves: Mapping[str, Mapping[str, Sequence[Point]]], sides: Mapping[str, str], **settings: object) -> go.Figure:
    """Return robust accuracy over eps as a plotly figure. Arguments: see `curves_spec`."""
    return go.Figure(curves_spec(curves, sides, **settings))  # type: ignore[arg-type]


def curves_spec(curves: Mapping[str, Mapping[str, Sequence[Point]]], sides: Mapping[str, str], *, look: str = "light") -> Json:
    """Draw a small chart per attack: accuracy in % over eps, a line per run, with 95 % intervals on A and B.

    curves: by attack, as it is called above its chart, then by run.
    sides: the runs that are A and B, by "a" and "b".
    look: one of `theme.LOOKS`.
    """
    attacks = list(curves)
    columns = min(COLUMNS, max(1, len(attacks)))
    rows = max(1, -(-len(attacks) // columns))
    layout: Json = {
        "template": template(look), "height": HEIGHT * rows + 90, "hovermode": "closest", "annotations": [],
        "grid": {"rows": rows, "columns": columns, "pattern": "independent", "ygap": 0.34, "xgap": 0.14},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "top", "yref": "container", "itemclick": False,
                   "itemdoubleclick": False},
        "margin": {"l": 48, "r": 10, "t": 56, "b": 40},
    }  # fmt: skip
    data: list[Json] = []
    named: set[str] = set()
    for place, attack in enumerate(attacks):
        axis = str(place + 1) if place else ""
        is_lowest = place >= len(attacks) - columns
        layout[f"xaxis{axis}"] = {
            "fixedrange": True, "rangemode": "tozero", "nticks": 4, "title": {"text": "eps" if is_lowest else "", "standoff": 2}
        }  # fmt: skip
        layout[f"yaxis{axis}"] = {
            "fixedrange": True, "range": [-3, 103], "tickvals": [0, 50, 100], **TICKS,
            "showticklabels": place % columns == 0,
            "title": {"text": "" if place % columns else "accuracy, %", "standoff": 2},
        }  # fmt: skip
        layout["annotations"].append({
            "text": f"<b>{as_label(attack)}</b>", "x": 0.5, "y": 1, "xref": f"x{axis} domain", "yref": f"y{axis} domain",
            "showarrow": False, "yanchor": "bottom", "font": {"size": 12},
        })  # fmt: skip
        for run, points in sorted(curves[attack].items(), key=lambda item: item[0] in sides.values()):
            entry = run if run in sides.values() else "other runs"
            data.append(_curve(run, points, sides) | {
                "xaxis": f"x{axis}", "yaxis": f"y{axis}", "legendgroup": as_label(entry), "showlegend": entry not in named,
                "name": as_label(_legend(run, sides)), "legendrank": [*sides.values(), run].index(run),
            })  # fmt: skip
            named.add(entry)
    return {"data": data, "layout": layout}


def _curve(run: str, points: Sequence[Point], sides: Mapping[str, str]) -> Json:
    style, chosen = _style(run, sides)
    trace: Json = {
        "type": "scatter", "mode": "lines+markers", "cliponaxis": False, "x": [p[0] for p in points], "y": [p[1] for p in points],
        "line": {"color": style["color"], "dash": style["dash"], "width": 2.5 if chosen else 1},
        "marker": {"symbol": style["symbol"], "size": 7 if chosen else 4, "color": style["color"]},
        "customdata": [f"{low:.1f}-{high:.1f}, n {n}" for _, _, low, high, n in points],
        "hovertemplate": f"{as_label(run)}<br>ε %{{x}}: %{{y:.1f}} % (%{{customdata}})<extra></extra>",
    }  # fmt: skip
    if chosen:
        above, below = [p[3] - p[1] for p in points], [p[1] - p[2] for p in points]
        trace["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.3, "width": 3}
    return trace


def scatter_figure(points: Mapping[str, RunPoint], sides: Mapping[str, str], **settings: object) -> go.Figure:
    """Return one point per run as a plotly figure. Arguments: see `scatter_spec`."""
    return go.Figure(scatter_spec(points, sides, **settings))  # type: ignore[arg-type]


def scatter_spec(
    points: Mapping[str, RunPoint],
    sides: Mapping[str, str],
    *,
    x_title: str,
    y_title: str,
    x_span: float = 100.0,
    y_span: float = 100.0,
    look: str = "light",
) -> Json:
    """Draw a point per run, with the 95 % interval of y, and its label where there is room: else it has its name on hover alone.

    points: by run. Those of several seeds have bars from their smallest to their largest value, in x too.
    sides: the runs that are A and B, by "a" and "b": they choose the places of their labels first.
    x_title, y_title: of the axes.
    x_span, y_span: the largest values that the axes must show; they begin at 0.
    look: one of `theme.LOOKS`.
    """
    ranges = [(0.0, (1 + MARGIN) * span) for span in (x_span, y_span)]
    order = sorted(points, key=lambda run: (run not in sides.values(), points[run].y))
    (left, right), (bottom, top) = ranges
    width, height = SCATTER_PX
    pixels = [((points[run].x - left) / (right - left) * width, (top - points[run].y) / (top - bottom) * height) for run in order]
    places = place_labels(pixels, [points[run].label for run in order], SCATTER_PX, first=len(set(sides.values()) & set(order)))
    titles = (x_title, y_title)
    data = [_marker(run, points[run], sides, titles) for run in order]
    labels = [_label(run, points[run], place, sides, look) for run, place in zip(order, places, strict=True) if place]
    layout = {
        "template": template(look), "showlegend": False, "hovermode": "closest", "height": height + 60, "annotations": labels,
        "margin": {"l": 60, "r": 10, "t": 10, "b": 50},
        "xaxis": {"fixedrange": True, "automargin": False, "range": list(ranges[0]), **TICKS,
                  "title": {"text": x_title, "standoff": 4}},
        "yaxis": {"fixedrange": True, "automargin": False, "range": list(ranges[1]), **TICKS, "title": {"text": y_title}},
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _marker(run: str, point: RunPoint, sides: Mapping[str, str], titles: tuple[str, str]) -> Json:
    style, chosen = _style(run, sides)
    of = f"{point.count} of {point.n}" if point.seeds == 1 else f"smallest-largest of {point.seeds} seeds"
    bars: Json = {"type": "data", "symmetric": False, "color": style["color"], "thickness": 1.2}
    marker: Json = {
        "type": "scatter", "mode": "markers", "name": as_label(run), "x": [point.x], "y": [point.y], "cliponaxis": False,
        "marker": {"symbol": style["symbol"], "size": 12 if chosen else 8, "color": style["color"]},
        "error_y": {**bars, "array": [point.high - point.y], "arrayminus": [point.y - point.low]},
        "hovertemplate": f"{as_label(point.label)}<br>{titles[0]}: %{{x:.3g}}<br>{titles[1]}: %{{y:.1f}} "
                         f"({point.low:.1f}-{point.high:.1f}), {of}<extra></extra>",
    }  # fmt: skip
    if point.x_range:
        low, high = point.x_range
        marker["error_x"] = {**bars, "array": [high - point.x], "arrayminus": [point.x - low]}
    return marker


def _label(run: str, point: RunPoint, shift: tuple[float, float], sides: Mapping[str, str], look: str) -> Json:
    """Write a run's label at a shift from its point, with a line that leads to it if it does not stand beside it."""
    colours, beside = LOOKS[look], is_beside(point.label, shift)
    return {
        "text": as_label(point.label), "name": as_label(run), "x": point.x, "y": point.y, "ax": shift[0], "ay": shift[1],
        "showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": "rgba(0,0,0,0)" if beside else colours.faint,
        "standoff": 4, "borderpad": 0, "font": {"size": 12, "color": colours.text if run in sides.values() else colours.faint},
    }  # fmt: skip


def _style(run: str, sides: Mapping[str, str]) -> tuple[Json, bool]:
    side = next((side for side, name in sides.items() if name == run), None)
    return (STYLES[side], True) if side else (OTHER, False)


def _legend(run: str, sides: Mapping[str, str]) -> str:
    letters = " and ".join(side.upper() for side, name in sides.items() if name == run)
    return f"{letters}: {run}" if letters else "other runs"
