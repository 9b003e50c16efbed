"""The Compare page as a Dash app of its own, below /compare/ of the explorer's server."""

from functools import partial

import dash
from flask import Flask

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web.compare.page import KEYS, page
from trs_explorer.web.compare.posted import ADDRESS, CHECKS
from trs_explorer.web.compare.section_callbacks import add_sections
from trs_explorer.web.compare.state_callback import add_state
from trs_explorer.web.pages import dash_document
from trs_explorer.web.posted import refuse_malformed
from trs_explorer.web.slice_cache import SliceCache

MODULES = ("panels.mjs", "shared.mjs")  # of the Explore page, which the script imports


def create_compare(server: Flask, library: Library, jobs: Jobs, *, url_prefix: str = "") -> dash.Dash:
    """Add the Compare page to a server, at /compare. All that it loads is below /compare/, except explorer.css and MODULES.

    It is an app of its own, because Dash spends time on every component of an app at every change of a store.

    url_prefix: the path before all of the page's addresses, as "/path"; `access.protect` removes it from requests.
    """
    app = dash.Dash(
        "trs_explorer.compare",
        server=server,
        assets_folder=str(folder("assets") / "web" / "compare"),
        external_stylesheets=[f"{url_prefix}/assets/explorer.css"],
        title="trs compare",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,
        requests_pathname_prefix=f"{url_prefix}/compare/",
        routes_pathname_prefix="/compare/",
    )
    slices = SliceCache()
    preload = "".join(f'<link rel="modulepreload" href="{url_prefix}/assets/{name}">' for name in MODULES)
    app.layout = lambda: page(library.names, url_prefix, readonly=library.readonly)
    app.interpolate_index = partial(_index, preload)
    server.get("/compare", endpoint="compare")(app.index)
    refuse_malformed(server, CHECKS, ADDRESS)
    add_state(app, library, url_prefix)
    add_sections(app, library, jobs, slices)
    return app


def _index(head: str, **parts: str) -> str:
    return dash_document(parts, keys=KEYS, head=head)
