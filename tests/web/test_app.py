"""The Explore page as a whole: its components and callbacks, its HTML, and what it says of runs that cannot be shown."""

import base64
import html as html_text
import io
import json
import re
import shutil
from pathlib import Path

import dash
import numpy as np
import pytest
from dash import html
from dash_client import call, outputs_of, parts, resolve, state_of
from PIL import Image
from web_explorer import Explorer

from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web import controls
from trs_explorer.web.app import create_app
from trs_explorer.web.markup import markup

SCRIPTS = sorted((folder("assets") / "web").glob("*.mjs"))
LATER = {"still", "help", "help-close", "history-figure", "slices"}  # not in the layout: of the HTML, and of callbacks


def components(app):
    """Every component of the page's layout, by id."""
    layout = json.loads(app.server.test_client().get("/_dash-layout").data)
    return {json.dumps(p["props"]["id"]): p for p in parts(layout) if "id" in p["props"]}


def properties(app):
    """Every (component, property) that a callback reads or sets; patterns left out."""
    for key, callback in app.callback_map.items():
        named = [one for one in outputs_of(key) if "." in one]  # a callback of the browser may set nothing
        outputs = [dict(zip(("id", "property"), one.rsplit(".", 1), strict=True)) for one in named]
        for one in (*callback["inputs"], *callback["state"], *outputs):
            if not one["id"].startswith("{"):
                yield one["id"], one["property"].partition("@")[0]


def still(app, **fields):
    """The names and pixels of the pictures that are on the screen until the figure is."""
    page = app.server.test_client().get("/", query_string=fields).data.decode()
    found = re.findall(r'<figcaption>([^<]*)</figcaption><img alt="[^"]*" src="data:image/png;base64,([^"]*)"', page)
    return [(name, base64.b64decode(picture)) for name, picture in found]


# --- the page and its callbacks --------------------------------------------------------------------------------------


def test_every_callback_reads_and_sets_components_of_the_page(app):
    ids = components(app)
    assert len(ids) > 60
    for name, _ in properties(app):
        assert json.dumps(name) in ids, name


def test_every_element_that_the_scripts_name_is_on_the_page(app):
    ids = {json.loads(name) for name in components(app) if name.startswith('"')}
    assert SCRIPTS
    named = set()
    for script in SCRIPTS:
        text = script.read_text()
        named |= set(re.findall(r'(?:getElementById|element|set_props|next)\("([a-z_-]+)"', text))
    assert len(named) > 10
    assert named - ids - LATER == set()


def test_the_page_starts_one_script_and_preloads_all_that_it_imports(app):
    """A module that Dash loads too, at an address of its own, would be there twice: with two states of the page."""
    text = app.server.test_client().get("/").get_data(as_text=True)
    tags = re.findall(r'<script[^>]*src="/assets/(\w+\.mjs)', text)
    preloaded = re.findall(r'<link rel="modulepreload" href="/assets/(\w+\.mjs)">', text)
    imported = {name for script in SCRIPTS for name in re.findall(r'from "\./(\w+\.mjs)";', script.read_text())}
    assert tags == ["explorer.mjs"]
    assert sorted(preloaded) == sorted(imported) == sorted({script.name for script in SCRIPTS} - set(tags))


def test_every_client_side_function_of_the_callbacks_is_in_the_scripts(app):
    used = {c["clientside_function"]["function_name"] for c in app._callback_list if c["clientside_function"]}
    (functions,) = [
        text.partition("dash.explorer = {")[2] for text in map(Path.read_text, SCRIPTS) if "dash.explorer = {" in text
    ]
    defined = set(re.findall(r"^  (?:async )?(\w+)(?:\([^)]*\) \{$|: \()", functions, re.MULTILINE))
    assert used == defined


def test_every_control_is_on_the_page_and_sets_the_state_and_is_set_by_it(app):
    ids = components(app)
    key, callback = next((k, c) for k, c in app.callback_map.items() if "state.data" in outputs_of(k))
    inputs = {(one["id"], one["property"]) for one in callback["inputs"]}
    for name, prop in controls.FIELDS.items():
        assert json.dumps(name) in ids, name
        assert (name, prop) in inputs
        assert f"{name}.{prop}" in outputs_of(key)
    fields = {"shown" if name == "hide" else name for name in state_of(app)} - {"weights", "members"}
    assert fields == set(controls.FIELDS)  # a field without a control could not be changed


def test_no_property_is_set_by_two_callbacks_unless_they_say_so(app):
    """Of two callbacks that set one property without `allow_duplicate`, Dash lets one win, and only says so while debugging."""
    outputs = [output for key in app.callback_map for output in outputs_of(key)]
    assert [output for output in set(outputs) if outputs.count(output) > 1] == []


def test_before_there_is_a_state_no_section_shows_anything(app):
    """Dash calls every callback when the page opens."""
    runs = [option["value"] for option in resolve(app)["run.options"]]
    for key, callback in app.callback_map.items():
        if "callback" not in callback or "state.data" in outputs_of(key):
            continue
        shown = [value for value in call(app, key).values() if value not in (None, "", [])]
        assert shown in ([], [{"run": "", "saved": [], "runs": runs}]), key


# --- the page's HTML -------------------------------------------------------------------------------------------------


