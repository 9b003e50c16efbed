"""The Dash app: which callback fills which room. What they show is made by functions of the rooms' own modules.

Requests go one way: JavaScript (assets/web) keeps the state and puts what a room must know into its store "ask-ROOM"; the room's
callback makes the state whole (`state.read`) and answers.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace

import dash
import torch
from dash import Input, Output, ctx, html, no_update
from dash import State as Has

from trs_explorer.explore.angles import angles, in_words
from trs_explorer.explore.library import Library, Loaded
from trs_explorer.explore.live import Jobs, Snapshot, turn
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.shipped import folder
from trs_explorer.web import gallery, history, layout, matrix
from trs_explorer.web.figures import slice_figure
from trs_explorer.web.routes import Scenes, add_routes
from trs_explorer.web.scene import image_of, make_scene, names_of, slice_words, the
from trs_explorer.web.state import State, defaults, read

PREFERRED = "mnist-trs"
WRONG = (UsageError, RunError)  # what the page tells in words


def create_app(library: Library, *, readonly: bool = False) -> dash.Dash:
    """The explorer on a library of runs, as a Dash app (its `.server` is the Flask app).

    readonly: nothing can be sent to it but questions about what it has: no pictures of one's own.
    """
    app = dash.Dash(
        "trs_explorer",
        assets_folder=str(folder("assets") / "web"),
        title="trs explore",
        update_title="",
        serve_locally=True,
    )
    app.layout = lambda: _page(library, readonly=readonly)
    scenes, jobs = Scenes(), Jobs()
    add_routes(app.server, scenes, library)
    _browser_side(app)
    _choices(app, library)
    _scene(app, library, scenes, readonly=readonly)
    _transfer(app, library, jobs)
    _gallery(app, library, jobs)
    _history(app, library)
    _upload(app, library, readonly=readonly)
    return app


def _page(library: Library, *, readonly: bool) -> html.Div:
    runs = {name: library.run(name).config.data for name in library.names}
    first = PREFERRED if PREFERRED in runs else next(iter(runs))
    return layout.page(defaults(first, runs[first]), runs, readonly=readonly)


@dataclass(frozen=True)
class Asked:
    """What a callback was asked, made whole: the state, on what, and what could not be had."""

    state: State
    loaded: Loaded
    complaints: list[str]
    dark: bool
    client: str


def understand(library: Library, wish: Mapping[str, object], *, readonly: bool = False) -> Asked:
    """Loads what a wish is about. Raises UsageError or RunError if that cannot be: in words, for the page."""
    name, at = str(wish.get("run", "")), str(wish.get("at") or "")
    run, complaints = library.run(name), []
    if at and at not in library.checkpoints(name):
        complaints.append(f"{name} has no checkpoint {at[:20]}: showing the newest")
        at = ""
    loaded = library.load(name, at)
    wish = {**wish, "at": at, **({"own": ""} if readonly else {})}
    state, more = read(wish, run=name, data=run.config.data, members=len(loaded.ensemble), images=len(loaded.data))
    if state.weights and not loaded.digest.startswith(state.weights):
        complaints.append(f"the link was made on other weights ({state.weights[:12]}), these are {loaded.digest[:12]}")
    state = replace(state, weights=loaded.digest[:12])
    return Asked(state, loaded, complaints + more, bool(wish.get("dark")), str(wish.get("client", ""))[:64])


def _browser_side(app: dash.Dash) -> None:
    """Stores and rooms that JavaScript looks after (assets/web/10-state.js)."""
    for name in ("meta", "scene", "dropped"):
        function = dash.ClientsideFunction("explorer", name)
        app.clientside_callback(function, Output(name, "modified_timestamp"), Input(name, "data"))
    for name in ("at", "surrogate", "shown", "matrix", "gallery"):
        function = dash.ClientsideFunction("explorer", "marked")
        app.clientside_callback(function, Output(name, "data-marked"), Input(name, "children"))


def _choices(app: dash.Dash, library: Library) -> None:
    @app.callback(
        Output("surrogate", "children"),
        Output("target", "children"),
        Output("label", "children"),
        Output("shown", "children"),
        Input("ask-run", "data"),
        prevent_initial_call=True,
    )
    def choices(wish: dict) -> tuple:
        try:
            asked = understand(library, wish)
        except WRONG:
            return (no_update,) * 4  # the scene says it
        names = names_of(len(asked.loaded.ensemble))
        models = layout.options({str(k): name for k, name in enumerate(names)})
        classes = layout.options({"-1": "all", **{str(c): str(c) for c in range(asked.loaded.data.classes)}})
        return models, models, classes, layout.show_buttons(names)


def _scene(app: dash.Dash, library: Library, scenes: Scenes, *, readonly: bool) -> None:
    @app.callback(
        Output("slices", "figure"),
        Output("scene", "data"),
        Output("slice-words", "children"),
        Output("angle-words", "children"),
        Output("angle-table", "children"),
        Output("picked-words", "children"),
        Output("notice", "children"),
        Input("ask-scene", "data"),
        prevent_initial_call=True,
    )
    def scene(wish: dict) -> tuple:
        try:
            with turn():
                asked = understand(library, wish, readonly=readonly)
                state, loaded = asked.state, asked.loaded
                made = make_scene(loaded, state)
                x, y, whose = image_of(loaded, state)
                found = angles(loaded.ensemble, x[None], torch.tensor([y]), eps=state.eps, seed=state.seed)
        except WRONG as error:
            return (*(no_update,) * 6, str(error))
        scenes.put(made, loaded)
        hidden = [int(k) for k in state.hide.split(",") if k]
        figure = slice_figure(made, hidden=hidden, surrogate=state.surrogate, dark=asked.dark)
        fixed = state.to_json()
        told = {
            **made.to_json(),
            "shown": [k for k in range(len(made.models)) if k not in hidden],
            "fixed": fixed,
            "corrected": [name for name, value in fixed.items() if not _same(wish.get(name), value)],
        }
        picked = f"own picture: taken as a {y} ({whose})" if state.own else f"{state.image}: class {y} ({whose})"
        fooled = [the(name) for k, name in enumerate(made.models) if made.fools(state.surrogate, k)]
        pair = (state.surrogate, state.target)
        sentence = in_words(
            found,
            fooled={the(made.models[state.surrogate]): fooled},
            pair=pair if max(pair) < len(loaded.ensemble) and pair[0] != pair[1] else None,
        )
        notice = "\n".join(asked.complaints)
        return figure, told, slice_words(made, state), sentence, history.angle_table(found), picked, notice


def _same(wished: object, value: object) -> bool:
    """Whether a wish was granted; nothing wished, nothing refused."""
    if wished in (None, ""):
        return True
    try:
        return float(str(wished)) == float(str(value))
    except ValueError:
        return str(wished) == str(value)


def _transfer(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(
        Output("matrix", "children"),
        Output("transfer-words", "children"),
        Output("strip", "children"),
        Output("beat", "disabled"),
        Output("save-matrix", "href"),
        Input("ask-transfer", "data"),
        Input("beat", "n_intervals"),
        prevent_initial_call=True,
    )
    def transfer(wish: dict | None, beat: int) -> tuple:
        del beat
        if not wish:
            return (no_update,) * 5
        try:
            asked = understand(library, wish)
        except WRONG as error:
            return no_update, str(error), no_update, True, no_update
        snapshot = measured(jobs, asked)
        found, ended = snapshot.value, snapshot.state != "running"
        words = matrix.matrix_words(snapshot, asked.state, len(asked.loaded.data))
        if not isinstance(found, matrix.Measured):
            return no_update, words, no_update, ended, no_update
        examples, link = no_update, no_update
        if ended or ctx.triggered_id == "ask-transfer":
            with turn():
                examples = matrix.strip(asked.loaded, asked.state, found.matrix)
            packed = base64.b64encode(matrix.as_csv(asked.loaded, asked.state, found)).decode()
            link = f"data:text/csv;base64,{packed}"
        return matrix.matrix_table(found.matrix), words, examples, ended, link


def measured(jobs: Jobs, asked: Asked) -> Snapshot:
    """The matrix that was asked for, as far as it is; started if it was not."""
    key = matrix.key(asked.loaded, asked.state)
    return jobs.start(key, f"matrix of {asked.client}", lambda: matrix.measuring(asked.loaded, asked.state))


def _gallery(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(
        Output("gallery", "children"),
        Output("gallery-words", "children"),
        Input("ask-gallery", "data"),
        Input("beat", "disabled"),
        prevent_initial_call=True,
    )
    def pictures(wish: dict | None, quiet: bool) -> tuple:
        if not wish or (ctx.triggered_id == "beat" and not (quiet and wish.get("filter") in gallery.MEASURED)):
            return no_update, no_update
        try:
            asked = understand(library, wish)
            with turn():
                return gallery.offer(asked.loaded, asked.state, lambda: measured(jobs, asked).value)
        except WRONG as error:
            return no_update, str(error)


def _history(app: dash.Dash, library: Library) -> None:
    @app.callback(
        Output("history-figure", "figure"),
        Output("at", "children"),
        Output("run-words", "children"),
        Output("history-table", "children"),
        Output("live", "disabled"),
        Input("ask-history", "data"),
        Input("live", "n_intervals"),
        Has("run-words", "children"),
        prevent_initial_call=True,
    )
    def follow(wish: dict | None, beat: int, before: str) -> tuple:
        del beat
        if not wish:
            return (no_update,) * 5
        name = str(wish.get("run", ""))
        try:
            run, events, checkpoints = library.run(name), library.events(name), library.checkpoints(name)
        except WRONG as error:
            return no_update, no_update, str(error), no_update, True
        words, alive = history.status_words(run, events)
        if ctx.triggered_id == "live" and words == before:
            return (*(no_update,) * 4, not alive)
        chosen = str(wish.get("at") or "") or (checkpoints[-1] if checkpoints else "")
        figure = history.history_figure(events, at_step=history.step_of(events, chosen), dark=bool(wish.get("dark")))
        choices = layout.options({"": "newest", **{name: history.epoch_words(name) for name in checkpoints}})
        return figure, choices, words, history.history_table(events), not alive


def _upload(app: dash.Dash, library: Library, *, readonly: bool) -> None:
    @app.callback(
        Output("dropped", "data"),
        Output("notice", "children", allow_duplicate=True),
        Input("upload", "contents"),
        Has("ask-scene", "data"),
        prevent_initial_call=True,
    )
    def own(contents: str | None, wish: dict | None) -> tuple:
        if not contents or not wish:
            return no_update, no_update
        if readonly:
            return no_update, "read-only: no pictures of one's own here"
        try:
            packed, words = gallery.own_picture(contents, library.run(str(wish.get("run", ""))).config.data)
        except WRONG as error:
            return no_update, str(error)
        return {"own": packed, "words": words}, f"own picture: {words}"
