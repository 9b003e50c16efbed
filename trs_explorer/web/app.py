"""The Dash app: which callback fills which room. What they show is made by functions of the rooms' own modules.

JavaScript (assets/web) keeps the state. It fetches the slices itself (routes.py); for every other room it puts what the room must
know into the store "ask-ROOM", and the room's callback answers.
"""

import base64
from functools import partial

import dash
from dash import Input, Output, ctx, no_update
from dash import State as Has
from flask import Response, request

from trs_explorer.catalogue import DATA
from trs_explorer.explore.library import Library
from trs_explorer.explore.live import Full, Jobs, Snapshot, turn
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.shipped import folder
from trs_explorer.web import gallery, history, layout, matrix
from trs_explorer.web.asked import NO_OWN, PREFERRED, Asked, understand
from trs_explorer.web.compare.routes import add_compare
from trs_explorer.web.lesson.deck import add_lesson
from trs_explorer.web.markup import markup
from trs_explorer.web.pages import nothing_to_show
from trs_explorer.web.routes import add_routes
from trs_explorer.web.scene import names_of
from trs_explorer.web.state import defaults

OTHER_PAGES = ("compare", "lesson")  # folders of assets/web whose scripts are none of the explorer's
WRONG = (UsageError, RunError)  # what the page tells in words


def create_app(library: Library, *, readonly: bool = False) -> dash.Dash:
    """The explorer on a library of runs, as a Dash app (its `.server` is the Flask app).

    readonly: nothing can be sent to it but questions about what it has: no pictures of one's own. From now on the library's
    errors name no folders.
    """
    library.readonly = library.readonly or readonly
    app = dash.Dash(
        "trs_explorer",
        assets_folder=str(folder("assets") / "web"),
        assets_path_ignore=list(OTHER_PAGES),
        title="trs explore",
        update_title="",
        serve_locally=True,
    )
    app.interpolate_index = partial(_index, library)
    app.server.before_request(partial(_nothing_left, library))
    app.layout = layout.dash_part()
    jobs = Jobs()
    add_routes(app.server, library)
    add_compare(app.server, library, jobs)
    add_lesson(app.server, library, jobs)
    _browser_side(app)
    _choices(app, library)
    _transfer(app, library, jobs)
    _gallery(app, library, jobs)
    _history(app, library)
    _upload(app, library)
    return app


def _nothing_left(library: Library) -> Response | None:
    """Words in place of the page when the last run has gone."""
    return None if request.path != "/" or library.names else nothing_to_show()


def _index(library: Library, **parts: str) -> str:
    """The page, with the parts that Dash has for it."""
    known = library.runs()
    runs = {name: run.config.data for name, run in known.items()}
    first = PREFERRED if PREFERRED in known else next(iter(known))
    models = names_of(known[first].config.members)
    head = "".join(parts[name] for name in ("metas", "favicon", "css")) + f"<title>{parts['title']}</title>"
    scripts = sorted(
        parts["scripts"].split("\n"), key=lambda script: "assets/" not in script
    )  # ours first: the slice need not wait
    code = "".join([parts["config"], *scripts, parts["renderer"]])
    meta = layout.meta(defaults(first, runs[first]), runs)
    page = layout.page(list(runs), models, parts["app_entry"], readonly=library.readonly)
    return layout.document(head, page, meta, code)


def _browser_side(app: dash.Dash) -> None:
    """Stores and rooms that JavaScript looks after (assets/web/10-state.js)."""
    for name, function in layout.ANSWERS.items():
        app.clientside_callback(
            dash.ClientsideFunction("explorer", function), Output(name, "modified_timestamp"), Input(name, "data")
        )


def _choices(app: dash.Dash, library: Library) -> None:
    @app.callback(Output("choices", "data"), Input("ask-run", "data"), prevent_initial_call=True)
    def choices(wish: dict) -> dict:
        try:
            config = library.run(str(wish.get("run", ""))).config
        except WRONG:
            return no_update  # the scene says it
        names = names_of(config.members)
        models = markup(layout.options(layout.numbered(names)))
        classes = layout.options({"-1": "all", **{str(c): str(c) for c in range(DATA[config.data].classes)}})
        shown = markup(layout.show_buttons(names))
        return {"surrogate": models, "target": models, "label": markup(classes), "shown": shown}


