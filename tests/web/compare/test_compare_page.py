"""The Compare page as a whole: components, callbacks, scripts and addresses; hostile values posted into every callback."""

import json
import math
import re
from typing import Any

import dash
import pytest
from dash_client import call, outputs_of, parts, post, resolve, state_of, texts

from trs_explorer.runs import RunError
from trs_explorer.shipped import folder
from trs_explorer.web.compare.page import FILLED
from trs_explorer.web.compare.pair import FIELDS
from trs_explorer.web.compare.posted import CHECKS
from trs_explorer.web.posted import REFUSAL

WEB = folder("assets") / "web"
SCRIPTS = [WEB / "compare" / "compare.mjs", WEB / "shared.mjs"]
HOSTILE = (
    None, True, 0, -1, 10**400, 1e308, math.nan, math.inf, "", "x", "\x00", "\ud800", "<script>", "9" * 5000, [], [[]], {},
    {"a": 1}, [None], {"key": None}, {"error": []}, {"a": {}}, [1, [2, {"a": [3]}]],
)  # fmt: skip
PARTS = ("run-fields", "slice-fields", "attack-fields", "settled")


@pytest.fixture(scope="module")
def ids(compare: dash.Dash) -> set[str]:
    layout = json.loads(compare.server.test_client().get("/compare/_dash-layout").data)
    return {part["props"]["id"] for part in parts(layout) if "id" in part["props"]}


# --- components, callbacks, scripts ----------------------------------------------------------------------------------


def test_every_callback_reads_and_sets_components_of_the_page(compare: dash.Dash, ids: set[str]) -> None:
    for key, callback in compare.callback_map.items():
        outputs = [output.rsplit(".", 1)[0] for output in outputs_of(key) if "." in output]
        named = [one["id"] for one in (*callback["inputs"], *callback["state"])]
        assert {*named, *outputs} <= ids | {name for name in named if name.startswith("{")}, key


def test_no_property_is_set_by_two_callbacks_unless_they_say_so(compare: dash.Dash) -> None:
    outputs = [output for key in compare.callback_map for output in outputs_of(key)]
    assert [output for output in set(outputs) if outputs.count(output) > 1] == []


def test_every_control_sets_the_state_and_is_set_by_it(compare: dash.Dash, ids: set[str]) -> None:
    key, callback = next((k, c) for k, c in compare.callback_map.items() if "state.data" in outputs_of(k))
    inputs = {one["id"] for one in callback["inputs"]}
    assert set(FIELDS) <= ids & inputs
    assert {f"{name}.value" for name in FIELDS} <= set(outputs_of(key))


def test_every_element_and_function_of_the_scripts_is_there(compare: dash.Dash, ids: set[str]) -> None:
    text = "".join(script.read_text() for script in SCRIPTS)
    named = set(re.findall(r'(?:element|set_props|next)\("([a-z_-]+)"', text))
    assert len(named) > 5
    assert named - ids == {"help", "help-close"}  # of the HTML around Dash
    used = {one["clientside_function"]["function_name"] for one in compare._callback_list if one["clientside_function"]}
    defined = re.findall(r"^  (?:async )?(\w+)(?:\([^)]*\) \{$|: \()", text.partition("dash.compare = {")[2], re.MULTILINE)
    assert used == {name for name in defined if name in used}
    assert {"draw", "theme", "settle", "note", "fill", "beat"} == used


def test_sections_are_busy_in_words_until_they_show_the_state(compare: dash.Dash) -> None:
    layout = json.loads(compare.server.test_client().get("/compare/_dash-layout").data)
    boxes = {}
    for one in parts(layout, "Section"):
        (box,) = [part for part in parts(one) if part["props"].get("className") == "box"]
        assert box["props"]["aria-busy"] == "true"
        boxes[one["props"]["id"]] = box["props"]["data-parts"], texts(box["props"]["children"][0])
    drawing, measuring, reading = (
        "drawing for these settings ...", "measuring for these settings ...", "reading what is stored ..."
    )  # fmt: skip
    assert boxes == {
        "sides": ("slice attack", drawing),
        **dict.fromkeys(("transfer-a", "transfer-b", "live"), ("measure", measuring)),
        **dict.fromkeys(("cosine", "robust", "curves", "numbers", "table"), ("run", reading)),
    }


