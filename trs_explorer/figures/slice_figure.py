"""The slices of an ensemble's models as one figure: a panel per model, all on one plane and one scale."""

import math
from collections.abc import Sequence
from html import unescape

import numpy as np
import plotly.graph_objects as go

from trs_explorer.class_labels import IN_KEY, class_label, text_columns
from trs_explorer.figures.layers import SCALES, Scale, arrows, css_colour, layer_pictures
from trs_explorer.figures.slice_data import Attacks, Slice, SpanningImage
from trs_explorer.figures.slice_panel import INK, THUMBNAIL, panel_traces, thumbnail_place
from trs_explorer.figures.theme import as_label, class_colours, template
from trs_explorer.files import Json

MAX_COLUMNS = 4
PAGE_PX = 900  # width of a figure on a page: its letters are legible there
LINE_PX = 20  # of text below the panels
TITLE_PX = 26
CLEAR = "rgba(0,0,0,0)"
MAX_KEY = 16  # classes in the key: those with the largest share
KEY_PX, KEY_ENTRY_PX, KEY_COLUMN_PX = 20, 45, 7  # height of a row of the key; width of an entry without its text, and of a letter
TITLE_SIZE, SMALLEST_TITLE, TITLE_ROOM = 13, 9, 1.8  # pixels of letters; a panel's width over that of a letter's height
LONG_NAMES = 90  # characters of both axes' names that no longer fit on a line


def slice_figure(view: Slice, attacks: Attacks | None = None, **settings: object) -> go.Figure:
    """Return the slices as a plotly figure, every property checked by plotly. Arguments: see `slice_spec`."""
    return go.Figure(slice_spec(view, attacks, **settings))  # type: ignore[arg-type]


def slice_spec(
    view: Slice,
    attacks: Attacks | None = None,
    *,
    surrogate: int | None = 0,
    hidden: Sequence[int] = (),
    columns: int = MAX_COLUMNS,
    look: str = "light",
    caption: str = "",
    layer: str = "class",
    y: int = 0,
    pictures: Sequence[str] | None = None,
) -> Json:
    """Draw a panel for every model that is not hidden, as a plain dictionary: plotly's checks would cost 60 ms and more.

    A panel has the predicted classes (coloured pixels with numbers), their boundaries, the eps-ball (solid line), [0, 1]^d
    (dotted; hatched outside), the path of the attack on the panel's model (solid) and of that on the surrogate (dashed). A path
    ends in ✕ if its result fools the panel's model, else in ○. ★ is the start, ◆ an image that spans the plane.

    view, attacks: what to draw.
    surrogate: the model whose attack is shown in every panel; None: only the attack on the panel's own model.
    hidden: models without a panel.
    columns: panels side by side, at most.
    look: one of `theme.LOOKS`.
    caption: printed below the axes' names, for exports; its lines are kept.
    layer, y: what the pixels show, one of `layers.LAYERS`, and the true class, which "margin" is about.
    pictures: per model, the data URI of its pixels, if they are there already.
    Raises: ValueError if every model is hidden.
    """
    shown = [model for model in range(len(view.models)) if model not in hidden]
    if not shown:
        raise ValueError("a figure needs at least one model that is not hidden")
    per_row = max(1, min(columns, len(shown)))
    rows = math.ceil(len(shown) / per_row)
    names = [as_label(name) for name in view.axes]
    lines = 1 if len("".join(names)) < LONG_NAMES else 2
    words = [f"→ {names[0]}{'   ' if lines == 1 else '<br>'}↑ {names[1]}", *map(as_label, caption.splitlines())]
    layout: Json = {
        "template": template(look), "showlegend": True, "hovermode": False, "images": [],
        "margin": {"l": 36, "r": 8, "t": TITLE_PX, "b": LINE_PX * (lines + len(words)) + 24},
        "legend": {"orientation": "h", "title": {"text": "class "}, "x": 0, "y": 0, "yanchor": "bottom", "yref": "container",
                   "itemclick": False, "itemdoubleclick": False},
        "annotations": [_below("<br>".join(words))],
    }  # fmt: skip
    data: list[Json] = []
    title_size = _title_size(view, attacks, shown, per_row)
    pictures = pictures or layer_pictures(view.outputs, layer, y)
    scale = SCALES.get(layer)
    for place, model in enumerate(shown):
        axis = "" if place == 0 else str(place + 1)
        layout |= _axes(view, axis, divmod(place, per_row), rows, per_row, last=place + per_row >= len(shown))
        layout["images"].append(_pixels(view, axis, pictures[model]))
        layout["annotations"].append(_title(view, attacks, axis, model, title_size))
        axes = {"type": "scatter", "xaxis": f"x{axis}", "yaxis": f"y{axis}", "showlegend": False}
        data += [axes | trace for trace in panel_traces(view, attacks, model, surrogate, numbers=scale is None)]
        if layer == "arrows":
            data.append(axes | _arrows(view, model, y))
    for axis in ("" if place == 0 else str(place + 1) for place in range(len(shown))):  # after all models' pixels
        layout["images"] += [_thumbnail(view, axis, image) for image in view.images if image.picture]
    return {"data": data + ([_colour_bar(scale)] if scale else class_key(view, shown)), "layout": layout}


