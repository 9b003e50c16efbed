"""The lines and marks of one panel of the slices, as few plotly traces: many short ones would be slow to redraw."""

import math
from collections.abc import Sequence

import numpy as np

from trs_explorer.class_labels import IN_REGION, class_label, text_columns
from trs_explorer.figures.boundaries import decision_boundaries, gapped, hatching
from trs_explorer.figures.slice_data import Attacks, Points, Slice, SpanningImage
from trs_explorer.figures.theme import as_label, class_colours
from trs_explorer.files import Json

INK, HALO = "#141414", "rgba(255,255,255,.8)"  # on the classes' colours, in every look
LABEL_CELLS = 24  # per side, of the grid on which class numbers are placed
LABEL_REACH = 3  # cells around a number
COLUMN, LINE = 0.035, 0.07  # of the square's side, about: the width of a letter, and the height of a line
MIN_LABEL_CELLS = 9  # of them must have its class
THUMBNAIL = 0.12  # of the square's side: the small picture of an image that spans the plane


def panel_traces(view: Slice, attacks: Attacks | None, model: int, surrogate: int | None, *, numbers: bool = True) -> list[Json]:
    """Return what lies above the pixels of a model's panel, the lowest first. Names say what a trace is.

    numbers: write the classes' numbers or names, which belong to colours that show classes.
    """
    outputs = view.outputs[:, :, model]
    along = np.linspace(view.low, view.high, len(outputs))
    traces = []
    if view.box is not None:
        traces.append(_line("outside [0, 1]", hatching(view.box, view.low, view.high), 1, color="rgba(20,20,20,.22)"))
    traces.append(_line("boundaries", decision_boundaries(outputs, along), 1.6))
    if numbers:
        covered = [thumbnail_place(view, image) for image in view.images if image.picture]
        traces.append(_class_numbers(outputs, along, covered, view.class_names))
    traces += _training_points(view)
    if view.box is not None and len(view.box):
        traces += _outlined("[0, 1] in every pixel", [_closed(view.box)], 1.8, "dot")
    if attacks:
        traces += attack_traces(view.models, attacks, model, surrogate)
    traces.append(_images(view))
    return [trace for trace in traces if trace["x"]]


def attack_traces(models: Sequence[str], attacks: Attacks, model: int, surrogate: int | None) -> list[Json]:
    """Return what an attack adds to a model's panel: ball, paths, their ends and their start.

    models: the names of all.
    surrogate: the model whose attack is drawn besides the one on the panel's model; None: that one alone.
    """
    traces = _outlined("ε-ball of the attack", [_closed(attacks.ball)], 1.8, "solid") if len(attacks.ball) else []
    attacked = [model] if surrogate is None else list(dict.fromkeys([surrogate, model]))
    for k in attacked:
        is_panel_model = k == model
        name = f"path of {attacks.name} on {models[k]}"
        traces += _outlined(name, [attacks.paths[k]], 2.5 if is_panel_model else 1.6, "solid" if is_panel_model else "dash")
    for fools, symbol, words in ((True, "x", "fools"), (False, "circle-open", "does not fool")):
        ends = [k for k in attacked if bool(attacks.fools[k, model]) is fools]
        sizes = [13 if k == model else 10 for k in ends]
        marker = {"symbol": symbol, "size": sizes, "color": INK, "opacity": 1, "line": {"width": 1 if fools else 2.5,
                  "color": "white" if fools else INK}}  # fmt: skip
        points = np.array([attacks.paths[k][-1] for k in ends]).reshape(-1, 2)
        traces.append(_marks(f"{words} {models[model]}", points, marker, attacked=[models[k] for k in ends]))
    star = {"symbol": "star", "size": 13, "color": "white", "line": {"color": INK, "width": 1.5}}
    return [*traces, _marks("start of the attack", np.array([attacks.start]), star)]


def _images(view: Slice) -> Json:
    """Draw the images that span the plane; those without a picture with their names."""
    marker = {"symbol": "diamond", "size": 9, "color": "white", "line": {"color": INK, "width": 1.5}}
    points = np.array([image.point for image in view.images]).reshape(-1, 2)
    names = ["" if image.picture else image.name for image in view.images]
    middle = (view.low + view.high) / 2
    sides = [f"{'top' if b > middle else 'bottom'} center" for _, b in points.tolist()]
    text = {"mode": "markers+text", "text": names, "textposition": sides, "textfont": {"color": INK, "size": 12}}
    return _marks("images in the plane", points, marker) | (text if names else {})


def _training_points(view: Slice) -> list[Json]:
    """Draw class 0 as circles and other classes as squares; nothing for images."""
    colours = class_colours(view.outputs.shape[-1])
    traces = []
    for c in np.unique(view.examples[:, 2]).astype(int).tolist():
        marker = {"symbol": "square" if c else "circle", "size": 5, "color": colours[c], "line": {"width": 1, "color": INK}}
        traces.append(_marks(f"training points of class {c}", view.examples[view.examples[:, 2] == c, :2], marker))
    return traces


