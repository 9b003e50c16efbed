"""The lesson as a Dash app of its own, below /lesson/ of the explorer's server, and its pages without Dash."""

from functools import partial

import dash
from dash import html
from flask import Flask, redirect, request

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web.lesson.callbacks import add_callbacks
from trs_explorer.web.lesson.deck import CARDS
from trs_explorer.web.lesson.page import KEYS, TITLE, card_title, page, question, unknown_card_page
from trs_explorer.web.lesson.posted import ADDRESS, CHECKS
from trs_explorer.web.lesson.state import parse_address
from trs_explorer.web.lesson.teacher import teacher_page
from trs_explorer.web.markup import markup
from trs_explorer.web.pages import at, dash_document, preload
from trs_explorer.web.posted import refuse_malformed

START = "lesson.mjs"  # imports the other scripts
MODULES = ("keys.mjs", "one-attack.mjs", "zigzag.mjs", "drawing.mjs")


def create_lesson(server: Flask, library: Library, jobs: Jobs, *, url_prefix: str = "") -> dash.Dash:
    """Add the lesson to a server: /lesson, /lesson/NAME, /lesson/teacher, and below /lesson/ what its Dash app loads.

    url_prefix: the path before all of the page's addresses, as "/path"; `access.protect` removes it from requests.
    """
    names = {card.name for card in CARDS}
    server.get("/lesson", endpoint="lesson")(lambda: redirect(at(f"/lesson/{CARDS[0].name}")))
    server.get("/lesson/teacher", endpoint="teacher")(lambda: teacher_page(CARDS))

    @server.get("/lesson/<path:name>", endpoint="card")  # before Dash takes all paths that nobody else does
    def card(name: str) -> str | tuple[str, int]:
        return app.index() if name in names else (unknown_card_page(CARDS, name), 404)

    app = dash.Dash(
        "trs_explorer.lesson",
        server=server,
        assets_folder=str(folder("assets") / "web" / "lesson"),
        assets_ignore=rf"^(?!{START}).*\.mjs$",
        external_stylesheets=[f"{url_prefix}/assets/explorer.css"],
        title=f"{TITLE} - trs lesson",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,
        requests_pathname_prefix=f"{url_prefix}/lesson/",
        routes_pathname_prefix="/lesson/",
    )
    scripts = ["/assets/shared.mjs", *(f"/lesson/assets/{name}" for name in MODULES)]
    app.layout = lambda: page(CARDS, url_prefix)
    app.interpolate_index = partial(_index, preload(url_prefix, *scripts))
    refuse_malformed(server, CHECKS, ADDRESS)
    add_callbacks(app, library, jobs)
    return app


def _index(head: str, **parts: str) -> str:
    """Return the page's HTML: the card's question stands there until Dash has started. parts: what Dash puts into it."""
    state = parse_address(CARDS, request.path, request.query_string.decode("utf-8", "replace"))
    number = CARDS.index(state.card) + 1
    still = html.Div([
        html.Header(html.H1(TITLE)),
        html.Div([
            html.H2(card_title(number, state.card)),
            html.Div(className="left"),
            html.Div([] if state.reveal else question(state), className="right"),
        ], className="card"),
    ], id="still", className=f"theme-{state.theme or 'auto'}", **{"aria-hidden": "true"})  # fmt: skip
    parts["title"] = markup(f"{state.card.title} - trs lesson")
    return dash_document(parts, keys=KEYS, head=head, before=markup(still))
