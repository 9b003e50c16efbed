"""The HTML of the Explore page: its sections and controls. Callbacks (app.py) and assets/web/*.js fill them.

The page is served as plain HTML and appears at once. Dash, which takes longer to start, only fills the training section.
"""

import json
from collections.abc import Sequence

from dash import dcc, html

from trs_explorer.attack_catalogue import RADIUS_ATTACKS
from trs_explorer.explore.gallery import FILTERS
from trs_explorer.explore.pictures import MAX_FILE
from trs_explorer.files import Json
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.markup import Field, Html, markup
from trs_explorer.web.pages import as_script, keys_dialog, nav
from trs_explorer.web.state import (
    ATTACK_FIELDS,
    ATTACK_OPTION_FIELDS,
    CHOICES,
    LAYERS,
    NUMBERS,
    PLANES,
    SIZES,
    SLICE_FIELDS,
    State,
)

GRAPH = {"displayModeBar": False, "showSendToCloud": False, "plotlyServerURL": "", "responsive": True}

# The fields that each callback reads: the page calls it again only if one of them has changed.
GROUPS = {
    "run": ("run",),
    "transfer": ("run", "at", "surrogate", "target", "seed", "eps", "norm", "attack", *ATTACK_OPTION_FIELDS, "n"),
    "gallery": ("run", "at", "filter", "label", "surrogate", "target", "seed", "eps", "norm", "attack", *ATTACK_OPTION_FIELDS,
                "n"),
    "history": ("run", "at", "dark"),
}  # fmt: skip

# The stores in which responses arrive, and the function of assets/web/10-state.js that reads each.
RESPONSE_STORES = {
    "ready": "ready",
    "choices": "choices",
    "transfer-found": "transfer",
    "offered": "offered",
    "story": "story",
    "dropped": "dropped",
}

# Filters of the gallery that need the matrix.
MATRIX_FILTERS = ("transfers", "robust")

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
    ("?", "this list"),
)


def meta(first: State, runs: dict[str, str]) -> Json:
    """Return the data for the scripts: the initial state, and the name and data set of every run."""
    return {
        "asked": {"scene": SLICE_FIELDS, "walks": ATTACK_FIELDS, "surrogate": ATTACK_FIELDS, "angles": ATTACK_FIELDS},
        "groups": GROUPS,
        "measured": MATRIX_FILTERS,
        "first": first.to_json(),
        "runs": runs,
        "largest": MAX_FILE,
        "layers": list(LAYERS),
        "colours": CLASS_COLOURS,
    }


def page(runs: Sequence[str], models: Sequence[str], dash_entry: str, *, readonly: bool) -> str:
    """Build the page's body, without the training chart.

    runs: the names of all runs.
    models: the names of the models of the initial run.
    dash_entry: the HTML into which Dash renders `dash_part`.
    """
    sections = [_pick(readonly), _slices(models), _transfer(), _angles(), _history(dash_entry)]
    return markup([
        html.A("Skip to the slices", href="#slice-box", className="skip"),
        _header(runs, readonly),
        html.Div(id="notice", role="status"),
        html.Main(sections, id="rooms"),
        keys_dialog(KEYS),
    ])  # fmt: skip


def dash_part() -> html.Div:
    """Build what Dash manages: the training chart, and the stores for the callbacks' requests and responses."""
    stores = [dcc.Store(id=name, data=True if name == "ready" else None) for name in RESPONSE_STORES]
    requests = [dcc.Store(id=name) for name in ("upload", *(f"ask-{group}" for group in GROUPS))]
    return html.Div([*stores, *requests, dcc.Interval(id="live", interval=2000), html.Div(id="history-chart")])


def document(head: str, body: str, meta: Json, scripts: str) -> str:
    """Build the HTML document. head: Dash's style sheets.  scripts: all script elements."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>{head}</head>
<body><div id="explore">{body}</div>
{as_script(meta)}
<footer>{scripts}</footer></body>
</html>"""


def _header(runs: Sequence[str], readonly: bool) -> html.Header:
    return html.Header([
        html.H1("trs explore"),
        nav(""),
        select("run", "run", {name: name for name in runs}),
        select("at", "checkpoint", {"": "newest"}),
        html.Span(id="run-words"),
        html.Span("read-only", className="tag") if readonly else None,
        html.Button("copy link", id="link", title="a link that brings this screen back"),
        html.Details([
            html.Summary("save"),
            html.Div([
                html.Button("slices as PNG", **{"data-save": "png"}),
                html.Button("slices as SVG", **{"data-save": "svg"}),
                html.A("logits as CSV", id="save-csv", href="#", download=""),
                html.A("logits as NPZ", id="save-npz", href="#", download=""),
                html.A("matrix as CSV", id="save-matrix", href="#", download=""),
                html.A("history as CSV", id="save-history", href="#", download=""),
                html.Button("handout: one offline HTML file", **{"data-save": "handout"}),
            ], className="menu"),
        ], id="save"),
        html.Button("theme", id="theme", title="dark or light (t)"),
        html.Button("?", id="help-button", title="keys", **{"aria-label": "keys"}),
    ])  # fmt: skip