def thumbnail_place(view: Slice, image: SpanningImage) -> tuple[float, float]:
    """Return the centre of the small picture of an image that spans the plane: beside its place, away from the middle."""
    middle, away = (view.low + view.high) / 2, 0.7 * THUMBNAIL * (view.high - view.low)
    reach = (view.high - view.low) * (1 - THUMBNAIL) / 2  # from the middle, so that all of it is inside
    a, b = (middle + max(-reach, min(reach, place + math.copysign(away, place - middle) - middle)) for place in image.point)
    return a, b


def _class_numbers(
    outputs: np.ndarray, along: np.ndarray, covered: Sequence[tuple[float, float]] = (), names: Sequence[str] = ()
) -> Json:
    """Write the number or name of every class that has a large enough region into it: the colours' second cue.

    covered: centres of pictures, under which there is no number.
    names: of the classes; empty: they have none.
    """
    at = np.linspace(0, len(along) - 1, LABEL_CELLS + 1).round().astype(int)
    cells = np.where(np.isfinite(outputs).all(-1), outputs.argmax(-1), -1)[np.ix_(at, at)]
    candidates = []
    inner = along[at[2:-2]]
    reach = THUMBNAIL * (along[-1] - along[0])
    free = np.ones((len(inner), len(inner)))
    for a, b in covered:
        free[np.ix_(np.abs(inner - b) < reach, np.abs(inner - a) < reach)] = 0
    for c in np.unique(cells[cells >= 0]).tolist():
        of_class = (cells == c).astype(float)
        padded = np.pad(of_class, LABEL_REACH)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * LABEL_REACH + 1,) * 2)
        score = (windows.sum((-2, -1)) * of_class)[2:-2, 2:-2] * free  # a number at the edge would be cut
        if score.max() >= MIN_LABEL_CELLS:
            row, column = np.unravel_index(score.argmax(), score.shape)
            candidates.append((score.max(), along[at[[column + 2, row + 2]]], class_label(names, c, IN_REGION)))
    kept = _apart(candidates, along) if names else candidates
    places, texts = [place for _, place, _ in kept], [text for _, _, text in kept]
    trace = _marks("class numbers", np.array(places).reshape(-1, 2), {})
    sides = {"textposition": [_text_side(text, a, along) for text, (a, _) in zip(texts, places, strict=True)]} if names else {}
    return trace | {"mode": "text", "text": [*map(as_label, texts)], "textfont": {"color": INK, "size": 13}} | sides


def _apart(candidates: Sequence[tuple[float, np.ndarray, str]], along: np.ndarray) -> list[tuple[float, np.ndarray, str]]:
    """Return those of some texts at places that do not lie on one another. Those with the highest score come first."""
    side, kept = along[-1] - along[0], []
    for score, (a, b), text in sorted(candidates, key=lambda one: -one[0]):
        half = COLUMN * text_columns(text) * side / 2
        a_drawn = min(max(a, along[0] + half), along[-1] - half)
        if all(abs(b - b_2) > LINE * side or abs(a_drawn - a_2) > half + half_2 for a_2, b_2, half_2, _ in kept):
            kept.append((a_drawn, b, half, (score, np.array([a, b]), text)))
    return [one for *_, one in kept]


def _text_side(text: str, a: float, along: np.ndarray) -> str:
    """Return on which side of a place its text is not cut by the panel's edge."""
    half = COLUMN * text_columns(text) * (along[-1] - along[0]) / 2
    return "middle right" if a - half < along[0] else "middle left" if a + half > along[-1] else "middle center"


def _marks(name: str, points: Points, marker: Json, **meta: object) -> Json:
    x, y = np.round(points.astype(float), 6).T.tolist() if len(points) else ([], [])
    about = {"meta": meta} if meta else {}
    return {"x": x, "y": y, "mode": "markers", "name": name, "marker": marker, "hoverinfo": "skip", **about}


def _line(name: str, lines: Sequence[Points], width: float, *, color: str = INK, dash: str = "solid") -> Json:
    x, y = gapped(lines)
    line = {"width": width, "color": color, "dash": dash}
    return {"x": x, "y": y, "mode": "lines", "name": name, "line": line, "hoverinfo": "skip"}


def _outlined(name: str, lines: Sequence[Points], width: float, dash: str) -> list[Json]:
    """Draw dark lines over wider white ones: visible on every colour."""
    return [_line(f"halo of {name}", lines, width + 2.2, color=HALO), _line(name, lines, width, dash=dash)]


def _closed(corners: Points) -> Points:
    return np.concatenate([corners, corners[:1]])
