"""Values that no page holds, posted into every callback: each is refused, or answered as far as it can be used. None is a 500."""

import json
import math
from typing import Any

import dash
import pytest
from dash_client import ADDRESS, controls_of, outputs_of, post, state_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trs_explorer.web.posted import CHECKS, REFUSAL

HOSTILE = (
    True, -1, 10**400, math.nan, "x", "\x00\ud800", "9" * 5000, [[1]], {}, [None], {"key": None}, {"error": []}, {"state": 5},
)  # fmt: skip
STATES = ("settled", "slice-state", "attack-state")
FIELD_VALUES = (None, True, 10**400, math.inf, "<script>", "\ud800", [1, {"a": [3]}])


@pytest.fixture(autouse=True)
def _errors_are_raised(app: dash.Dash) -> Any:
    """What would be a 500 is seen with its traceback."""
    app.server.config["PROPAGATE_EXCEPTIONS"] = True
    yield
    app.server.config["PROPAGATE_EXCEPTIONS"] = None


def callbacks(app: dash.Dash) -> dict[str, list[str]]:
    """The callbacks that the server answers: the components whose values each takes."""
    on_server = {key: one for key, one in app.callback_map.items() if "callback" in one}
    return {key: [part["id"] for part in (*one["inputs"], *one["state"]) if not part["id"].startswith("{")]
            for key, one in on_server.items()}  # fmt: skip


@pytest.fixture(scope="module")
def usual(app: dash.Dash) -> dict[str, Any]:
    """Values of every component as the page holds them."""
    state = state_of(app, run="bars-cos-only", n=1)
    shown = controls_of(app, state)
    key = json.loads(post(app, "slice-data.data", slice_state=state).data)["response"]["slice-data"]["data"]["key"]
    stores = {
        "state": state, **dict.fromkeys(STATES, state), "measured": {"state": state, "n": 0, "done": False},
        "address": "?run=bars-cos-only", "next": {"key": key, "level": 1}, "film-state": state, "gallery-key": "bars [0]",
        "custom-options-html": "",
        "attack-data": {"about": {}}, "pointer": {"key": key, "point": [0.5, 0.5]}, "client": "tab", "look": "dark",
        "save-width": 900, "save-white": True, "newest": {"run": "bars-cos-only"}, "scrub": "0", "upload": "data:,",
    }  # fmt: skip
    return shown | stores


def answered(app: dash.Dash, key: str, values: dict[str, Any], changed: str = "") -> bool:
    """Whether a callback has answered; else its refusal must be in words."""
    clicked = {"save": "matrix"} if "download.data" in outputs_of(key) else None
    if "film-words.children" in outputs_of(key):
        changed = "film-poll.n_intervals"  # a click would start a film each time
    response = post(app, key, changed=changed, clicked=clicked, **values)
    if response.status_code == 400:
        assert response.text == REFUSAL
        return False
    assert response.status_code in (200, 204), (key, response.status_code)
    return True


def test_what_the_page_holds_is_never_refused(app: dash.Dash, usual: dict[str, Any]) -> None:
    for key, names in callbacks(app).items():
        assert answered(app, key, {name: usual.get(name) for name in names}), key
        assert answered(app, key, dict.fromkeys(names)), key
    broken = {"run": "", "error": "there is no run here any more", "live": False}
    for key in callbacks(app):
        assert answered(app, key, {**usual, "state": broken, **dict.fromkeys(STATES, broken), "measured": {}}), key


@pytest.mark.slow
def test_hostile_values_of_every_component_get_a_clean_answer(app: dash.Dash, usual: dict[str, Any]) -> None:
    refused = 0
    for key, names in callbacks(app).items():
        for name in names:
            for value in HOSTILE:
                refused += not answered(app, key, {**usual, name: value})
    assert refused > 100


def test_hostile_values_are_answered_whatever_has_triggered_the_callback(app: dash.Dash, usual: dict[str, Any]) -> None:
    """Callbacks of a few inputs only: the state's compares all controls, whichever has changed."""
    for key, names in callbacks(app).items():
        inputs = [part for part in app.callback_map[key]["inputs"] if not part["id"].startswith("{")]
        for part in inputs[1:] if len(inputs) < 6 else []:
            for name in names:
                for value in HOSTILE[::2]:
                    answered(app, key, {**usual, name: value}, changed=f"{part['id']}.{part['property']}")


@pytest.mark.slow
def test_hostile_fields_of_a_state_get_a_clean_answer(app: dash.Dash, usual: dict[str, Any]) -> None:
    for field in usual["state"]:
        for value in FIELD_VALUES:
            state = {**usual["state"], field: value}
            values = {**usual, "state": state, **dict.fromkeys(STATES, state), "measured": {"state": state}}
            for output in ("slice-data.data", "attack-data.data", "history-chart.children", "newest.data", "state.data"):
                if field not in ("n", "steps", "restarts") or output != "attack-data.data":
                    key = next(key for key in callbacks(app) if output in outputs_of(key))
                    answered(app, key, values, changed="eps.value" if output == "state.data" else "")
        missing = {name: value for name, value in usual["state"].items() if name != field}
        assert not answered(app, "slice-data.data", {"slice-state": missing})
    assert not answered(app, "state.data", {**usual, "state": {**usual["state"], "members": 10**9}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "level", "point", "layers", "id"]), inner)
    ),
    max_leaves=6,
)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_store_holds_the_answer_is_clean(app: dash.Dash, usual: dict[str, Any], data: st.DataObject) -> None:
    values = {**usual, data.draw(st.sampled_from([str(name) for name in CHECKS])): data.draw(JSON)}
    for key in callbacks(app):
        if not {"matrix.children", "download.data"} & set(outputs_of(key)):  # they start measurements
            answered(app, key, values)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"null", b'"x"', b"\xff"])
def test_a_body_that_is_no_request_is_not_checked_for_its_values(app: dash.Dash, body: bytes) -> None:
    """The check itself does not fail on it; what Dash says of it is Dash's own."""
    app.server.config["PROPAGATE_EXCEPTIONS"] = False
    response = app.server.test_client().post(f"/{ADDRESS}", data=body, content_type="application/json")
    assert response.status_code >= 400
