"""The figure that the browser puts together (assets/web/panels.mjs): what is visible, in which pixels, under which title."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import dash
import plotly.graph_objects as go
import pytest
from dash_client import call, state_of

from trs_explorer.class_labels import text_columns
from trs_explorer.explore.slices import LEVELS
from trs_explorer.figures.theme import template
from trs_explorer.shipped import folder
from trs_explorer.web import slice_view

PANELS = folder("assets") / "web" / "panels.mjs"
NODE = shutil.which("node")
Compose = Callable[..., dict[str, Any]]
SCRIPT = """
import {createInterface} from "node:readline";
globalThis.innerHeight = 800;
const {compose} = await import(process.argv[1]);
for await (const line of createInterface({input: process.stdin})) {
  const {slice, attack, want} = JSON.parse(line);
  console.log(JSON.stringify(compose(slice, attack, want)));
}
"""
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.fixture(scope="module")
def parts(app: dash.Dash) -> Iterator[dict[str, Any]]:
    """A slice of four models with all layers, on a plane through three images, and the attacks on it.

    Of two grids: the finest has sixteen times as many points, and nothing here is about them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_view, "MOST_SAMPLES", LEVELS[1] ** 2 * 3 * 10)
        yield _parts(app)


def _parts(app: dash.Dash) -> dict[str, Any]:
    state = state_of(app, run="mnist-trs", plane="images", eps=0.3, seed=611)  # a view that no other test has
    shown = call(app, "slice-data.data", slice_state=state)["slice-data.data"]
    everything = {"key": shown["key"], "level": 2}
    shown = call(app, "slice-data.data", changed="next.data", slice_state=state, next=everything)["slice-data.data"]
    attack = call(app, "attack-data.data", attack_state=state)["attack-data.data"]
    return {"slice": shown, "attack": attack | {"headlines": [f"{k}, not fooled" for k in range(4)]}}  # no two alike


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """compose(parts, changes of what is wanted): the figure that the page's script makes of them, in one process for all."""
    assert NODE
    command = [NODE, "--input-type=module", "-e", SCRIPT, PANELS.as_uri()]
    usual = {"layer": "class", "shown": [0, 1, 2, 3], "columns": 2, "template": template("light"), "large": False, "width": 900}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdin
        assert node.stdout

        def composed(parts: dict[str, Any], **changes: object) -> dict[str, Any]:
            print(json.dumps({**parts, "want": usual | changes}), file=node.stdin, flush=True)
            figure = json.loads(node.stdout.readline())
            go.Figure(figure)  # plotly checks every property
            return figure

        yield composed
        node.stdin.close()


def model_of(part: dict[str, Any], name: str = "xaxis") -> int:
    return int(part[name][1:] or 1) - 1


def visible_models(figure: dict[str, Any]) -> list[set[int]]:
    """The models of which anything is visible: among traces, pictures, titles and axes."""
    layout = figure["layout"]
    traces = {model_of(trace) for trace in figure["data"] if trace["visible"] and not trace["showlegend"]}
    pictures = {model_of(image, "xref") for image in layout["images"] if image["visible"]}
    titles = {model for model, note in enumerate(layout["annotations"][1:]) if note["visible"]}
    axes = {model for model in range(4) if layout[f"xaxis{model + 1 if model else ''}"]["visible"]}
    return [traces, pictures, titles, axes]


@pytest.mark.parametrize("shown", [[0, 1, 2, 3], [0, 2, 3], [3], [1, 2]])
def test_hidden_models_have_nothing_visible_and_shown_ones_their_place(
    parts: dict[str, Any], compose: Compose, shown: list[int]
) -> None:
    figure = compose(parts, shown=shown)
    assert visible_models(figure) == [set(shown)] * 4
    layout = figure["layout"]
    places = [
        (layout[f"xaxis{m + 1 if m else ''}"]["domain"][0], -layout[f"yaxis{m + 1 if m else ''}"]["domain"][0]) for m in shown
    ]
    assert len(set(places)) == len(shown)
    assert sorted(places, key=lambda place: (place[1], place[0])) == places  # row by row, in the models' order


