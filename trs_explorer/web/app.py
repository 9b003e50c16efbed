"""The Dash app: which callback fills which section of the page. The content is built by the sections' own modules.

JavaScript (assets/web) keeps the state. It fetches slices itself (routes.py). For every other section it writes the fields that
the section depends on into the store "ask-SECTION", and the section's callback responds.
"""

import base64
from functools import partial

import dash
from dash import Input, Output, ctx, no_update
from dash import State as StoredState
from flask import Response, request

from trs_explorer.catalogue import DATA
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Full, Jobs, Snapshot
from trs_explorer.explore.library import Library
from trs_explorer.figures.training import training_spec
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.shipped import folder
from trs_explorer.web import gallery, history, layout, matrix
from trs_explorer.web.compare.routes import add_compare
from trs_explorer.web.lesson.deck import add_lesson
from trs_explorer.web.markup import markup
from trs_explorer.web.page_request import NO_UPLOADS, PREFERRED, PageRequest, parse_request
from trs_explorer.web.pages import no_runs_page
from trs_explorer.web.routes import add_routes
from trs_explorer.web.slice_view import model_names
from trs_explorer.web.state import defaults

OTHER_PAGES = ("compare", "lesson")  # folders of assets/web with the scripts of other pages
SHOWN_ERRORS = (UsageError, RunError)  # whose message is shown on the page


def create_app(library: Library, *, readonly: bool = False, url_prefix: str = "") -> dash.Dash:
    """Create the explorer for a library of runs, as a Dash app (`.server` is the Flask app).

    readonly: requests can only read; pictures cannot be uploaded. From now on the library's errors name no folders.
    url_prefix: the path before all of the page's addresses, as "/path"; `access.protect` removes it from requests.
    """
    library.readonly = library.readonly or readonly
    app = dash.Dash(
        "trs_explorer",
        assets_folder=str(folder("assets") / "web"),
        assets_path_ignore=list(OTHER_PAGES),
        title="trs explore",
        update_title="",
        serve_locally=True,
        requests_pathname_prefix=f"{url_prefix}/",
        routes_pathname_prefix="/",
    )
    app.interpolate_index = partial(_index, library)
    app.server.before_request(partial(_no_runs_left, library))
    app.layout = layout.dash_part()
    jobs = Jobs()
    add_routes(app.server, library)
    add_compare(app.server, library, jobs)
    add_lesson(app.server, library, jobs)
    _add_clientside_callbacks(app)
    _add_choices(app, library)
    _add_transfer(app, library, jobs)
    _add_gallery(app, library, jobs)
    _add_history(app, library)
    _add_upload(app, library)
    return app


def _no_runs_left(library: Library) -> Response | None:
    """Return a replacement for the page when the last run has gone."""
    return None if request.path != "/" or library.names else no_runs_page()


def _index(library: Library, **parts: str) -> str:
    """Return the page's HTML. parts: what Dash puts into it."""
    library_runs = library.runs()
    runs = {name: run.config.data for name, run in library_runs.items()}
    first = PREFERRED if PREFERRED in library_runs else next(iter(library_runs))
    models = model_names(library_runs[first].config.members)
    head = "".join(parts[name] for name in ("metas", "favicon", "css")) + f"<title>{parts['title']}</title>"
    # ours first: slices need not wait for Dash
    scripts = sorted(parts["scripts"].split("\n"), key=lambda script: "assets/" not in script)
    code = "".join([parts["config"], *scripts, parts["renderer"]])
    meta = layout.meta(defaults(first, runs[first]), runs)
    page = layout.page(list(runs), models, parts["app_entry"], readonly=library.readonly)
    return layout.document(head, page, meta, code)


def _add_clientside_callbacks(app: dash.Dash) -> None:
    """Connect the stores that JavaScript reads (assets/web/10-state.js)."""
    for name, function in layout.RESPONSE_STORES.items():
        app.clientside_callback(
            dash.ClientsideFunction("explorer", function), Output(name, "modified_timestamp"), Input(name, "data")
        )


def _add_choices(app: dash.Dash, library: Library) -> None:
    @app.callback(Output("choices", "data"), Input("ask-run", "data"), prevent_initial_call=True)
    def choices(fields: dict) -> dict:
        try:
            config = library.run(str(fields.get("run", ""))).config
        except SHOWN_ERRORS:
            return no_update  # the slice's response shows the error
        names = model_names(config.members)
        models = markup(layout.options(layout.numbered(names)))
        classes = layout.options({"-1": "all", **{str(c): str(c) for c in range(DATA[config.data].classes)}})
        buttons = markup(layout.show_buttons(names))
        return {"surrogate": models, "target": models, "label": markup(classes), "shown": buttons}


