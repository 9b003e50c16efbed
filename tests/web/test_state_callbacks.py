"""The callback that owns the page's state: addresses, controls and buttons, and what each of them sets."""

import base64
import math
import shutil
from queue import Queue
from urllib.parse import parse_qs

import pytest
from dash_client import call, click, controls_of, open_link, resolve, set_control, state_of

from trs_explorer.explore.library import Library, StillRead
from trs_explorer.shipped import folder
from trs_explorer.web import controls, slice_cache, state_callbacks
from trs_explorer.web.app import create_app
from trs_explorer.web.state import State

OWN = base64.urlsafe_b64encode(bytes(range(256)) * 3 + bytes(16)).decode()
EVERY_FIELD = {
    "run": "mnist-trs", "at": "0018", "image": 77, "own": OWN, "plane": "images", "surrogate": 3, "target": 0, "second": 9,
    "third": 8, "seed": 5, "span": 2.5, "swap": 1, "layer": "margin", "hide": "0,2", "eps": 0.125, "norm": "l2",
    "attack": "mim", "loss": "margin", "steps": 7, "step_size": 0.05, "restarts": 3, "n": 64, "start": "1.5,-2",
    "filter": "wrong", "label": 4, "theme": "dark", "present": 1, "bounds": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(explorer):
    return explorer.library.load("mnist-trs", "0018").digest[:12]


# --- state and address -----------------------------------------------------------------------------------------------


def test_an_address_holds_every_field_and_reads_back_as_the_same_state(app, weights):
    fields = {**EVERY_FIELD, "weights": weights, "options": ""}
    assert set(fields) == set(State.__dataclass_fields__)
    default = State("none", weights="none").to_json()
    # Options of an attack of others: test_custom_attacks.py
    chosen = {name: value for name, value in fields.items() if name != "options"}
    assert [name for name, value in chosen.items() if default[name] == value] == []  # a field that is dropped would be seen
    answer = resolve(app, **fields)
    assert answer["notice.children"] == ""
    state = answer["state.data"]
    assert {name: state[name] for name in fields} == fields
    assert open_link(app, answer["address.search"])["state.data"] == state
    written = {name: values[0] for name, values in parse_qs(answer["address.search"].lstrip("?")).items()}
    assert written == {name: str(value) for name, value in fields.items() if value != ""}


def test_controls_show_the_state_of_the_address(app, weights):
    answer = resolve(app, **EVERY_FIELD, weights=weights)
    shown = {name: answer[f"{name}.{prop}"] for name, prop in controls.FIELDS.items()}
    expected = {name: EVERY_FIELD[name] for name in shown if name not in ("shown", "options", *controls.SWITCHES)}
    texts = {name: str(expected[name]) for name in ("surrogate", "target", "n", "label")}  # a selection's values are texts
    assert shown == {**expected, **texts, "shown": ["1", "3"], "options": "", **dict.fromkeys(controls.SWITCHES, True)}


def test_setting_a_control_to_what_it_shows_changes_nothing(app):
    """Dash calls the callback again for every control that it has set itself: the circle must end there."""
    answer = resolve(app, run="mnist-trs", image=3, hide="1")
    for name, prop in controls.FIELDS.items():
        value = answer[f"{name}.{prop}"]
        assert set_control(app, answer["state.data"], name, value) == {}, (name, value)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("run", "bars-cos-only", "run", "bars-cos-only"),
        ("at", "0018", "at", "0018"),
        ("filter", "wrong", "filter", "wrong"),
        ("label", "7", "label", 7),
        ("image", 5, "image", 5),
        ("plane", "images", "plane", "images"),
        ("surrogate", "2", "surrogate", 2),
        ("target", "3", "target", 3),
        ("second", 11, "second", 11),
        ("third", 12, "third", 12),
        ("span", 3.5, "span", 3.5),
        ("seed", 9, "seed", 9),
        ("swap", True, "swap", 1),
        ("layer", "margin", "layer", "margin"),
        ("shown", ["0", "3"], "hide", "1,2"),
        ("eps", "0.2", "eps", 0.2),  # a slider's value is a text
        ("attack", "fgsm", "attack", "fgsm"),
        ("loss", "margin", "loss", "margin"),
        ("steps", 20, "steps", 20),
        ("step_size", 0.1, "step_size", 0.1),
        ("restarts", 2, "restarts", 2),
        ("norm", "l2", "norm", "l2"),
        ("n", "512", "n", 512),
        ("theme", "light", "theme", "light"),
        ("present", True, "present", 1),
        ("bounds", True, "bounds", 1),
        ("start", "0.5,1", "start", "0.5,1"),
        ("own", OWN, "own", OWN),
    ],
)
def test_every_control_sets_its_field_in_state_and_address(app, name, value, field, expected):
    before = state_of(app, run="mnist-trs")
    answer = set_control(app, before, name, value)
    assert answer["state.data"][field] == expected
    assert parse_qs(answer["address.search"].lstrip("?"))[field] == [str(expected)]
    others = {"weights", "members", "eps" if field == "norm" else ""}
    if field != "run":  # another run is another story: see below
        kept = {name: value for name, value in answer["state.data"].items() if name not in (field, *others)}
        assert kept == {name: before[name] for name in kept}