def _pick(readonly: bool) -> html.Section:
    return section("pick", "Pick", [
        html.Div([select("filter", "show", FILTERS), select("label", "class", {"-1": "all"})], className="row"),
        html.P(id="gallery-words"),
        html.Div(id="gallery", role="group", **{"aria-label": "images to pick from"}),
        html.Div([number_field("image", "image"), html.Label([
            "own picture", Field(id="own-file", type="file", accept="image/*", disabled=readonly)],
            className="button", title="or drop a picture file on this section")], className="row"),
        html.P(id="picked-words"),
    ])  # fmt: skip


def _slices(models: Sequence[str]) -> html.Section:
    return section("slice", "Slices", [
        html.Div([
            select("plane", "plane", PLANES),
            select("surrogate", "surrogate", numbered(models)), select("target", "target", numbered(models)),
            number_field("second", "2nd image"), number_field("third", "3rd image"),
            number_field("span", "± span", step="any"), number_field("seed", "seed"),
            html.Button("swap axes", id="swap", **{"aria-pressed": "false", "data-toggle": "swap"}),
            select("layer", "layer", LAYERS),
            html.Div(show_buttons(models), id="shown", role="group", className="row", **{"aria-label": "models shown"}),
        ], className="row"),
        html.Div([html.Div(id="panels"), html.P(id="axes-words")], id="slice-box", tabIndex=0, role="group",
                 **{"aria-label": "slices: arrow keys move the crosshair, Enter attacks", "aria-describedby": "readout"}),
        html.Div([html.Div(id="legend"), html.Span(id="slice-status", role="status")], className="row"),
        html.Div([html.Canvas(id="picture", width=28, height=28, role="img", **{"aria-label": "the image at the crosshair"}),
                  html.Div(id="readout")],
                 className="row readout", tabIndex=0, role="group", **{"aria-label": "what the models predict at the crosshair"}),
        html.P(id="slice-words"),
        html.Details([html.Summary("table: share of the square by class"), html.Div(id="share-table")], id="shares"),
    ])  # fmt: skip


def _transfer() -> html.Section:
    attacks = {name: name.upper() for name in RADIUS_ATTACKS}
    return section("transfer", "Transfer", [
        html.Div([
            html.Label(["eps ", html.Output(id="eps-value")], htmlFor="eps"),
            Field(id="eps", type="range", min=0, max=1, step=0.005),
            select("attack", "attack", attacks), number_field("steps", "steps"),
            select("loss", "loss", {name: name for name in CHOICES["loss"]}),
            number_field("step_size", "step size", step="any"), number_field("restarts", "starts"),
            select("norm", "norm", {"linf": "max", "l2": "L2"}), select("n", "n", {str(n): str(n) for n in SIZES}),
        ], className="row"),
        html.Div(id="matrix"),
        html.P(id="transfer-words", role="status"),
        html.Div(id="strip"),
    ])  # fmt: skip


def _angles() -> html.Section:
    return section(
        "angles",
        "Angles and smoothness",
        [
            html.P([html.Span(id="angle-words"), " ", html.Span(id="fooled-words")], className="said"),
            scrolling("angle-table", "angles in numbers"),
        ],
    )


def _history(dash_entry: str) -> html.Section:
    return section("history", "Training", [
        html.Div(Html(dash_entry)),
        html.Div([html.Label("checkpoint", htmlFor="scrub"), Field(id="scrub", type="range", min=0, max=1, step=1, value=1),
                  html.Output(id="scrub-value")], className="row"),
        html.Details([html.Summary("table"), scrolling("history-table", "the training in numbers")]),
    ])  # fmt: skip


def scrolling(name: str, label: str) -> html.Div:
    """Build a container for a table that may be wider than its section: it scrolls, with the keyboard too."""
    return html.Div(id=name, tabIndex=0, role="group", **{"aria-label": label})


def section(name: str, title: str, children: list) -> html.Section:
    """Build a section of the page with its heading."""
    return html.Section([html.H2(title, id=f"{name}-title"), *children], id=name, **{"aria-labelledby": f"{name}-title"})


def select(name: str, label: str, choices: dict[str, str]) -> html.Label:
    """Build a labelled selection."""
    return html.Label([label, " ", html.Select(options(choices), id=name)], htmlFor=name)


def number_field(name: str, label: str, *, step: float | str = 1) -> html.Label:
    """Build an input for a numeric field of the state, with its range."""
    option = NUMBERS[name]
    field = Field(id=name, type="number", min=option.low, max=option.high, step=step)
    return html.Label([label, " ", field], htmlFor=name, title=f"{option.help} [{option.range_text}]", id=f"{name}-label")


def chart(figure: dict) -> dcc.Graph:
    """Build the training chart. It is not part of the initial page: plotly.js is slow to load, and slices must not wait."""
    return dcc.Graph(id="history-figure", figure=figure, config=GRAPH, style={"height": "230px"})


def show_buttons(names: Sequence[str]) -> list[html.Button]:
    """Build one button per model that shows or hides its panel."""
    return [
        html.Button(name, title=f"show or hide {name}", **{"data-hide": str(k), "aria-pressed": "true"})
        for k, name in enumerate(names)
    ]


def numbered(names: Sequence[str]) -> dict[str, str]:
    """Return models as choices: number to name."""
    return {str(k): name for k, name in enumerate(names)}


def options(choices: dict[str, str]) -> list[html.Option]:
    """Build the options of a selection. choices: value to text."""
    return [html.Option(text, value=value) for value, text in choices.items()]


def sets_fields(**fields: object) -> dict[str, str]:
    """Return the attributes of an element that sets these fields of the state when it is clicked."""
    return {"data-set": json.dumps(fields)}
