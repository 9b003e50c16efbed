"""The Explore page as Dash components: its sections, and the stores through which its callbacks pass on their results."""

import secrets
from collections.abc import Callable, Sequence

import dash_bootstrap_components as dbc
from dash import dcc, html

from trs_explorer.explore.pictures import MAX_FILE
from trs_explorer.figures.layers import KEYS as LAYER_KEYS
from trs_explorer.figures.layers import SCALES
from trs_explorer.figures.theme import LOOKS, template
from trs_explorer.files import Json
from trs_explorer.web import controls
from trs_explorer.web.pages import PAGES
from trs_explorer.web.state import ATTACK_OPTION_FIELDS

GRAPH = {"displayModeBar": False, "showSendToCloud": False, "plotlyServerURL": "", "responsive": True}
BEAT_MS, POLL_MS, SLICE_POLL_MS = 1500, 400, 1000
WIDTH, NARROWEST, WIDEST = 1800, 300, 6000  # pixels of a saved PNG
STORES = (
    "state",  # resolved: every field of the URL has a valid value
    "slice-state", "attack-state",  # the same, set only if something has changed that the slice or its attacks depend on
    "needed",  # which controls are on the screen
    "settled",  # the same, once its slice is on the screen and nothing has changed for a moment
    "measured",  # what follows from the matrix may be drawn
    "slice-data", "attack-data",  # what the figure is put together from
    "next",  # the grid that the page asks for
    "start", "own",  # fields of the state without a control
    "bounds-shown",  # which bounds, of how many images, the section shows
    "gallery-key",  # which images stand there
    "newest",  # what the run has saved
    "history-shown",  # which training, to what step, the curves show
    "look",  # "light" or "dark", as the page is drawn now
    "pointer",  # the crosshair
    "export",  # a figure to be saved
    "film-state",  # what a film is being made of
    "saved",  # only ends a callback of the browser
)  # fmt: skip
# Elements whose content comes as HTML text: every change of a store costs Dash time for every component on the page, and these
# would be hundreds.
FILLED = (
    "matrix", "strip", "gallery", "readout", "share-table", "angle-table", "bounds-table", "history-table", "custom-options"
)  # fmt: skip
KEYS = (
    ("left / right / up / down", "move the crosshair (with the slices in focus; Shift: further)"),
    ("Enter", "attack from the crosshair"),
    ("Escape", "attack from the image again"),
    (", and .", "the image before, the next one"),
    ("[ and ]", "the checkpoint before, the next one"),
    ("l", "the next layer"),
    ("p", "the next plane"),
    ("x", "exchange the axes"),
    ("t", "dark or light"),
    ("f", "presentation: slices and matrix alone"),
    ("?", "this list"),
)
SAVED = {
    "svg": "slices as SVG", "png": "slices as PNG", "csv": "logits as CSV", "npz": "logits as NPZ", "matrix-svg": "matrix as SVG",
    "matrix-png": "matrix as PNG", "matrix": "matrix as CSV", "bounds-svg": "bounds as SVG",
    "bounds-png": "bounds as PNG", "bounds": "bounds as CSV", "history": "history as CSV",
    "handout": "handout: one offline HTML file",
}  # fmt: skip


def page(runs: Sequence[str], address: Callable[[str], str], *, readonly: bool) -> html.Div:
    """Build the page. runs: the names of all runs.  address: the page's own address of a path, such as `get_relative_path`."""
    return html.Div([
        dcc.Location(id="address", refresh=False),
        *(dcc.Store(id=name) for name in (*STORES, *(f"{name}-html" for name in FILLED))),
        dcc.Store(id="client", data=secrets.token_hex(8)), dcc.Store(id="layer-keys", data=layer_keys()),
        dcc.Store(id="looks", data={name: template(name) for name in LOOKS}), dcc.Store(id="graph", data=empty_graph()),
        dcc.Interval(id="beat", interval=BEAT_MS), dcc.Interval(id="poll", interval=POLL_MS, disabled=True),
        dcc.Interval(id="bounds-poll", interval=POLL_MS, disabled=True),
        dcc.Interval(id="film-poll", interval=POLL_MS, disabled=True),
        dcc.Interval(id="slice-poll", interval=SLICE_POLL_MS, disabled=True),
        dcc.Store(id="alive"), dcc.Download(id="download"),
        html.A("Skip to the slices", href="#slice-box", className="skip"),
        _header(runs, address, readonly),
        html.Div(id="gone", role="alert"), html.Div(id="notice", role="status"),
        html.Main([_slices(), _transfer(), _pick(readonly), html.Div([_angles(), _bounds(), _history()], id="lower")],
                  id="rooms"),
    ], id="explorer")  # fmt: skip