def test_every_trace_of_the_attacks_is_on_its_models_panel(parts: dict[str, Any], compose: Compose) -> None:
    figure = compose(parts)
    for model, name in enumerate(("F1", "F2", "F3", "ensemble")):
        own = [trace["name"] for trace in figure["data"] if not trace["showlegend"] and model_of(trace) == model]
        assert [words for words in own if words.endswith(f"fools {name}") or words.endswith(f"fool {name}")]
        assert not [words for words in own if "fool" in words and not words.endswith(name)]
        headline = parts["attack"]["headlines"][model]
        assert figure["layout"]["annotations"][model + 1]["text"] == f"<b>{name}</b>: {headline}"


@pytest.mark.parametrize("layer", ["class", "margin", "confidence", "disagreement", "arrows"])
def test_pixels_are_those_of_the_layer_and_arrows_are_in_theirs_only(parts: dict[str, Any], compose: Compose, layer: str) -> None:
    figure = compose(parts, layer=layer)
    assert [image["source"] for image in figure["layout"]["images"][:4]] == parts["slice"]["layers"][layer]
    arrows = [trace["visible"] for trace in figure["data"] if trace["name"] == "gradient arrows"]
    assert arrows == [True] * 4 * (layer == "arrows")


@pytest.mark.parametrize(("width", "large", "size"), [(330, False, 11), (860, True, 18), (860, False, 13)])
def test_the_axes_names_fit_into_the_room_and_have_theirs_above_the_key(
    parts: dict[str, Any], compose: Compose, width: int, large: bool, size: int
) -> None:
    figure = compose(parts, width=width, large=large, columns=2)
    axes, spec = figure["layout"]["annotations"][0], parts["slice"]["spec"]["layout"]
    lines, before = axes["text"].split("<br>"), spec["annotations"][0]["text"].split("<br>")
    assert " ".join(lines).split() == " ".join(before).split()
    assert max(map(len, lines)) * 0.56 * size <= width - 40
    room = figure["layout"]["margin"]["b"] - (spec["margin"]["b"] - 20 * len(before))
    assert room >= 1.3 * size * len(lines)


def test_titles_are_no_wider_than_their_panels(parts: dict[str, Any], compose: Compose) -> None:
    for columns, width in ((4, 860), (2, 860), (2, 330)):
        figure = compose(parts, width=width, large=True, columns=columns)
        for note in figure["layout"]["annotations"][1:]:
            assert note["font"]["size"] * 14 <= width / columns


def test_a_title_that_does_not_fit_is_cut_escaped_and_whole_under_the_mouse(parts: dict[str, Any], compose: Compose) -> None:
    headlines = ["<b>circle</b> → 漢字漢字…, fooled", "0, not fooled", "1, not fooled", "2, not fooled"]
    attack = parts["attack"] | {"headlines": headlines, "whole": ["whole <b> {name}", "", "", ""]}
    for width, columns in ((900, 4), (330, 4), (330, 2)):
        first, *_ = compose({**parts, "attack": attack}, width=width, columns=columns)["layout"]["annotations"][1:]
        shown = unescape(first["text"].removeprefix("<b>F1</b>: "))
        assert "<" not in first["text"].replace("<b>F1</b>", "")
        letters = text_columns(f"F1: {shown}")
        assert first["font"]["size"] * 0.5 * letters <= width / columns  # letters are about half as wide as high
        assert shown == headlines[0] if width == 900 else shown.endswith("…") or columns == 2
        assert first["hovertext"] == "F1: whole &lt;b&gt; &#123;name}"


def test_the_key_gets_room_for_its_rows(parts: dict[str, Any], compose: Compose) -> None:
    spec = parts["slice"]["spec"]
    entry = next(trace for trace in spec["data"] if trace["showlegend"])
    others = [trace for trace in spec["data"] if not trace["showlegend"]]

    def layout(count: int) -> dict[str, Any]:
        data = [*others, *(entry | {"name": f"a class with a name {k}"} for k in range(count))]
        return compose({**parts, "slice": parts["slice"] | {"spec": spec | {"data": data}}}, width=330)["layout"]

    one, eight = layout(1), layout(8)
    assert eight["margin"]["b"] - one["margin"]["b"] >= 17 * 7  # each has a row of its own
    assert eight["height"] - one["height"] == eight["margin"]["b"] - one["margin"]["b"]