@pytest.mark.parametrize("readable", [True, False])
def test_an_answer_says_which_state_it_shows_even_if_it_is_an_error(
    compare: dash.Dash, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    state = state_of(compare, a="bars-cos-only", n=1, steps=1)

    def unreadable(*_: object) -> None:
        raise RunError("the run has gone")

    if not readable:
        monkeypatch.setattr("trs_explorer.web.compare.section_callbacks.parse_pair", unreadable)
    for part, store in (("slice", "slice-fields"), ("attack", "attack-fields"), ("measure", "settled"), ("run", "run-fields")):
        assert call(compare, f"{part}-shown.data", **{store: state})[f"{part}-shown.data"] == state


def test_a_section_is_filled_without_waiting_for_another(compare: dash.Dash) -> None:
    """Dash lets a callback wait for all of its inputs: those of one "fill" come from one callback of the server."""
    fills = [
        [f"{one['id']}.{one['property']}" for one in callback["inputs"]]
        for callback in compare._callback_list
        if (callback["clientside_function"] or {}).get("function_name") == "fill"
    ]
    assert sorted(name for names in fills for name in names) == sorted(f"{name}-html.data" for name in FILLED)
    for names in fills:
        assert [key for key in compare.callback_map if set(names) <= set(outputs_of(key))], names


def test_before_there_is_a_state_no_section_shows_anything(compare: dash.Dash) -> None:
    """Dash calls every callback when the page opens."""
    for key, callback in compare.callback_map.items():
        if "callback" in callback and "state.data" not in outputs_of(key):
            assert call(compare, key) == {}, key


def test_the_page_and_all_that_it_loads_are_served(app: dash.Dash) -> None:
    client = app.server.test_client()
    page = client.get("/compare?a=mnist-trs").text
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    loaded = re.findall(r'(?:href|src)="(/[^"]*)"', page)
    assert any(path.startswith("/compare/assets/compare.mjs") for path in loaded)
    assert "/assets/explorer.css" in loaded
    for path in loaded:
        with client.get(path) as answer:
            assert answer.status_code == 200, path
    assert "compare.mjs" not in client.get("/").text  # Explore has its own scripts


# --- posted values ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _errors_are_raised(compare: dash.Dash) -> Any:
    """What would be a 500 is seen with its traceback."""
    compare.server.config["PROPAGATE_EXCEPTIONS"] = True
    yield
    compare.server.config["PROPAGATE_EXCEPTIONS"] = None


@pytest.fixture(scope="module")
def usual(compare: dash.Dash) -> dict[str, Any]:
    """Values of every component as the page holds them."""
    answer = resolve(compare, a="bars-cos-only", n=1, steps=1)
    controls = {name: answer[f"{name}.value"] for name in FIELDS}
    state = answer["state.data"]
    return controls | dict.fromkeys(PARTS, state) | {
        "state": state, "address": "?a=bars-cos-only", "client": "tab", "look": "dark", "newest": {"runs": []}, "swap": 0,
        "remembered": {"bars": "bars-cos-only"}, "live-drawn": "", "alive": 1, "poll": 1, "handout": 1,
        "fine": {"a": "0f", "b": "f0"}, "custom-options-html": "",
    }  # fmt: skip


def answered(compare: dash.Dash, key: str, values: dict[str, Any], changed: str = "") -> bool:
    """Whether a callback has answered; else its refusal must be in words."""
    response = post(compare, key, changed=changed, **values)
    if response.status_code == 400:
        assert response.text == REFUSAL
        return False
    assert response.status_code in (200, 204), (key, response.status_code)
    return True


def callbacks(compare: dash.Dash) -> dict[str, list[str]]:
    on_server = {key: one for key, one in compare.callback_map.items() if "callback" in one}
    return {key: [part["id"] for part in (*one["inputs"], *one["state"])] for key, one in on_server.items()}


def test_what_the_page_holds_is_never_refused(compare: dash.Dash, usual: dict[str, Any]) -> None:
    failed = state_of(compare, a="bars-cos-only") | {"error": "damaged"}
    for key, names in callbacks(compare).items():
        assert set(names) <= set(usual) | {"beat"}
        assert answered(compare, key, {name: usual.get(name) for name in names}), key
        assert answered(compare, key, dict.fromkeys(names)), key
        assert answered(compare, key, {**usual, **dict.fromkeys(("state", *PARTS), failed)}), key


@pytest.mark.slow
def test_hostile_values_of_every_component_get_a_clean_answer(
    compare: dash.Dash, usual: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trs_explorer.web.compare.slices.LEVEL", 0)
    refused = 0
    for key, names in callbacks(compare).items():
        for name in names:
            if name == "handout":
                continue
            for value in HOSTILE:
                changed = "handout.n_clicks" if "handout" in names else ""
                if changed and isinstance(value, dict | list | type(None)) is False and name != "state":
                    continue  # a handout takes a second
                refused += not answered(compare, key, {**usual, name: value}, changed)
    assert refused > 100
    assert set(CHECKS) >= {name for names in callbacks(compare).values() for name in names} - {"handout"}


@pytest.mark.slow
def test_hostile_fields_of_a_state_get_a_clean_answer(
    compare: dash.Dash, usual: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trs_explorer.web.compare.slices.LEVEL", 0)
    outputs = ("state.data", "newest.data", "slices-a.data")
    keys = [next(key for key in callbacks(compare) if output in outputs_of(key)) for output in outputs]
    for field in usual["state"]:
        for value in HOSTILE:
            state = {**usual["state"], field: value}
            for key in keys if field in ("a", "b", "image") else keys[:2]:
                answered(
                    compare, key, {**usual, **dict.fromkeys(("state", *PARTS), state)}, "eps.value" if key == keys[0] else ""
                )
        if field in FIELDS:
            missing = {name: value for name, value in usual["state"].items() if name != field}
            assert not answered(compare, keys[0], {**usual, "state": missing}, "eps.value")