def _header(runs: Sequence[str], address: Callable[[str], str], readonly: bool) -> html.Header:
    links = [
        html.A(title, href=address(f"/{path}"), id=f"nav-{path or 'explore'}", **({} if path else {"aria-current": "page"}))
        for path, title in PAGES.items()
    ]
    saves = [html.Button(text, id={"save": kind}) for kind, text in SAVED.items()]
    width = dbc.Input(id="save-width", type="number", value=WIDTH, min=NARROWEST, max=WIDEST)
    film = html.Button("film of the checkpoints: one offline HTML file", id="film")
    settings = html.Div([
        controls.labelled("save-width", "PNG width, px", width, f"[{NARROWEST}-{WIDEST}]"),
        dbc.Switch(id="save-white", label="on white", value=True),
    ], className="row")  # fmt: skip
    menu = html.Div([settings, *saves, film, html.Span(id="film-words", role="status")], className="menu")
    return html.Header([
        html.H1("trs explore"),
        html.Nav(links, **{"aria-label": "pages"}),
        *controls.header_controls(runs),
        html.Span("read-only", className="tag") if readonly else None,
        controls.switch("present", "present", "the slices and the matrix alone, in large type (f)"),
        html.Button("copy link", id="link", title="a link that brings this screen back"),
        html.Details([html.Summary("save"), menu], id="save", className="pop"),
        controls.theme_select(),
        html.Button("?", id="help-button", title="keys", **{"aria-label": "keys"}),
    ])  # fmt: skip


def _pick(readonly: bool) -> html.Section:
    upload = dcc.Upload(
        html.Button("upload picture", disabled=readonly, title="or drop a picture file here"),
        id="upload", accept="image/*", max_size=MAX_FILE, disabled=readonly,
    )  # fmt: skip
    upload_field = html.Div(upload, id="upload-label", **{"data-most": str(MAX_FILE)})
    return section("pick", "Pick", [
        html.Div(controls.pick_controls(), className="row"),
        html.Div([controls.number("image", "number"), upload_field], className="row"),
        html.P([html.Span(id="picked-words"), " ", html.Span(id="upload-words", role="status")]),
        html.Div(id="gallery", role="group", **{"aria-label": "images to pick from"}),
        html.P(id="gallery-words"),
    ])  # fmt: skip


def _slices() -> html.Section:
    return section("slice", "Slices", [
        html.Div(controls.slice_controls(), className="row"),
        html.Div([html.Div(id="slices-room"), html.Div(id="crosshair")], id="slice-box", tabIndex=0, role="group",
                 **{"aria-label": "slices: arrow keys move the crosshair, Enter attacks", "aria-describedby": "readout"}),
        html.P(id="slice-error", className="warn"),
        html.P(id="start-words", className="warn", role="status"),
        html.P(id="fooled-words", className="said"),
        html.P(id="attack-words", className="small"),
        html.Div([html.Span(id="layer-words"), html.Span(id="slice-progress"), html.Span(id="slice-status", role="status")],
                 className="row small"),
        html.Div([
            html.Details([html.Summary("at the crosshair"), scrolling("readout", "what the models predict at the crosshair")],
                         id="readout-box"),
            html.Details([html.Summary("how to read it"), html.P(id="slice-words"),
                          html.P("Click, or press Enter at the crosshair, to attack from there.")]),
            html.Details([html.Summary("table"), scrolling("share-table", "share of the square by class")]),
        ], className="row folds"),
    ])  # fmt: skip


