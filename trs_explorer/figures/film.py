"""A film of a training: the slices at one checkpoint after another, on one plane, as a plotly figure with a slider."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trs_explorer.figures.pixels import class_picture
from trs_explorer.figures.slice_data import Slice
from trs_explorer.figures.slice_figure import PAGE_PX, class_key, key_room, slice_spec
from trs_explorer.files import Json

MOVING = ("boundaries", "class numbers")  # traces that differ between checkpoints
SECONDS = 0.9  # a checkpoint is shown
CONTROLS_PX = 70  # below the figure


def film_spec(slices: Sequence[Slice], labels: Sequence[str], *, look: str = "light", caption: str = "") -> Json:
    """Draw slices on one plane and square as frames of a figure, with a slider and a play button, as a plain dictionary.

    slices: one a checkpoint, the oldest first. Models, square and plane are those of the first.
    labels: of the checkpoints, such as "epoch 7".
    look: one of `theme.LOOKS`.
    caption: printed below the axes' names.
    Raises: ValueError without a slice, or if their squares, models or labels do not fit together.
    """
    first = slices[0] if slices else None
    if first is None:
        raise ValueError("a film needs at least one checkpoint")
    if len(labels) != len(slices) or any(
        (s.low, s.high, list(s.models)) != (first.low, first.high, list(first.models)) for s in slices
    ):
        raise ValueError("all slices of a film show the same square of the same models, with one label each")
    figure = slice_spec(first, look=look, caption=caption)
    figure["data"] = [trace for trace in figure["data"] if trace["name"] not in MOVING and not trace["showlegend"]]
    still, shown = len(figure["data"]), range(len(first.models))
    moving = [_moving(one) for one in slices]
    figure["data"] += moving[0] + class_key(_all_classes(slices), shown)
    pixels = len(first.models)  # the images after them do not move
    figure["frames"] = [
        {
            "name": label,
            "data": traces,
            "traces": list(range(still, still + len(traces))),
            "layout": {"images": [
                *(image | {"source": class_picture(one.outputs[:, :, model])}
                  for model, image in enumerate(figure["layout"]["images"][:pixels])),
                *figure["layout"]["images"][pixels:],
            ]},
        }
        for label, one, traces in zip(labels, slices, moving, strict=True)
    ]  # fmt: skip
    figure["layout"] |= _controls(labels)
    room = CONTROLS_PX + key_room(figure, PAGE_PX)
    figure["layout"]["margin"] = figure["layout"]["margin"] | {"b": figure["layout"]["margin"]["b"] + room}
    return figure


def _moving(one: Slice) -> list[Json]:
    """Return the moving traces of every model, empty ones included: a frame replaces traces by their place."""
    by_place = {
        (trace["xaxis"], trace["name"]): trace for trace in slice_spec(one)["data"] if trace["name"] in MOVING
    }  # fmt: skip
    axes = [str(k + 1) if k else "" for k in range(len(one.models))]
    empty = {"type": "scatter", "x": [], "y": [], "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    return [
        by_place.get((f"x{axis}", name), empty | {"name": name, "xaxis": f"x{axis}", "yaxis": f"y{axis}"})
        for axis in axes
        for name in MOVING
    ]


def _all_classes(slices: Sequence[Slice]) -> Slice:
    """Return a slice in which every class occurs that does in one of them."""
    return replace(slices[0], outputs=np.concatenate([one.outputs for one in slices]))


def _controls(labels: Sequence[str]) -> Json:
    ms = round(1000 * SECONDS)
    once = {"mode": "immediate", "transition": {"duration": 0}}
    play = once | {"fromcurrent": True, "frame": {"duration": ms, "redraw": True}}
    stop = once | {"frame": {"duration": 0, "redraw": True}}
    buttons = [
        {"label": "play", "method": "animate", "args": [None, play]},
        {"label": "pause", "method": "animate", "args": [[None], stop]},
    ]
    menu = {"type": "buttons", "direction": "left", "buttons": buttons, "x": 0, "y": 0, "xanchor": "left", "yanchor": "top",
            "pad": {"t": 92}, "showactive": False}  # fmt: skip
    steps = [{"label": label, "method": "animate", "args": [[label], stop]} for label in labels]
    slider = {"steps": steps, "x": 0.2, "len": 0.78, "y": 0, "yanchor": "top", "pad": {"t": 78}, "currentvalue": {"prefix": ""}}
    return {"updatemenus": [menu], "sliders": [slider]}
