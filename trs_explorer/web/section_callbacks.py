"""The callbacks of the other sections: transfer matrix, gallery, angles, bounds, training, uploads.

They follow the store "settled": the state, once the slice of it is on the screen and nothing has changed for a moment.
"""

from functools import partial
from typing import Any

import dash
import torch
from dash import ClientsideFunction, Input, Output, ctx, no_update
from dash import State as Held

from trs_explorer.explore.angles import angles, angles_sentence
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Full, Jobs, Snapshot
from trs_explorer.explore.library import Library
from trs_explorer.figures.training_figure import training_spec
from trs_explorer.files import Json
from trs_explorer.web import custom_attacks, gallery, history, matrix
from trs_explorer.web.bounds_callback import add_bounds
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.markup import markup
from trs_explorer.web.page import FILLED, history_graph
from trs_explorer.web.page_request import NO_UPLOADS, PageRequest, image_name, parse_request
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.state_callbacks import SHOWN_ERRORS

WAITED_BEATS = 4  # of the page (1.5 s each), between two requests for a run that is still read


def add_sections(app: dash.Dash, library: Library, jobs: Jobs, slices: SliceCache) -> None:
    """Add the callbacks."""
    _add_transfer(app, library, jobs, slices)
    _add_gallery(app, library, jobs)
    _add_angles(app, library, slices)
    add_bounds(app, library, jobs)
    _add_history(app, library)
    _add_upload(app, library)
    app.clientside_callback(
        ClientsideFunction("explorer", "fill"),
        *(Input(f"{name}-html", "data") for name in FILLED),
        prevent_initial_call=True,
    )
    add_custom_options(app)
    app.clientside_callback(ClientsideFunction("explorer", "mark"), Input("state", "data"))
    app.clientside_callback(
        ClientsideFunction("explorer", "beat"),
        Output("alive", "data"),
        Output("gone", "children"),
        Input("beat", "n_intervals"),
    )


def add_custom_options(app: dash.Dash) -> None:
    """Add the callback that puts the options of an attack of others into the form; its controls set "options" (shared.mjs)."""

    @app.callback(Output("custom-options-html", "data"), Input("state", "data"), Held("custom-options-html", "data"))
    def controls_of_options(state: Json | None, shown: str | None) -> Any:
        if not state or "error" in state:
            raise dash.exceptions.PreventUpdate
        form = markup(custom_attacks.form(str(state["attack"]), str(state["options"])))
        return no_update if form == (shown or "") else form


def matrix_snapshot(jobs: Jobs, request: PageRequest, *, again: bool = False) -> Snapshot:
    """Return the requested matrix as far as it is measured; start it if necessary. again: the page polls a second time."""
    key = matrix.matrix_key(request.loaded, request.state)
    make = partial(matrix.measure_matrix, request.loaded, request.state)
    return jobs.follow(key, f"matrix of {request.client}", make, again=again)


def _request(library: Library, state: Json, client: str) -> PageRequest:
    return parse_request(library, {**state, "client": client})