def test_the_still_picture_is_that_of_the_link(app, explorer: Explorer):
    found = still(app, run="mnist-trs", image=3, span=2, hide="1", theme="dark")
    assert [name for name, _ in found] == ["F1", "F3", "ensemble"]
    slices = call(app, "slice-data.data", slice_state=state_of(app, run="mnist-trs", image=3, span=2))["slice-data.data"]
    drawn = [base64.b64decode(source.partition(",")[2]) for source in slices["layers"]["class"]]
    assert [picture for _, picture in found] == [drawn[0], drawn[2], drawn[3]]
    assert len({np.asarray(Image.open(io.BytesIO(picture))).tobytes() for _, picture in found}) == 3
    page = app.server.test_client().get("/?run=mnist-trs&theme=dark").data.decode()
    assert '<div class="theme-dark" id="still">' in page


def test_without_a_run_to_show_the_page_still_opens(app):
    assert still(app, run="nowhere") == []
    assert still(app, run="mnist-trs", hide="0,1,2,3")[0][0] == "F1"  # not every model can be hidden


def test_a_runs_name_cannot_break_out_of_the_page(tmp_path):
    name = "<script>alert(1)</script>"[:12] + "&'\""
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / name)
    app = create_app(Library([tmp_path]))
    page = app.server.test_client().get("/", query_string={"run": name}).data.decode()
    assert name not in page
    assert html_text.escape(name) not in page.partition('id="still"')[0]
    answer = resolve(app, run=name)
    assert (answer["run.options"], answer["notice.children"]) == ([{"value": name, "label": name}], "")
    handout = call(app, "download.data", clicked={"save": "handout"}, state=answer["state.data"])["download.data"]["content"]
    assert name not in handout
    assert html_text.escape(name) in handout


# --- runs that cannot be shown ---------------------------------------------------------------------------------------


def test_an_unknown_run_or_checkpoint_is_said(app):
    answer = resolve(app, run="../../etc")
    assert "there is no run ../../etc here: this is mnist-trs" in answer["notice.children"]
    assert answer["state.data"]["run"] == "mnist-trs"
    answer = resolve(app, run="mnist-trs", at="0999", weights="dead", eps="x")
    first, second, third = answer["notice.children"].splitlines()
    assert first == "mnist-trs has no checkpoint 0999: showing the newest"
    assert "other weights (dead)" in second
    assert third == "eps takes a number, got 'x'"
    state = answer["state.data"]
    assert (state["at"], state["eps"], len(state["weights"])) == ("", 0.3, 12)
    assert state_of(app)["run"] == "mnist-trs"  # where a link names none


def test_a_damaged_checkpoint_is_said_and_the_other_still_works(tmp_path):
    shutil.copytree(folder("checkpoints") / "mnist-trs", tmp_path / "torn")
    weights = tmp_path / "torn" / "epoch-0036.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    app = create_app(Library([tmp_path]))
    state = state_of(app, run="torn")
    assert "damaged" in state["error"]
    shown = call(app, "slice-data.data", slice_state=state)
    assert (shown["slice-data.data"], shown["slice-error.children"]) == (None, state["error"])
    assert call(app, "matrix.children", settled=state)["matrix.children"] == []
    older = state_of(app, run="torn", at="0018")
    assert call(app, "slice-data.data", slice_state=older)["slice-data.data"]["key"]


def test_a_checkpoint_that_is_damaged_later_is_said_in_every_section(tmp_path):
    """The state was resolved while all was well."""
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / "torn")
    state = state_of(create_app(Library([tmp_path])), run="torn")
    for weights in (tmp_path / "torn").glob("*.safetensors"):
        weights.write_bytes(b"nonsense")
    app = create_app(Library([tmp_path]))
    for output, words in (("slice-data.data", "slice-error"), ("matrix.children", "transfer-summary"),
                          ("gallery.children", "gallery-words")):  # fmt: skip
        answer = call(app, output, slice_state=state, settled=state)
        assert "damaged" in answer[f"{words}.children"], output
    assert call(app, "attack-data.data", attack_state=state)["attack-data.data"] is None
    assert call(app, "angle-words.children", settled=state)["angle-words.children"] == ""
    for kind in ("svg", "csv", "matrix", "handout"):
        answer = call(app, "download.data", clicked={"save": kind}, state=state)
        assert "damaged" in answer.pop("notice.children")
        assert answer == {}


@pytest.mark.parametrize("path", ["/nope", "/compare/nope", "/lesson/nope"])
def test_an_address_without_a_page_is_answered_in_words_with_links_to_those_that_there_are(app, path):
    response = app.server.test_client().get(path)
    assert response.status_code == 404
    assert "There is no" in response.text
    assert 'href="/compare"' in response.text


def test_markup_escapes_everything():
    evil = html.Button(
        ["<script>", html.Img(src='x" onerror="alert(1)', alt="")], title='"><i>', className="a", style={"color": "red"}
    )
    text = markup([evil, "a & b", None, 3])
    assert text == (
        '<button class="a" style="color:red" title="&quot;&gt;&lt;i&gt;">&lt;script&gt;'
        '<img alt="" src="x&quot; onerror=&quot;alert(1)"></button>a &amp; b3'
    )


@pytest.mark.parametrize("prefix", ["", "/explore"])
def test_links_of_the_page_are_below_the_prefix(explorer: Explorer, prefix: str):
    app: dash.Dash = create_app(explorer.library, url_prefix=prefix)
    links = {name: part["props"]["href"] for name, part in components(app).items() if name.startswith('"nav-')}
    assert links == {'"nav-explore"': f"{prefix}/", '"nav-compare"': f"{prefix}/compare", '"nav-lesson"': f"{prefix}/lesson"}
    assert resolve(app, run="mnist-trs", image=4)["nav-compare.href"].startswith(f"{prefix}/compare?a=mnist-trs&image=4&")