def _transfer() -> html.Section:
    return section("transfer", "Transfer", [
        html.Div(controls.attack_controls(), className="row"),
        html.Div(id="matrix"),
        html.P(id="transfer-summary", role="status"),
        html.Details([html.Summary("what was measured"), html.P(id="transfer-words")]),
        html.Div(id="strip"),
    ], measured=("run", "weights", "eps", "norm", "attack", *ATTACK_OPTION_FIELDS, "seed", "n"))  # fmt: skip


def _angles() -> html.Section:
    return section("angles", "Angles and smoothness", [
        html.P(id="angle-words", className="said"),
        html.Details([html.Summary("table"), scrolling("angle-table", "angles in numbers")]),
    ], measured=("run", "weights", "image", "own", "surrogate", "target", "eps", "norm", "seed"))  # fmt: skip


def _bounds() -> html.Section:
    return section("bounds-room", "Bounds on transfer", [
        html.Div([controls.switch("bounds", "measure", "estimate the bounds of the paper's Theorems 1 and 2 on n images")],
                 className="row"),
        html.P(id="bounds-words", role="status"),
        scrolling("bounds-chart", "the bounds beside the measured transfer"),
        html.Details([html.Summary("why, and what was measured"), html.Div(id="bounds-sentences")]),
        html.Details([html.Summary("table"), scrolling("bounds-table", "the bounds in numbers")]),
    ], measured=("run", "weights", "seed", "n", "bounds"))  # fmt: skip


def _history() -> html.Section:
    slider = dbc.Input(id="scrub", type="range", min=0, max=1, step=1, value=1)
    return section("history", "Training", [
        html.P(id="run-words"),
        html.Label(["checkpoint ", slider, html.Output(id="scrub-value")], htmlFor="scrub", id="scrub-label"),
        scrolling("history-chart", "the training as curves"),
        html.Details([html.Summary("table"), scrolling("history-table", "the training in numbers")]),
    ])  # fmt: skip


def scrolling(name: str, label: str) -> html.Div:
    """Build a container for a table that may be wider than its section: it scrolls, with the keyboard too."""
    return html.Div(id=name, tabIndex=0, role="group", className="scrolling", **{"aria-label": label})


def section(name: str, title: str, children: list, *, measured: Sequence[str] = ()) -> html.Section:
    """Build a section of the page with its heading.

    measured: the fields of the state that its numbers depend on. While it still shows those of other values, it says so.
    """
    attributes = {"aria-labelledby": f"{name}-title", **({"data-measured": " ".join(measured)} if measured else {})}
    return html.Section([html.H2(title, id=f"{name}-title"), *children], id=name, **attributes)


def layer_keys() -> Json:
    """Return for every layer the component that explains its colours."""
    scales = {
        name: [
            f"{scale.name.capitalize()}: {scale.low}",
            html.I(className="scale", style={"background": scale.css()}),
            f"{scale.high}. ",
        ]
        for name, scale in SCALES.items()
    }
    return {name: html.Span([*scales.get(name, []), words]).to_plotly_json() for name, words in LAYER_KEYS.items()}


def empty_graph() -> Json:
    """Return the chart that the browser puts into the place of a figure with its first one: to draw an empty one takes 100 ms."""
    return dcc.Graph(config=GRAPH, responsive=True, style={"height": "100%"}).to_plotly_json()


def bounds_graph(figure: Json) -> dcc.Graph:
    """Build the chart of the bounds."""
    return dcc.Graph(id="bounds-figure", figure=figure, config=GRAPH, style={"height": f"{figure['layout']['height']}px"})


def history_graph(figure: Json) -> dcc.Graph:
    """Build the training chart."""
    return dcc.Graph(id="history-figure", figure=figure, config=GRAPH, style={"height": "300px"})