def _add_transfer(app: dash.Dash, library: Library, jobs: Jobs, slices: SliceCache) -> None:
    @app.callback(
        Output("matrix-html", "data"),
        Output("transfer-words", "children"),
        Output("transfer-summary", "children"),
        Output("poll", "disabled"),
        Output("measured", "data"),
        Input("settled", "data"),
        Input("poll", "n_intervals"),
        Held("client", "data"),
        prevent_initial_call=True,
    )
    def transfer(state: Json | None, polls: int | None, client: str) -> tuple:
        del polls
        if not state:
            raise dash.exceptions.PreventUpdate
        if "error" in state:
            return "", "", "", True, {}
        again = ctx.triggered_id == "poll"
        try:
            request = _request(library, state, client)
            snapshot = matrix_snapshot(jobs, request, again=again)
        except SHOWN_ERRORS as error:  # if too many jobs run, the page polls again
            return "", "", str(error), not isinstance(error, Full), {}
        value, done = snapshot.value, snapshot.state != "running"
        matrix_so_far = (
            value.matrix if isinstance(value, matrix.PartialMatrix) else matrix.empty_matrix(len(request.loaded.ensemble))
        )
        words = matrix.matrix_caption(snapshot, request.state, request.loaded)
        summary = matrix.matrix_summary(snapshot, request.state, request.loaded) or words
        about = matrix.matrix_settings(request.state, request.loaded, matrix_so_far.n)
        selected = request.state.surrogate, request.state.target
        table = markup(matrix.matrix_table(matrix_so_far, selected=selected, about=about))
        # What follows from the matrix is drawn when it starts and when it is done: Dash drops an answer that a newer question
        # overtakes, so that what takes longer than a poll would never appear. Only its own filters follow every batch.
        follows = not again or done or request.state.filter in gallery.MATRIX_FILTERS
        measured = {"state": state, "n": matrix_so_far.n, "done": done} if follows else no_update
        return table, words, summary, done, measured

    @app.callback(Output("strip-html", "data"), Input("measured", "data"), Held("client", "data"), prevent_initial_call=True)
    def thumbnails(measured: Json | None, client: str) -> str:
        if not measured:
            return ""
        try:
            request = _request(library, measured["state"], client)
            value = matrix_snapshot(jobs, request, again=True).value
            if not isinstance(value, matrix.PartialMatrix) or not measured.get("done"):
                return ""
            chosen = request.state.surrogate, request.state.target
            key = ("thumbnails", matrix.matrix_key(request.loaded, request.state), value.matrix.n, chosen)
            compute = partial(matrix.example_thumbnails, request.loaded, request.state, value.matrix)
            with PROCESS_LOCK.hold():
                return markup(slices.remembered(key, compute))
        except SHOWN_ERRORS:
            return ""  # the matrix's own callback shows the message