def _add_transfer(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(Output("transfer-found", "data"), Input("ask-transfer", "data"), prevent_initial_call=True)
    def transfer(fields: dict) -> dict:
        empty = {"matrix": "", "strip": "", "csv": ""}
        try:
            parsed = parse_request(library, fields)
            snapshot = matrix_snapshot(jobs, parsed, again="again" in fields)
        except SHOWN_ERRORS as error:  # if too many jobs run, the page polls again
            return {**empty, "transfer-words": markup(str(error)), "done": not isinstance(error, Full)}
        partial_matrix, done = snapshot.value, snapshot.state != "running"
        response = {"transfer-words": markup(matrix.matrix_caption(snapshot, parsed.state, parsed.loaded)), "done": done}
        if not isinstance(partial_matrix, matrix.PartialMatrix):
            table = matrix.matrix_table(matrix.empty_matrix(len(parsed.loaded.ensemble)))
            return {**empty, **response, "matrix": markup(table)}
        response["matrix"] = markup(matrix.matrix_table(partial_matrix.matrix))
        if done or "again" not in fields:  # the page polls often while the matrix fills: thumbnails can wait
            with PROCESS_LOCK.hold():
                thumbnails = matrix.example_thumbnails(parsed.loaded, parsed.state, partial_matrix.matrix)
            response["strip"] = markup(thumbnails)
            csv = base64.b64encode(matrix.matrix_csv(parsed.loaded, parsed.state, partial_matrix)).decode()
            response["csv"] = f"data:text/csv;base64,{csv}"
        return response


def matrix_snapshot(jobs: Jobs, parsed: PageRequest, *, again: bool = False) -> Snapshot:
    """Return the requested matrix as far as it is measured; start it if necessary. again: the page polls a second time."""
    key = matrix.matrix_key(parsed.loaded, parsed.state)
    make = partial(matrix.measure_matrix, parsed.loaded, parsed.state)
    return jobs.follow(key, f"matrix of {parsed.client}", make, again=again)


def _add_gallery(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(Output("offered", "data"), Input("ask-gallery", "data"), prevent_initial_call=True)
    def images(fields: dict) -> dict:
        try:
            parsed = parse_request(library, fields)
            with PROCESS_LOCK.hold():
                buttons, sentence = gallery.image_buttons(
                    parsed.loaded, parsed.state, lambda: matrix_snapshot(jobs, parsed).value
                )
        except SHOWN_ERRORS as error:
            buttons, sentence = [], str(error)
        return {"gallery": markup(buttons), "gallery-words": markup(sentence)}


def _add_history(app: dash.Dash, library: Library) -> None:
    @app.callback(
        Output("history-chart", "children"),
        Output("story", "data"),
        Input("ask-history", "data"),
        Input("live", "n_intervals"),
        StoredState("story", "data"),
        prevent_initial_call=True,
    )
    def follow(fields: dict | None, n_intervals: int, previous: dict | None) -> tuple:
        del n_intervals
        if not fields:
            return no_update, no_update
        name = str(fields.get("run", ""))
        try:
            events, checkpoints = library.events(name), library.checkpoints(name)
            status = history.status_line(library.run(name).config, library.status(name), events, checkpoints)
        except SHOWN_ERRORS as error:
            return no_update, {"run-words": markup(str(error))}
        on_page = previous or {}
        # A timer tick while the response to a request is on its way makes Dash drop that response: the tick must repeat it.
        if ctx.triggered_id == "live" and markup(status) == on_page.get("run-words") and fields == on_page.get("asked"):
            return no_update, no_update
        chosen = str(fields.get("at") or "") or (checkpoints[-1] if checkpoints else "")
        look = "dark" if fields.get("dark") else "light"
        figure = training_spec(events, at_step=history.step_of(events, chosen), look=look)
        choices = layout.options({"": "newest", **{name: history.checkpoint_label(name) for name in checkpoints}})
        response = {"at": choices, "run-words": status, "history-table": history.history_table(events)}
        return layout.chart(figure), {name: markup(part) for name, part in response.items()} | {"asked": fields}


def _add_upload(app: dash.Dash, library: Library) -> None:
    @app.callback(Output("dropped", "data"), Input("upload", "data"), StoredState("ask-run", "data"), prevent_initial_call=True)
    def upload(file: dict | None, fields: dict | None) -> dict:
        if not file or not fields:
            return no_update
        if library.readonly:
            return {"words": NO_UPLOADS}
        try:
            data = library.run(str(fields.get("run", ""))).config.data
            pixels, conversion = gallery.decode_upload(str(file.get("contents", "")), data)
        except SHOWN_ERRORS as error:
            return {"words": str(error)}
        return {"own": pixels, "words": f"own picture: {conversion}"}