def test_a_step_of_eps_brings_its_attacks_along_and_another_image_does_not(app, monkeypatch):
    """A second request for them takes longer than the attack. The store that would ask for them stays as it is."""
    monkeypatch.setattr(state_callbacks, "SOON_S", 20.0)
    before = state_of(app, run="bars-cos-only", image=3)
    call(app, "slice-data.data", slice_state=before)
    answer = set_control(app, before, "eps", "0.21")
    state = answer["state.data"]
    asked = call(app, "attack-data.data", changed="attack-state.data", attack_state=state)["attack-data.data"]
    assert answer["attack-data.data"] == asked
    assert asked["about"]["eps"] == 0.21
    assert "ε 0.21" in asked["words"]["attack-words"]
    assert not {"attack-state.data", "slice-state.data"} & set(answer)
    other = set_control(app, state, "image", 4)
    assert "attack-data.data" not in other
    assert other["attack-state.data"] == other["slice-state.data"] == other["state.data"]
    assert "attack-data.data" not in set_control(app, state, "layer", "margin")


def test_the_slice_hears_of_a_layer_and_not_of_what_it_does_not_depend_on(app):
    """It has the pixels of a layer only if they were asked for."""
    before = state_of(app, run="bars-cos-only", image=3)
    assert set_control(app, before, "layer", "margin")["slice-state.data"]["layer"] == "margin"
    for name, value in (("eps", "0.2"), ("n", "64"), ("filter", "wrong"), ("shown", ["0"])):
        assert "slice-state.data" not in set_control(app, before, name, value), name


def test_the_attacks_one_step_on_are_begun(app, monkeypatch):
    """With a slider that goes on as it has, they are there when they are asked for. Below 0 there are none."""
    monkeypatch.setattr(state_callbacks, "SOON_S", 20.0)
    made, make = Queue(), slice_cache.make_attack_paths

    def recorded(loaded, state, view):
        if state.seed == 4321:  # others may be begun still, by tests before
            made.put(state.eps)
        return make(loaded, state, view)

    monkeypatch.setattr(slice_cache, "make_attack_paths", recorded)
    state = state_of(app, run="bars-cos-only", image=9, eps=0.02, seed=4321)
    call(app, "slice-data.data", slice_state=state)
    call(app, "attack-data.data", attack_state=state)
    assert made.get(timeout=20) == 0.02
    for eps, begun in (("0.03", [0.03, 0.04]), ("0.04", [0.05]), ("0.01", [0.01])):
        state = set_control(app, state, "eps", eps)["state.data"]
        assert [made.get(timeout=20) for _ in begun] == begun
    other = state_of(app, run="bars-cos-only", image=10, eps=0.07, seed=4321)
    assert made.get(timeout=20) == other["eps"]


def test_attacks_that_take_long_are_asked_for(app, monkeypatch):
    monkeypatch.setattr(state_callbacks, "SOON_S", 0.0)
    answer = set_control(app, state_of(app, run="bars-cos-only", image=3), "eps", "0.22")
    assert "attack-data.data" not in answer
    assert answer["attack-state.data"]["eps"] == 0.22


def test_every_control_has_such_a_case():
    (cases,) = [mark.args[1] for mark in test_every_control_sets_its_field_in_state_and_address.pytestmark]
    assert {case[0] for case in cases} | {"options"} == set(controls.FIELDS)  # "options": test_custom_attacks.py


# --- what changes with a field ---------------------------------------------------------------------------------------


def dropped(before, answer):
    """The fields that a change has put back to their defaults; `before` differs from the default in all of them."""
    return {name for name in EVERY_FIELD if answer["state.data"][name] != before[name]}


@pytest.fixture(scope="module")
def unusual(app):
    """A state that differs from the defaults in every field that a change may drop."""
    return state_of(app, **EVERY_FIELD | {"present": 0})


def test_another_run_on_the_same_data_drops_what_belongs_to_a_run(app, unusual):
    answer = set_control(app, unusual, "run", "mnist-standard")
    assert dropped(unusual, answer) == {"run", "at", "start", "hide"}
    assert (answer["state.data"]["image"], answer["state.data"]["weights"] != unusual["weights"]) == (77, True)
    assert answer["notice.children"] == ""  # the other run's weights are no broken promise of a link


