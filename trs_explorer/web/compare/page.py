"""The Compare page as Dash components: its sections, and the stores through which its callbacks pass on what they found."""

import secrets
from collections.abc import Sequence

from dash import dcc, html

from trs_explorer.figures.theme import LOOKS, template
from trs_explorer.files import Json
from trs_explorer.web import controls
from trs_explorer.web.compare.pair import ALONG
from trs_explorer.web.page import BEAT_MS, GRAPH, POLL_MS, empty_graph, scrolling, section
from trs_explorer.web.pages import PAGES

STORES = (
    "state",  # resolved: every field of the address has a valid value; and both weights' digests
    "run-fields", "slice-fields", "attack-fields", "measure-fields",  # the parts of it that a section depends on
    "settled",  # measure-fields, once nothing has changed for a moment
    "fine",  # the slices, by side, of which a coarse grid is on the screen: the finer one is asked for
    "slices-a", "slices-b", "attack-data",  # what the figures are put together from
    "live-drawn",  # what the chart of the measured accuracies shows
    "newest",  # what both runs have saved
    "look",  # "light" or "dark", as the page is drawn now
)  # fmt: skip
FILLED = (
    "matrix-a", "matrix-b", "words-a", "words-b", "shares-a", "shares-b", "live-table", "cosine-table", "curves-table", "table1",
)  # fmt: skip
KEYS = (
    ("s", "swap A and B"),
    (", and .", "the image before, the next one"),
    ("p", "the next plane"),
    ("t", "dark or light"),
    ("?", "this list"),
)
TITLES = {
    "live": "Robust accuracy over ε, measured now",
    "cosine": "|cos| against transfer",
    "robust": "Robust accuracy against transfer",
    "curves": "Robust accuracy over ε, every attack evaluated",
    "numbers": "|cos| and transfer",
    "table": "The paper's Table 1",
}


def page(runs: Sequence[str], url_prefix: str, *, readonly: bool) -> html.Div:
    """Build the page. runs: the names of all runs.  url_prefix: the path before all addresses, as "/path"."""
    return html.Div([
        dcc.Location(id="address", refresh=False),
        *(dcc.Store(id=name) for name in (*STORES, *(f"{name}-html" for name in FILLED))),
        dcc.Store(id="remembered", storage_type="local"),  # the runs B that the user has chosen, by data set
        dcc.Store(id="client", data=secrets.token_hex(8)),
        dcc.Store(id="looks", data={name: template(name) for name in LOOKS}), dcc.Store(id="graph", data=empty_graph()),
        dcc.Interval(id="beat", interval=BEAT_MS), dcc.Interval(id="poll", interval=POLL_MS, disabled=True),
        dcc.Store(id="alive"), dcc.Download(id="download"),
        html.A("Skip to the slices", href="#sides", className="skip"),
        _header(runs, url_prefix, readonly),
        html.Div(id="gone", role="alert"), html.Div(id="notice", role="status"),
        html.Main([
            _slices(),
            *map(_transfer, "ab"),
            _chart("live", ["live-table", "the measured accuracies in numbers"]),
            _chart("cosine"),
            _chart("robust"),
            _chart("curves", ["curves-table", "the stored accuracies in numbers"]),
            section("numbers", TITLES["numbers"], [scrolling("cosine-table", "cosine and transfer in numbers")]),
            section("table", TITLES["table"], [scrolling("table1", "the table in numbers")]),
        ], id="rooms"),
    ], id="compare")  # fmt: skip


def _header(runs: Sequence[str], url_prefix: str, readonly: bool) -> html.Header:
    links = [
        html.A(title, href=f"{url_prefix}/{path}", id=f"nav-{path or 'explore'}",
               **({"aria-current": "page"} if path == "compare" else {}))
        for path, title in PAGES.items()
    ]  # fmt: skip
    names = {name: name for name in runs}
    return html.Header([
        html.H1("trs explore"),
        html.Nav(links, **{"aria-label": "pages"}),
        controls.select("a", "A", names),
        html.Button("swap", id="swap", title="exchange A and B (s)"),
        controls.select("b", "B", names),
        html.Span(className="stretch"),
        html.Span("read-only", className="tag") if readonly else None,
        html.Button("handout", id="handout", title="one offline HTML file"),
        html.Button("copy link", id="link", title="a link that brings this screen back"),
        controls.theme_select(),
        html.Button("?", id="help-button", title="keys", **{"aria-label": "keys"}),
    ])  # fmt: skip


def _slices() -> html.Section:
    chosen = [
        controls.number("image", "image"), controls.select("along", "plane", ALONG),
        controls.number("span", "± span", step="any"), controls.number("seed", "seed"), *controls.attack_controls(),
    ]  # fmt: skip
    return section("sides", "One image, one plane, one scale", [
        html.Div(chosen, className="row"),
        html.P(id="slice-error", className="warn"),
        *map(_side, "ab"),
        html.P(id="plane-words", className="small"),
    ])  # fmt: skip


def _side(side: str) -> html.Div:
    table = html.Details([html.Summary("table"), scrolling(f"shares-{side}", f"share of the square by class, {side.upper()}")])
    return html.Div([
        html.Div([html.H3(side.upper(), id=f"name-{side}"), table], className="row folds"),
        html.Div(html.Div(id=f"graph-{side}-room"), id=f"side-{side}", role="group",
                 **{"aria-label": f"slices of {side.upper()}"}),
    ], className="side")  # fmt: skip


def _transfer(side: str) -> html.Section:
    numbers = scrolling(f"matrix-{side}", f"the matrix of {side.upper()} in numbers")
    return section(f"transfer-{side}", f"Transfer in {side.upper()}", [numbers, html.P(id=f"words-{side}")])


def _chart(name: str, table: Sequence[str] = ()) -> html.Section:
    drawn = scrolling(f"{name}-chart", f"chart: {TITLES[name]}")
    folded = [html.Details([html.Summary("table"), scrolling(*table)])] if table else []
    return section(name, TITLES[name], [drawn, html.P(id=f"{name}-words"), *folded])


def chart(figure: Json | None) -> dcc.Graph | None:
    """Build a chart; None without a figure: the sentence below it says why."""
    if figure is None:
        return None
    return dcc.Graph(figure=figure, config=GRAPH, responsive=True, style={"height": f"{figure['layout']['height']}px"})
