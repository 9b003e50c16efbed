"""The HTML of the Compare page: its sections and controls; assets/web/compare/compare.js fills them."""

from collections.abc import Mapping

from dash import html

from trs_explorer.attack_catalogue import RADIUS_ATTACKS
from trs_explorer.web.compare.pair import ALONG, FIELDS
from trs_explorer.web.layout import number_field, scrolling, section, select
from trs_explorer.web.markup import Field
from trs_explorer.web.pages import document, keys_dialog, nav
from trs_explorer.web.state import CHOICES, SIZES

KEYS = (
    ("s", "swap A and B"),
    (", and .", "the image before, the next one"),
    ("p", "the next plane"),
    ("t", "dark or light"),
    ("?", "this list"),
)
SCRIPTS = ("compare/compare.js", "compare/draw.js", "compare/handout.js", "compare/start.js")


def compare_page(runs: Mapping[str, str]) -> str:
    """Build the page. runs: run name to data set."""
    body = [
        html.A("Skip to the slices", href="#sides", className="skip"),
        _header(runs),
        html.Div(id="notice", role="status"),
        html.Main([
            _slices(),
            *map(_transfer, "ab"),
            _chart("live", "Robust accuracy over eps, measured now"),
            _chart("cosine", "|cos| against transfer"),
            _chart("robust", "Robust accuracy against transfer"),
            _chart("curves", "Robust accuracy over eps, every attack evaluated"),
            section("numbers", "|cos| and transfer", [scrolling("cosine-table", "cosine and transfer in numbers")]),
            section("table", "The paper's Table 1", [scrolling("table1", "the table in numbers")]),
        ], id="rooms"),
        keys_dialog(KEYS),
    ]  # fmt: skip
    meta = {"runs": dict(runs), "fields": FIELDS, "along": list(ALONG)}
    return document("trs compare", body, meta, styles=["explorer.css", "compare/compare.css"], scripts=["/plotly.js", *SCRIPTS])


def _header(runs: Mapping[str, str]) -> html.Header:
    names = {name: name for name in runs}
    return html.Header([
        html.H1("trs explore"), nav("compare"),
        select("a", "A", names), html.Button("swap", id="swap", title="exchange A and B (s)"), select("b", "B", names),
        html.Span(className="stretch"),
        html.Button("handout", id="handout", title="one offline HTML file"), html.Button("copy link", id="link"),
        html.Button("theme", id="theme", title="dark or light (t)"),
        html.Button("?", id="help-button", title="keys", **{"aria-label": "keys"}),
    ])  # fmt: skip


def _slices() -> html.Section:
    attacks, losses = {name: name.upper() for name in RADIUS_ATTACKS}, {name: name for name in CHOICES["loss"]}
    return section("sides", "One image, one plane, one scale", [
        html.Div([
            number_field("image", "image"), select("along", "plane", ALONG), number_field("span", "± span", step="any"),
            number_field("seed", "seed"), select("attack", "attack", attacks),
            html.Label(["eps ", html.Output(id="eps-value")], htmlFor="eps"),
            Field(id="eps", type="range", min=0, max=1, step=0.005), number_field("steps", "steps"),
            select("loss", "loss", losses), number_field("step_size", "step size", step="any"),
            number_field("restarts", "starts"),
            select("norm", "norm", {"linf": "max", "l2": "L2"}), select("n", "n", {str(n): str(n) for n in SIZES}),
        ], className="row"),
        html.Div(id="side-a", className="side"), html.Div(id="side-b", className="side"),
        html.P(id="plane-words"),
    ])  # fmt: skip


def _transfer(side: str) -> html.Section:
    numbers = scrolling(f"matrix-{side}", f"the matrix of {side.upper()} in numbers")
    return section(f"transfer-{side}", f"Transfer in {side.upper()}", [numbers, html.P(id=f"words-{side}")])


def _chart(name: str, title: str) -> html.Section:
    return section(name, title, [html.Div(id=f"{name}-chart", className="chart"), html.P(id=f"{name}-words")])