def test_another_run_on_other_data_drops_what_belongs_to_the_data_too(app, unusual):
    answer = set_control(app, unusual, "run", "bars-cos-only")
    assert dropped(unusual, answer) == {
        "run", "at", "start", "hide", "image", "own", "second", "third", "eps", "span", "plane", "label", "surrogate", "target",
    }  # fmt: skip
    assert answer["notice.children"] == ""


def test_another_norm_drops_the_radius_and_nothing_else(app, unusual):
    answer = set_control(app, unusual, "norm", "linf")
    assert dropped(unusual, answer) == {"norm", "eps"}
    assert (answer["state.data"]["eps"], answer["eps-value.children"]) == (0.3, "0.3 (max norm)")


def test_another_image_drops_the_start_and_the_own_picture(app, unusual):
    assert dropped(unusual, set_control(app, unusual, "image", 5)) == {"image", "own", "start"}


def test_a_click_on_a_cell_shows_its_pair_and_on_an_image_that_image(app, unusual):
    state = click(app, unusual, {"surrogate": "1", "target": "2", "plane": "gradients"})["state.data"]
    assert (state["surrogate"], state["target"], state["plane"]) == (1, 2, "gradients")
    state = click(app, unusual, {"image": 5, "own": "", "start": ""})["state.data"]
    assert (state["image"], state["own"], state["start"], state["eps"]) == (5, "", "", 0.125)


def test_changes_that_overtake_one_another_are_all_kept(app):
    """Dash drops the answer to a request when a newer one starts: the newer one makes both changes."""
    state = state_of(app, run="mnist-trs")
    shown = {**controls_of(app, state), "eps": "0.1", "image": 5}
    after = call(app, "state.data", changed="image.value", state=state, **shown)["state.data"]
    assert (after["eps"], after["image"]) == (0.1, 5)


def test_a_number_that_is_being_typed_changes_nothing(app):
    state = state_of(app, run="mnist-trs")
    for value in (None, ""):
        assert set_control(app, state, "image", value) == {}
    assert set_control(app, state, "steps", 10**6)["notice.children"].startswith("steps must be")


def test_not_every_model_can_be_switched_off(app):
    state = state_of(app, run="mnist-trs", hide="0,1,2")
    answer = set_control(app, state, "shown", [])
    assert (answer["state.data"]["hide"], answer["shown.value"]) == ("", ["0", "1", "2", "3"])


def test_presentation_is_in_the_link(app):
    """A presenter's link opens as a presentation."""
    answer = set_control(app, state_of(app, run="mnist-trs"), "present", True)
    assert "present=1" in answer["address.search"].split("&")
    opened = open_link(app, answer["address.search"])
    assert (opened["present.value"], opened["state.data"]["present"]) == (True, 1)
    assert set_control(app, opened["state.data"], "present", False)["state.data"]["present"] == 0


def test_only_controls_that_the_state_needs_are_visible(app):
    def hidden(**fields):
        answer = resolve(app, **fields)
        return {name.partition(".")[0] for name, value in answer.items() if name.endswith("-label.style") and value}

    assert hidden(run="mnist-trs", attack="pgd") == {"second-label", "third-label"}
    assert hidden(run="mnist-trs", attack="pgd", plane="images") == {"span-label", "target-label"}
    assert hidden(run="mnist-trs", attack="fgsm", plane="random") >= {"steps-label", "step_size-label", "restarts-label"}
    assert hidden(run="bars-cos-only") >= {"plane-label", "span-label", "seed-label", "upload-label"}


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.3), ("l2", 2.1)])
def test_the_slider_reaches_beyond_the_default_and_always_to_the_state(app, norm, eps):
    answer = resolve(app, run="mnist-trs", norm=norm)
    assert answer["eps.value"] == pytest.approx(eps, rel=0.1)
    assert answer["eps.max"] > 1.5 * answer["eps.value"]
    assert answer["eps.step"] == pytest.approx(answer["eps.max"] / 120, rel=0.5)
    assert resolve(app, run="mnist-trs", norm=norm, eps=9)["eps.max"] == 9


def test_models_and_classes_to_choose_from_are_those_of_the_run(app):
    answer = resolve(app, run="bars-cos-only")
    assert [option["label"] for option in answer["surrogate.options"]] == ["F1", "F2", "ensemble"]
    assert [option["value"] for option in answer["label.options"]] == ["-1", "0", "1"]
    answer = resolve(app, run="mnist-trs")
    assert answer["surrogate.options"] == answer["target.options"] == answer["shown.options"]
    assert [option["label"] for option in answer["shown.options"]] == ["F1", "F2", "F3", "ensemble"]
    assert [option["label"] for option in answer["at.options"]] == ["newest", "epoch 18", "epoch 36"]
    assert len(answer["label.options"]) == 11


