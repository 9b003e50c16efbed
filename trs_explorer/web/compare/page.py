"""The Compare page as Dash components: its sections, and the stores through which its callbacks pass on their results."""

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
    "run-shown", "slice-shown", "attack-shown", "measure-shown",  # the same parts, as those that sections have answered
    "settled",  # measure-fields, once nothing has changed for a moment
    "fine",  # the slices, by side, of which a coarse grid is on the screen: the finer one is asked for
    "slices-a", "slices-b", "attack-data",  # what the figures are put together from
    "live-drawn",  # what the chart of the measured accuracies shows
    "newest",  # what both runs have saved
    "look",  # "light" or "dark", as the page is drawn now
)  # fmt: skip
# Elements whose content comes as HTML text, by the callback that writes it: Dash lets a callback wait for all of its inputs.
FILLED_TOGETHER = (
    ("shares-a", "shares-b"),
    ("matrix-a", "matrix-b", "words-a", "words-b", "live-table"),
    ("cosine-table", "robust-table", "curves-table", "table1"),
    ("custom-options",),
)
FILLED = tuple(name for names in FILLED_TOGETHER for name in names)
KEYS = (
    ("s", "swap A and B"),
    (", and .", "the image before, the next one"),
    ("p", "the next plane"),
    ("t", "dark or light"),
    ("?", "this list"),
)
# What a section says until it shows the state: by the parts of the state that it depends on.
WAITING = {
    "slice attack": "drawing for these settings ...",
    "measure": "measuring for these settings ...",
    "run": "reading what is stored ...",
}
TITLES = {
    "images": "One image, one plane, one scale",
    "points": "One point, one plane, one scale",
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
            _chart("live", "measure", ["live-table", "the measured accuracies in numbers"]),
            _chart("cosine", "run"),
            _chart("robust", "run", ["robust-table", "robust accuracy and transfer in numbers"]),
            _chart("curves", "run", ["curves-table", "the stored accuracies in numbers"]),
            section("numbers", TITLES["numbers"], [
                _box("run", [scrolling("cosine-table", "cosine and transfer in numbers")]),
            ]),
            section("table", TITLES["table"], [_box("run", [html.Div(id="table1")])]),
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
    radius, slider, *attack = controls.attack_controls()
    chosen = [
        controls.number("image", html.Span("image", id="example-word")), controls.select("along", "plane", ALONG),
        controls.number("span", "± span", step="any"), controls.number("seed", "seed"),
        html.Span([radius, slider], className="together"), *attack,
    ]  # fmt: skip
    return section("sides", TITLES["images"], [
        html.Div(chosen, className="row"),
        html.P(id="slice-error", className="warn"),
        _box("slice attack", [*map(_side, "ab"), html.P(id="plane-words", className="small")]),
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
    return section(f"transfer-{side}", f"Transfer in {side.upper()}", [
        _box("measure", [numbers, html.P(id=f"words-{side}")]),
    ])  # fmt: skip


def _chart(name: str, parts: str, table: Sequence[str] = ()) -> html.Section:
    drawn = scrolling(f"{name}-chart", f"chart: {TITLES[name]}")
    folded = [html.Details([html.Summary("table"), scrolling(*table)])] if table else []
    return section(name, TITLES[name], [_box(parts, [drawn, html.P(id=f"{name}-words"), *folded])])


def _box(parts: str, children: list) -> html.Div:
    """Build a box that is busy until it shows the state: its content is grey then, below a sentence (compare.css).

    parts: of the state, which the content depends on; a key of WAITING. The browser compares them (compare.mjs).
    """
    waiting = html.P(WAITING[parts], className="waiting")
    return html.Div([waiting, *children], className="box", **{"data-parts": parts, "aria-busy": "true"})


def chart(figure: Json | None) -> dcc.Graph | None:
    """Build a chart; None without a figure: the sentence below it says why."""
    if figure is None:
        return None
    return dcc.Graph(figure=figure, config=GRAPH, responsive=True, style={"height": f"{figure['layout']['height']}px"})