def _transfer(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(Output("transfer-found", "data"), Input("ask-transfer", "data"), prevent_initial_call=True)
    def transfer(wish: dict) -> dict:
        try:
            asked = understand(library, wish)
            snapshot = measured(jobs, asked, again="again" in wish)
        except WRONG as error:  # where there is no room for it now, the page asks again
            words, done = markup(str(error)), not isinstance(error, Full)
            return {"transfer-words": words, "done": done, "matrix": "", "strip": "", "csv": ""}
        found, done = snapshot.value, snapshot.state != "running"
        told = {"transfer-words": markup(matrix.matrix_words(snapshot, asked.state, asked.loaded)), "done": done}
        if not isinstance(found, matrix.Measured):
            return {
                **told,
                "matrix": markup(matrix.matrix_table(matrix.empty_rate(len(asked.loaded.ensemble)))),
                "strip": "",
                "csv": "",
            }
        told["matrix"] = markup(matrix.matrix_table(found.matrix))
        if done or "again" not in wish:  # while it fills, the page asks again and again: examples can wait
            with turn():
                told["strip"] = markup(matrix.strip(asked.loaded, asked.state, found.matrix))
            csv = base64.b64encode(matrix.as_csv(asked.loaded, asked.state, found)).decode()
            told["csv"] = f"data:text/csv;base64,{csv}"
        return told


def measured(jobs: Jobs, asked: Asked, *, again: bool = False) -> Snapshot:
    """The matrix that was asked for, as far as it is; started if it was not. again: the page has asked before."""
    key = matrix.key(asked.loaded, asked.state)
    make = partial(matrix.measuring, asked.loaded, asked.state)
    return jobs.follow(key, f"matrix of {asked.client}", make, again=again)


def _gallery(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(Output("offered", "data"), Input("ask-gallery", "data"), prevent_initial_call=True)
    def pictures(wish: dict) -> dict:
        try:
            asked = understand(library, wish)
            with turn():
                buttons, words = gallery.offer(asked.loaded, asked.state, lambda: measured(jobs, asked).value)
        except WRONG as error:
            buttons, words = [], str(error)
        return {"gallery": markup(buttons), "gallery-words": markup(words)}


def _history(app: dash.Dash, library: Library) -> None:
    @app.callback(
        Output("history-chart", "children"),
        Output("story", "data"),
        Input("ask-history", "data"),
        Input("live", "n_intervals"),
        Has("story", "data"),
        prevent_initial_call=True,
    )
    def follow(wish: dict | None, beat: int, before: dict | None) -> tuple:
        del beat
        if not wish:
            return no_update, no_update
        name = str(wish.get("run", ""))
        try:
            events, checkpoints = library.events(name), library.checkpoints(name)
            words = history.status_words(library.run(name).config, library.status(name), events, checkpoints)
        except WRONG as error:
            return no_update, {"run-words": markup(str(error))}
        shown = before or {}
        # A beat while the answer to a wish is on its way makes Dash drop that answer: then the beat's own must have it.
        if ctx.triggered_id == "live" and markup(words) == shown.get("run-words") and wish == shown.get("asked"):
            return no_update, no_update
        chosen = str(wish.get("at") or "") or (checkpoints[-1] if checkpoints else "")
        figure = history.history_figure(events, at_step=history.step_of(events, chosen), dark=bool(wish.get("dark")))
        choices = layout.options({"": "newest", **{name: history.epoch_words(name) for name in checkpoints}})
        told = {"at": choices, "run-words": words, "history-table": history.history_table(events)}
        return layout.chart(figure), {name: markup(part) for name, part in told.items()} | {"asked": wish}


def _upload(app: dash.Dash, library: Library) -> None:
    @app.callback(Output("dropped", "data"), Input("upload", "data"), Has("ask-run", "data"), prevent_initial_call=True)
    def own(file: dict | None, wish: dict | None) -> dict:
        if not file or not wish:
            return no_update
        if library.readonly:
            return {"words": NO_OWN}
        try:
            packed, words = gallery.own_picture(str(file.get("contents", "")), library.run(str(wish.get("run", ""))).config.data)
        except WRONG as error:
            return {"words": str(error)}
        return {"own": packed, "words": f"own picture: {words}"}