def test_the_slider_of_checkpoints_and_the_selection_are_one(app):
    opened = resolve(app, run="mnist-trs", at="0018")
    assert (opened["scrub.value"], opened["scrub.max"], opened["scrub-value.children"]) == (0, 1, "epoch 18")
    state = opened["state.data"]
    last = call(app, "state.data", changed="scrub.value", scrub="1", state=state, **controls_of(app, state))
    assert (last["state.data"]["at"], last["at.value"]) == ("", "newest")  # so that a running training is followed
    assert last["scrub-value.children"] == "epoch 36, newest"
    state = last["state.data"]
    first = call(app, "state.data", changed="scrub.value", scrub="0", state=state, **controls_of(app, state))
    assert (first["state.data"]["at"], first["at.value"]) == ("0018", "0018")
    for place in ("2", "-1", "x", None, 10**30, 0.5):
        assert call(app, "state.data", changed="scrub.value", scrub=place, state=state, **controls_of(app, state)) == {}


def test_the_state_follows_a_run_that_saves_more_and_says_that_one_has_gone(tmp_path, monkeypatch):
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / "live")
    shutil.copytree(folder("checkpoints") / "bars-trs", tmp_path / "other")
    library = Library([tmp_path])
    monkeypatch.setattr("trs_explorer.explore.library.SCAN_INTERVAL_S", -math.inf)
    app = create_app(library)
    state = state_of(app, run="live")
    noticed = call(app, "newest.data", changed="alive.data", alive=1, state=state)["newest.data"]
    assert call(app, "newest.data", changed="alive.data", alive=2, state=state, newest=noticed) == {}
    shutil.copy(tmp_path / "live" / "epoch-0400.safetensors", tmp_path / "live" / "epoch-0900.safetensors")
    later = call(app, "newest.data", changed="alive.data", alive=3, state=state, newest=noticed)["newest.data"]
    assert later["saved"] == ["0400", "0800", "0900"]
    shown = controls_of(app, state)
    answer = call(app, "state.data", changed="newest.data", newest=later, state=state, **shown)
    assert [option["value"] for option in answer["at.options"]] == ["newest", "0400", "0800", "0900"]
    assert answer["state.data"]["weights"] == library.load("live", "0900").digest[:12] != state["weights"]
    assert not answer.get("notice.children")  # it was no link that named the older weights
    shutil.rmtree(tmp_path / "live")
    gone = call(app, "newest.data", changed="alive.data", alive=4, state=state, newest=later)["newest.data"]
    assert gone["runs"] == ["other"]
    answer = call(app, "state.data", changed="newest.data", newest=gone, state=answer["state.data"], **shown)
    assert answer["notice.children"] == "there is no run live here: this is other"


def test_changes_that_arrive_together_all_count(app):
    """Dash joins what changes while a request is under way: the slider's move counts also if it is not the first of them."""
    state = state_of(app, run="mnist-trs")
    shown = {**controls_of(app, state), "image": 5}
    answer = call(app, "state.data", changed=["image.value", "scrub.value"], scrub="0", state=state, **shown)
    assert (answer["state.data"]["image"], answer["state.data"]["at"]) == (5, "0018")


# --- a run that takes long to read -----------------------------------------------------------------------------------


def test_a_run_that_is_still_read_appears_later_as_its_address_asked(app, monkeypatch):
    """The controls hold what an empty page holds: none of that may come into the state."""
    expected = resolve(app, run="mnist-trs", image=7, eps=0.125, n=64)
    empty = {name: [] if name == "shown" else False if name in controls.SWITCHES else None for name in controls.FIELDS}
    load = Library.load

    def busy(*_):
        raise StillRead("another request is still reading it")

    monkeypatch.setattr(Library, "load", busy)
    address = "?run=mnist-trs&image=7&eps=0.125&n=64"
    waiting = call(app, "state.data", changed="address.search", address=address)["state.data"]
    assert waiting["error"] == "mnist-trs is still being read: it appears here as soon as it is there"
    beats = [call(app, "newest.data", changed="alive.data", alive=n, state=waiting)["newest.data"] for n in (1, 9)]
    assert beats[0] != beats[1]  # so that the state is asked for again
    about = {"state": waiting, "address": address, "newest": beats[1], "run": "mnist-trs"}
    again = call(app, "state.data", changed="newest.data", **{**empty, **about})["state.data"]
    assert again == waiting
    monkeypatch.setattr(Library, "load", load)
    there = call(app, "state.data", changed="newest.data", **{**empty, **about})
    assert (there["slice-poll.disabled"], there["surrogate.options"]) == (True, expected["surrogate.options"])
    assert there["state.data"] == expected["state.data"]
    moved = call(app, "state.data", changed="image.value", **{**empty, **about, "image": 9})["state.data"]
    assert moved == there["state.data"] | {"image": 9}
