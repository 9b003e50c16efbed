"""The slices as one plotly figure, for saving as PNG or SVG: a pure function of a slice view and its attack paths.

The page itself draws on canvases. Figures are plain dictionaries in plotly.js's format: plotly's Python objects validate every
property and cost 60 ms per figure. The tests validate them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from trs_explorer.files import Json
from trs_explorer.web.attack_paths import AttackPaths
from trs_explorer.web.slice_view import Points, SliceView

# Okabe and Ito's seven colours, which colour-blind people can tell apart, and three more; every use has a second cue.
CLASS_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#a58bd6", "#a6761d", "#8fd3c7")
MAX_COLUMNS = 4


@dataclass(frozen=True)
class Ink:
    """The colours of a theme."""

    text: str
    faint: str
    paper: str


LIGHT = Ink("#1b1f24", "#5b6470", "#ffffff")
DARK = Ink("#e8eaed", "#a4adb8", "#14171b")


def as_label(name: str) -> str:
    """Escape a name for plotly, which would show `<b>` as bold and `%{x}` as a number."""
    return escape(name, quote=False).replace("{", "&#123;")


def ink(dark: bool) -> Ink:
    """Return the colours of the dark or the light theme."""
    return DARK if dark else LIGHT


def slice_figure(
    view: SliceView, attacks: AttackPaths, *, hidden: Sequence[int] = (), surrogate: int = 0, dark: bool = False
) -> Json:
    """Draw axes, outlines and attack paths, one panel per model that is not hidden; the page puts pictures of the logits behind.

    Each panel has the eps-ball (solid), [0, 1]^d (dotted), the path of the attack on the panel's model (solid) and of the
    attack on the surrogate (dashed). A path ends in a cross if its image fools the panel's model, else in a ring.
    """
    visible = [model for model in range(len(view.models)) if model not in hidden]
    columns = min(MAX_COLUMNS, len(visible))
    rows = math.ceil(len(visible) / columns)
    layout: Json = {
        "showlegend": False, "dragmode": False, "hovermode": False, "margin": {"l": 34, "r": 6, "t": 24, "b": 52},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"color": ink(dark).text, "size": 13},
        "annotations": [_note(_axes_title(view.plane.names), 0.5, 0, "paper", "paper", yanchor="top", yshift=-20)],
    }  # fmt: skip
    data = []
    for place, model in enumerate(visible):
        row, column = divmod(place, columns)
        axis = "" if place == 0 else str(place + 1)
        across = _axis(view, column, columns, 0.02, ink(dark)) | {"anchor": f"y{axis}"}
        up = _axis(view, rows - 1 - row, rows, 0.16, ink(dark)) | {"anchor": f"x{axis}"}
        if place:
            across["matches"], up["matches"] = "x", "y"
        else:
            up["scaleanchor"] = "x"
        layout |= {f"xaxis{axis}": across, f"yaxis{axis}": up | {"showticklabels": column == 0}}
        title = f"<b>{view.models[model]}</b>: {attacks.headline(model)}"
        layout["annotations"].append(_note(title, 0.5, 1, f"x{axis} domain", f"y{axis} domain", yanchor="bottom"))
        data += [
            trace | {"type": "scatter", "xaxis": f"x{axis}", "yaxis": f"y{axis}"}
            for trace in _panel(view, attacks, model, surrogate)
        ]
    return {"data": data, "layout": layout}


def _note(text: str, x: float, y: float, xref: str, yref: str, **more: object) -> Json:
    return {"text": text, "x": x, "y": y, "xref": xref, "yref": yref, "showarrow": False, **more}


def _axis(view: SliceView, place: int, places: int, gap: float, colours: Ink) -> Json:
    width = (1 - gap * (places - 1)) / places
    begin, quarter = place * (width + gap), (view.high - view.low) / 4
    return {
        "range": [view.low, view.high], "domain": [begin, min(1, begin + width)], "constrain": "domain", "fixedrange": True,
        "showgrid": False, "zeroline": False, "showline": True, "mirror": True, "linecolor": colours.faint,
        "ticks": "outside", "tickcolor": colours.faint, "tickvals": [view.low + quarter * k for k in (1, 2, 3)],
    }  # fmt: skip


def _axes_title(names: tuple[str, str]) -> str:
    gap = "   " if len("".join(names)) < 90 else "<br>"
    return f"→ {names[0]}{gap}↑ {names[1]}"


def _panel(view: SliceView, attacks: AttackPaths, model: int, surrogate: int) -> list[Json]:
    traces = _training_points(view.examples)
    for name, corners, dash in (("[0, 1] in every pixel", view.box, "dot"), ("eps-ball of the attack", attacks.ball, "solid")):
        if len(corners):
            traces += _outlined([*corners, corners[0]], f"{name}", 1.8, dash)
    for attacked in dict.fromkeys([surrogate, model]):
        is_own, fooled = attacked == model, attacks.fools(attacked, model)
        path = attacks.paths[attacked]
        name = f"{attacks.attack} on {view.models[attacked]}"
        traces += _outlined(path, name, 2.5 if is_own else 1.5, "solid" if is_own else "dash")
        ending = {"symbol": "x", "line": {"color": "white", "width": 1}} if fooled else {
            "symbol": "circle-open", "line": {"color": "black", "width": 2.5}}  # fmt: skip
        traces.append(_points(path[-1:], f"{name}: {'fools' if fooled else 'does not fool'} {view.models[model]}",
                              {"size": 12 if is_own else 9, "color": "black", **ending}))  # fmt: skip
    star = {"symbol": "star", "size": 12, "color": "white", "line": {"color": "black", "width": 1.5}}
    return [*traces, _points([attacks.start], "start of the attack", star)]


def _training_points(examples: Points) -> list[Json]:
    """Draw class 0 as circles and other classes as squares; nothing for images."""
    traces = []
    for label in sorted({int(y) for y in examples[:, 2]}):
        marker = {"size": 5, "color": CLASS_COLOURS[label % len(CLASS_COLOURS)], "line": {"width": 1, "color": "black"},
                  "symbol": "square" if label else "circle"}  # fmt: skip
        traces.append(_points(examples[examples[:, 2] == label, :2], f"training points of class {label}", marker))
    return traces


def _points(points: Sequence | Points, name: str, marker: Json) -> Json:
    return {
        "x": [float(p[0]) for p in points],
        "y": [float(p[1]) for p in points],
        "mode": "markers",
        "name": name,
        "marker": marker,
    }


def _outlined(points: Sequence | Points, name: str, width: float, dash: str) -> list[Json]:
    """Draw a black line over a wider white one, visible on every colour."""
    x, y = [float(p[0]) for p in points], [float(p[1]) for p in points]
    lines = ({"width": width + 2.2, "color": "rgba(255,255,255,.8)"}, {"width": width, "color": "black", "dash": dash})
    return [{"x": x, "y": y, "mode": "lines", "name": name, "line": line} for line in lines]
