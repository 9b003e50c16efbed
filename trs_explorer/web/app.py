"""The explorer as a Dash app: its pages, and the HTML that stands there until Dash has started."""

from functools import partial

import dash
from dash import html
from flask import Response, request

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import assemble, with_vote
from trs_explorer.figures.pixels import class_picture
from trs_explorer.shipped import folder
from trs_explorer.web.compare.app import create_compare
from trs_explorer.web.exports import add_exports
from trs_explorer.web.film import add_film
from trs_explorer.web.lesson.app import create_lesson
from trs_explorer.web.markup import markup
from trs_explorer.web.page import KEYS, page
from trs_explorer.web.page_request import parse_request
from trs_explorer.web.pages import PLOTLY_JS, dash_document, no_runs_page, preload, unknown_page
from trs_explorer.web.plotly_script import plotly_script
from trs_explorer.web.posted import CHECKS, refuse_malformed
from trs_explorer.web.section_callbacks import add_sections
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_callbacks import add_slices
from trs_explorer.web.state_callbacks import SHOWN_ERRORS, add_state

START = "explorer.mjs"  # imports the other scripts
MODULES = ("at_once.mjs", "crosshair.mjs", "panels.mjs", "shared.mjs", "view.mjs")
NO_SCRIPTS = ("compare", "lesson", "plotly")  # folders of assets/web with what the Explore page does not load
ONE_DAY_S = 86400
STILL_S = 2.0  # that the page waits for its first picture


def create_app(library: Library, *, readonly: bool = False, url_prefix: str = "", command: str = "trs explore") -> dash.Dash:
    """Create the explorer for a library of runs, as a Dash app (`.server` is the Flask app).

    readonly: requests can only read; pictures cannot be uploaded. From now on the library's errors name no folders.
    url_prefix: the path before all of the page's addresses, as "/path"; `access.protect` removes it from requests.
    command: what starts the server: a page whose server has gone says so.
    """
    library.readonly = library.readonly or readonly
    app = dash.Dash(
        "trs_explorer",
        assets_folder=str(folder("assets") / "web"),
        assets_path_ignore=list(NO_SCRIPTS),
        assets_ignore=rf"^(?!{START}).*\.mjs$",
        title="trs explore",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,
        requests_pathname_prefix=f"{url_prefix}/",
        routes_pathname_prefix="/",
    )
    slices, jobs = SliceCache(), Jobs()
    app.layout = lambda: page(library.names, app.get_relative_path, readonly=library.readonly)
    app.interpolate_index = partial(_index, library, slices, preload(url_prefix, *(f"/assets/{name}" for name in MODULES)))
    app.server.before_request(_no_such_page)
    app.server.before_request(partial(_no_runs_left, library))
    refuse_malformed(app.server, CHECKS)
    app.server.get(PLOTLY_JS)(_plotly_js)
    app.server.get("/alive")(lambda: Response(command, headers={"Cache-Control": "no-store"}, mimetype="text/plain"))
    add_state(app, library, slices)
    add_slices(app, library, slices)
    add_sections(app, library, jobs, slices)
    add_exports(app, library, jobs, slices)
    add_film(app, library, jobs, slices)
    create_compare(app.server, library, jobs, url_prefix=url_prefix)
    create_lesson(app.server, library, jobs, url_prefix=url_prefix)
    return app


def _plotly_js() -> Response:
    headers = {"Cache-Control": f"max-age={ONE_DAY_S}"}
    return Response(plotly_script().read_bytes(), 200, headers, mimetype="text/javascript")


def _no_such_page() -> tuple[str, int] | None:
    """Return a page that says so for an address that a Dash app would answer with its own page, whatever it is."""
    return unknown_page(request.path) if str(request.endpoint).endswith("<path:path>") else None


def _no_runs_left(library: Library) -> Response | None:
    """Return a replacement for the page when the last run has gone."""
    return None if request.path not in ("/", "/compare") or library.names else no_runs_page()


def _index(library: Library, slices: SliceCache, head: str, **parts: str) -> str:
    """Return the page's HTML. parts: what Dash puts into it."""
    return dash_document(parts, keys=KEYS, head=head, before=_still(library, slices))


def _still(library: Library, slices: SliceCache) -> str:
    """Return a still picture of the slices, which is on the screen until the figure is; "" if it would take long."""
    fields = dict(request.args)
    try:
        wanted, view, samples = slices.coarse(lambda: parse_request(library, fields)).result(STILL_S)
        outputs = with_vote(view.loaded.ensemble, assemble([samples], view.grids))
    except (*SHOWN_ERRORS, TimeoutError):
        return ""
    hidden = wanted.state.hidden()
    panels = [
        html.Figure([html.Figcaption(name), html.Img(src=class_picture(outputs[:, :, k]), alt=f"slice of {name}")])
        for k, name in enumerate(view.models)
        if k not in hidden
    ]
    theme = wanted.state.theme
    return markup(html.Div([html.B("trs explore"), html.Div(panels)], id="still", className=f"theme-{theme}"))