def _add_gallery(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(
        Output("gallery-html", "data"),
        Output("gallery-key", "data"),
        Output("gallery-words", "children"),
        Output("picked-words", "children"),
        Output("upload-words", "children", allow_duplicate=True),
        Input("measured", "data"),
        Held("settled", "data"),
        Held("gallery-key", "data"),
        Held("own", "data"),
        Held("client", "data"),
        prevent_initial_call=True,
    )
    def images(measured: Json | None, state: Json | None, shown: str | None, upload: str | None, client: str) -> tuple:
        if not state:
            raise dash.exceptions.PreventUpdate
        if "error" in state:
            return "", "", "", "", ""
        try:
            request = _request(library, state, client)
            with PROCESS_LOCK.hold():
                snapshot = partial(matrix_snapshot, jobs, request, again=True)
                indices, sentence = gallery.filtered_images(request.loaded, request.state, lambda: snapshot().value)
                key = f"{request.loaded.data.name} {indices}"
                buttons = no_update if key == shown else markup(gallery.image_buttons(request.loaded, indices))
                picked = gallery.picked_sentence(request.loaded, request.state)
        except SHOWN_ERRORS as error:
            return "", "", str(error), no_update, no_update
        spoken = no_update if request.state.own or upload else ""  # what was said of an uploaded picture ends with it
        return buttons, key, sentence, picked, spoken


def _add_angles(app: dash.Dash, library: Library, slices: SliceCache) -> None:
    @app.callback(
        Output("angle-words", "children"), Output("angle-table-html", "data"), Input("settled", "data"), prevent_initial_call=True
    )
    def measure(state: Json | None) -> tuple:
        if not state or "error" in state:
            return "", ""
        try:
            request = parse_request(library, state)
        except SHOWN_ERRORS:
            return "", ""  # the slice's own callback shows the message
        wanted = request.state
        settings = {"eps": wanted.eps, "norm": wanted.norm, "seed": wanted.seed}
        measure_angles = readable_code_errors(angles)
        try:
            with PROCESS_LOCK.hold():
                view = slices.view(request)
            compute = partial(measure_angles, request.loaded.ensemble, view.x[None], torch.tensor([view.y]), **settings)
            key = ("angles", view.loaded.identity, view.x.numpy().tobytes(), *settings.values())
            with PROCESS_LOCK.hold(interactive=not view.is_heavy):  # of a heavy model, grids go first
                measured = slices.remembered(key, partial(compute, between=PROCESS_LOCK.yield_turn))
        except SHOWN_ERRORS as error:
            return str(error), ""
        i, j = wanted.surrogate, wanted.target
        pair = (i, j) if i != j and max(i, j) < len(request.loaded.ensemble) else None
        at = f"At {image_name(request)}"
        return angles_sentence(measured, pair=pair, at=at), markup(history.angle_table(measured))


def _add_history(app: dash.Dash, library: Library) -> None:
    @app.callback(
        Output("history-chart", "children"),
        Output("history-table-html", "data"),
        Output("run-words", "children"),
        Output("history-shown", "data"),
        Input("settled", "data"),
        Input("alive", "data"),
        Input("look", "data"),
        Held("history-shown", "data"),
        prevent_initial_call=True,
    )
    def follow(state: Json | None, beats: int | None, look: str | None, shown: list | None) -> tuple:
        del beats
        name = (state or {}).get("run")
        if not state or not name:
            raise dash.exceptions.PreventUpdate
        try:
            events, checkpoints = library.events(name), library.checkpoints(name)
            config = library.run(name).config
            status = history.status_line(config, library.status(name), events, checkpoints)
        except SHOWN_ERRORS as error:
            return None, "", str(error), []
        chosen = str(state.get("at") or "") or (checkpoints[-1] if checkpoints else "")
        now = [name, len(events), chosen, look, status]
        if shown == now:
            raise dash.exceptions.PreventUpdate
        if config.imported:
            return None, "", status, now
        at_step = history.step_of(events, chosen)
        figure = training_spec(events, at_step=at_step, kept=checkpoints, look=look or "light")
        chart = history_graph(figure) if figure["data"] else "No step of the training is in the log yet."
        return chart, markup(history.history_table(events)), status, now

    @app.callback(
        Output("newest", "data"), Input("alive", "data"), Held("state", "data"), Held("newest", "data"), prevent_initial_call=True
    )
    def newest(beats: int | None, state: Json | None, before: Json | None) -> Any:
        """Notice that a run has saved more, or has gone, or that one has come: the state is then resolved again.

        Also as long as another request reads it.
        """
        name = (state or {}).get("run") or ""
        try:
            now = {"run": name, "saved": library.checkpoints(name) if name else [], "runs": library.names}
        except SHOWN_ERRORS as error:
            now = {"run": name, "error": str(error), "runs": library.names}
        again = {"again": (beats or 0) // WAITED_BEATS} if (state or {}).get("busy") else {}
        return no_update if now | again == before else now | again


def _add_upload(app: dash.Dash, library: Library) -> None:
    @app.callback(
        Output("own", "data", allow_duplicate=True),
        Output("upload-words", "children"),
        Output("upload", "contents"),
        Input("upload", "contents"),
        Held("state", "data"),
        prevent_initial_call=True,
    )
    def upload(contents: str | None, state: Json | None) -> tuple:
        """Set the picture. The component is emptied: the same file again is then a change too."""
        if not contents or not state or not state.get("run"):
            raise dash.exceptions.PreventUpdate
        if library.readonly:
            return no_update, NO_UPLOADS, None
        try:
            pixels, conversion = gallery.decode_upload(contents, library.run(state["run"]).config.data)
        except SHOWN_ERRORS as error:
            before = "; the slices still show the picture before" if state.get("own") else ""
            return no_update, f"{error}{before}", None
        return pixels, f"({conversion})", None
