"""The film of a run: its slices at every checkpoint, as one offline HTML file. Made in the background, with progress."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dash
from dash import Input, Output, ctx, dcc, no_update
from dash import State as Held

from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import assemble, coordinates, new_points, sample
from trs_explorer.figures.film import film_spec
from trs_explorer.figures.slice_data import Slice
from trs_explorer.figures.slice_figure import PAGE_PX
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.web.drawing import slice_to_draw
from trs_explorer.web.history import checkpoint_label, shown_checkpoint
from trs_explorer.web.markup import markup
from trs_explorer.web.page_request import PageRequest, image_name, parse_request
from trs_explorer.web.plotly_script import figure_html
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_view import SliceView, make_slice_view
from trs_explorer.web.state import SLICE_FIELDS, is_plane
from trs_explorer.web.state_callbacks import SHOWN_ERRORS

MAX_FRAMES = 60  # of a longer training, evenly spread
FRAME_LEVEL = 2  # of the grid


@dataclass(frozen=True)
class Progress:
    """How far a film is: checkpoints done and in all, and at the end the page's HTML."""

    done: int
    of: int
    page: str = ""


def add_film(app: dash.Dash, library: Library, jobs: Jobs, slices: SliceCache) -> None:
    """Add the callback of the button "film"."""

    @app.callback(
        Output("download", "data", allow_duplicate=True),
        Output("film-words", "children"),
        Output("film-poll", "disabled"),
        Output("film-state", "data"),
        Input("film", "n_clicks"),
        Input("film-poll", "n_intervals"),
        Held("state", "data"),
        Held("film-state", "data"),
        Held("client", "data"),
        prevent_initial_call=True,
    )
    def film(clicks: int | None, polls: int | None, state: Json | None, started: Json | None, client: str) -> tuple[Any, ...]:
        del clicks, polls
        again = ctx.triggered_id == "film-poll"
        wanted = started if again else state
        if not wanted or "error" in wanted:
            raise dash.exceptions.PreventUpdate
        try:
            request = parse_request(library, {**wanted, "client": client})
            with PROCESS_LOCK.hold():
                view = slices.view(request)
            key = ("film", view.key, *(getattr(request.state, name) for name in SLICE_FIELDS))
            snapshot = jobs.follow(key, f"film of {client}", partial(make_film, library, request, view), again=again)
        except SHOWN_ERRORS as error:
            return no_update, str(error), True, None
        progress = snapshot.value
        if snapshot.state == "running":
            words = f"{progress.done} of {progress.of} checkpoints" if isinstance(progress, Progress) else "loading checkpoints"
            return no_update, words, False, wanted
        if not isinstance(progress, Progress) or not progress.page:
            return no_update, snapshot.error or "no film was made", True, None
        return dcc.send_string(progress.page, f"film-{request.state.run}.html"), "", True, None


def make_film(library: Library, request: PageRequest, view: SliceView) -> Iterator[Progress]:
    """Sample the request's slice at every checkpoint, on the plane of the one that is shown; the last item has the page.

    Raises: UsageError if the run has fewer than two checkpoints.
    """
    run = request.state.run
    checkpoints = library.checkpoints(run)
    if request.loaded.run.config.imported:
        raise UsageError(f"{run} was trained elsewhere: it has one checkpoint, and a film shows a training")
    if len(checkpoints) < 2:
        raise UsageError(f"{run} has {len(checkpoints)} checkpoint: a film needs two or more (trs train --save-every 1)")
    last = len(checkpoints) - 1
    count = min(len(checkpoints), MAX_FRAMES)
    chosen = [checkpoints[round(k * last / (count - 1))] for k in range(count)]
    frames: list[Slice] = []
    for k, checkpoint in enumerate(chosen):
        yield Progress(k, count)
        frames.append(_frame(library, request, view, checkpoint))
    yield Progress(count, count, film_page(request, frames, [checkpoint_label(name) for name in chosen]))


def _frame(library: Library, request: PageRequest, view: SliceView, checkpoint: str) -> Slice:
    loaded = library.load(request.state.run, checkpoint)
    at_checkpoint = make_slice_view(loaded, replace(request.state, swap=0), plane=view.plane)
    at_checkpoint = replace(at_checkpoint, low=view.low, high=view.high, spanning=view.spanning, box=view.box)
    levels = range(FRAME_LEVEL + 1)
    points = [coordinates(new_points(level), level, low=view.low, high=view.high) for level in levels]
    return slice_to_draw(at_checkpoint, assemble([sample(loaded.ensemble, view.plane, level) for level in points]))


def film_page(request: PageRequest, frames: list[Slice], labels: list[str]) -> str:
    """Return one offline HTML file with the film."""
    state = request.state
    plane = "" if is_plane(request.loaded.data.name) else (
        f", {image_name(request)}; the plane is that of {shown_checkpoint(request.loaded)}"
    )  # fmt: skip
    caption = f"{state.run}, {labels[0]} to {labels[-1]}{plane}"
    figure = film_spec(frames, labels, caption=caption)
    figure["layout"]["width"] = PAGE_PX
    body = figure_html(figure, auto_play=False)
    title = markup(f"trs explore: {state.run}, {labels[0]} to {labels[-1]}")
    style = "body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem}"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>'
        f"<body><h1>{title}</h1>{body}</body></html>"
    )