def figure_size(figure: Json, shown: int, *, width: int, columns: int = MAX_COLUMNS) -> Json:
    """Return margin, width and height, in pixels, of a figure of slices whose panels are squares. shown: how many there are."""
    columns = min(columns, shown)
    margin = figure["layout"]["margin"] | {"b": figure["layout"]["margin"]["b"] + key_room(figure, width)}
    side = (width - margin["l"] - margin["r"]) / columns
    rows = -(-shown // columns)
    return {"margin": margin, "width": width, "height": round(rows * (side + TITLE_PX) + margin["t"] + margin["b"])}


def _axes(view: Slice, axis: str, place: tuple[int, int], rows: int, columns: int, *, last: bool) -> Json:
    """Return a panel's two axes: the same square for all. last: no panel is below it."""
    row, column = place
    common = {
        "range": [view.low, view.high], "constrain": "domain", "fixedrange": True, "showgrid": False, "showline": True,
        "mirror": True, "ticks": "outside", "ticklen": 3, "automargin": False,
        "tickvals": _ticks(view.low, view.high), "tickformat": ".3~g", "tickfont": {"size": 11},
    }  # fmt: skip
    x = common | {"domain": _part(column, columns, 0.015), "anchor": f"y{axis}", "showticklabels": last}
    y = common | {"domain": _part(rows - 1 - row, rows, 0.09), "anchor": f"x{axis}", "showticklabels": column == 0}
    if axis:
        x["matches"], y["matches"] = "x", "y"
    else:
        y["scaleanchor"] = "x"
    return {f"xaxis{axis}": x, f"yaxis{axis}": y}


def _part(place: int, places: int, gap: float) -> list[float]:
    width = (1 - gap * (places - 1)) / places
    return [place * (width + gap), min(1.0, place * (width + gap) + width)]


def _pixels(view: Slice, axis: str, source: str) -> Json:
    side = view.high - view.low
    return {
        "source": source, "xref": f"x{axis}", "yref": f"y{axis}", "x": view.low, "y": view.high, "sizex": side, "sizey": side,
        "sizing": "stretch", "layer": "below", "name": "pixels",
    }  # fmt: skip


def _thumbnail(view: Slice, axis: str, image: SpanningImage) -> Json:
    """Draw the small picture of an image that spans the plane."""
    side, (a, b) = THUMBNAIL * (view.high - view.low), thumbnail_place(view, image)
    return {
        "source": image.picture, "xref": f"x{axis}", "yref": f"y{axis}", "x": a, "y": b, "sizex": side, "sizey": side,
        "xanchor": "center", "yanchor": "middle", "layer": "above", "name": image.name, "opacity": 0.9,
    }  # fmt: skip


def _arrows(view: Slice, model: int, y: int) -> Json:
    a, b = arrows(view.outputs[:, :, model], y, view.low, view.high)
    line = {"width": 1.2, "color": INK}
    return {"mode": "lines", "x": a, "y": b, "name": "gradient arrows", "hoverinfo": "skip", "line": line}


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers inside a range, away from its ends: the labels of panels side by side do not meet."""
    step = next(s for s in (k * 10.0**e for e in range(-6, 7) for k in (1, 2, 2.5, 5)) if s >= (high - low) / 4)
    room = 0.08 * (high - low)
    return [round(k * step, 9) for k in range(math.ceil((low + room) / step), math.floor((high - room) / step) + 1)]


def _title(view: Slice, attacks: Attacks | None, axis: str, model: int, size: float) -> Json:
    effect = f": {as_label(attacks.headlines[model])}" if attacks else ""
    title = {
        "text": f"<b>{as_label(view.models[model])}</b>{effect}", "x": 0.5, "y": 1, "xref": f"x{axis} domain",
        "yref": f"y{axis} domain", "yanchor": "bottom", "showarrow": False,
    }  # fmt: skip
    smaller = {"font": {"size": size}} if size < TITLE_SIZE else {}
    whole = attacks.whole_headlines[model] if attacks and attacks.whole_headlines else ""
    return title | smaller | ({"hovertext": as_label(f"{view.models[model]}: {whole}")} if whole else {})


def _title_size(view: Slice, attacks: Attacks | None, shown: Sequence[int], per_row: int) -> float:
    """Return the size of letters with which the longest title fits over its panel, on a page of PAGE_PX."""
    longest = max(text_columns(f"{view.models[model]}: {attacks.headlines[model]}") for model in shown) if attacks else 0
    fits = TITLE_ROOM * PAGE_PX / per_row / longest if longest else TITLE_SIZE
    return round(max(SMALLEST_TITLE, min(TITLE_SIZE, fits)), 1)


def _below(text: str) -> Json:
    return {
        "text": text, "x": 0, "y": 0, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "top", "align": "left",
        "yshift": -LINE_PX + 2, "showarrow": False, "name": "axes",
    }  # fmt: skip


def _colour_bar(scale: Scale) -> Json:
    """Return a trace without points, whose colour bar stands in the place of the class key."""
    steps = [[k / (len(scale.colours) - 1), css_colour(colour)] for k, colour in enumerate(scale.colours)]
    bar = {
        "orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yref": "container", "yanchor": "bottom", "len": 0.5,
        "thickness": 12, "title": {"text": scale.name, "side": "top"}, "tickvals": [0, 1], "ticktext": [scale.low, scale.high],
        "ticks": "", "outlinewidth": 1, "xpad": 60, "ypad": 4,
    }  # fmt: skip
    marker = {"color": [0], "cmin": 0, "cmax": 1, "colorscale": steps, "showscale": True, "colorbar": bar}
    return {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": "markers",
        "showlegend": False,
        "name": "scale",
        "marker": marker,
    }


def class_key(view: Slice, shown: Sequence[int]) -> list[Json]:
    """Return a legend entry for each class that occurs in a panel that is shown, or among the training points.

    Of more than MAX_KEY classes, those with the largest share, and an entry that counts the others.
    """
    models = [view.outputs[:, :, model] for model in shown]
    predicted = [outputs.argmax(-1)[np.isfinite(outputs).all(-1)] for outputs in models]
    classes, counts = np.unique(np.concatenate(predicted), return_counts=True)
    share = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    share |= {int(c): math.inf for c in view.examples[:, 2]}
    kept = sorted(sorted(share, key=lambda c: (-share[c], c))[:MAX_KEY])
    colours = class_colours(view.outputs.shape[-1])
    entries = [_key_entry(as_label(class_label(view.class_names, c, IN_KEY)), colours[c]) for c in kept]
    return entries + ([_key_entry(f"and {len(share) - len(kept)} more", CLEAR, CLEAR)] if len(share) > len(kept) else [])


def _key_entry(name: str, colour: str, outline: str = "#333333") -> Json:
    marker = {"symbol": "square", "size": 13, "color": colour, "line": {"width": 1, "color": outline}}
    return {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": name, "showlegend": True, "marker": marker}


def key_room(figure: Json, width: float) -> int:
    """Return the pixels that a figure's key takes below its first row. width: of the figure, in pixels.

    In more than one row, plotly makes all entries as wide as the widest. The browser's is `keyRoom` (panels.mjs).
    """
    widths = [KEY_ENTRY_PX + KEY_COLUMN_PX * text_columns(unescape(t["name"])) for t in figure["data"] if t.get("showlegend")]
    free = width - KEY_ENTRY_PX - figure["layout"]["margin"]["l"]
    if sum(widths) <= free:
        return 0
    return KEY_PX * (math.ceil(len(widths) / max(1, int(free / max(widths)))) - 1)
