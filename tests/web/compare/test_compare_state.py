"""The Compare page's state: address, controls, buttons, and the rules between its fields."""

import math
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dash
import pytest
from dash_client import call, open_link, resolve, state_of
from flask import Flask
from web_explorer import Explorer

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web.compare.app import create_compare
from trs_explorer.web.compare.changes import changed_fields, swapped
from trs_explorer.web.compare.pair import FIELDS

EVERY_FIELD = {
    "a": "mnist-standard", "b": "mnist-trs", "along": "b", "image": 77, "seed": 5, "span": 2.5, "eps": 0.125, "norm": "l2",
    "attack": "mim", "loss": "margin", "steps": 7, "step_size": 0.05, "restarts": 3, "n": 128, "theme": "dark",
}  # fmt: skip
PAIR = {"a": "mnist-trs", "b": "mnist-standard"}
State = dict[str, Any]


def shown_by(answer: State) -> State:
    """What the controls hold after an address was opened."""
    return {name: answer[f"{name}.value"] for name in FIELDS}


def controls_of(app: dash.Dash, state: State) -> State:
    return shown_by(resolve(app, **{name: state[name] for name in FIELDS}))


def change(app: dash.Dash, state: State, *, swaps: int = 0, remembered: object = None, **fields: object) -> State:
    """What the page sets after a user has set controls, or has clicked "swap"."""
    shown = {**controls_of(app, state), **fields}
    changed = [f"{name}.value" for name in fields] or "swap.n_clicks"
    return call(app, "state.data", changed=changed, state=state, swap=swaps, remembered=remembered, **shown)


def query(text: str) -> State:
    return {name: values[0] for name, values in parse_qs(urlsplit(text).query).items()}


def library_of(place: Path, *names: str) -> Library:
    for name in names:
        shutil.copytree(folder("checkpoints") / name, place / name)
    return Library([place])


def app_of(library: Library) -> dash.Dash:
    return create_compare(Flask("compare"), library, Jobs())


# --- state and address -----------------------------------------------------------------------------------------------


def test_an_address_holds_every_field_and_reads_back_as_the_same_state(compare: dash.Dash, explorer: Explorer) -> None:
    assert {*EVERY_FIELD, "options"} == set(FIELDS)  # "options", of an attack of others: test_custom_attacks.py
    answer = resolve(compare, **EVERY_FIELD)
    state = answer["state.data"]
    assert answer["notice.children"] == ""
    assert {name: state[name] for name in FIELDS} == {**EVERY_FIELD, "options": ""}
    assert [state["weights_a"], state["weights_b"]] == [explorer.library.load(EVERY_FIELD[side]).digest for side in "ab"]
    default = state_of(compare)
    assert [name for name in EVERY_FIELD if default[name] == state[name]] == []  # a field that is dropped would be seen
    assert "address.search" not in answer  # a link that was opened stays as it was
    written = change(compare, state, image=78)["address.search"]
    weights = {name: state[name][:12] for name in ("weights_a", "weights_b")}
    assert query(written) == {name: str(value) for name, value in {**EVERY_FIELD, "image": 78, **weights}.items()}
    assert open_link(compare, written)["state.data"] == {**state, "image": 78}


def test_a_link_to_other_weights_says_so_for_its_side_alone(compare: dash.Dash) -> None:
    state = state_of(compare, **PAIR)
    for side, name, other in (("A", "mnist-trs, epoch 36", "mnist-standard"), ("B", "mnist-standard, epoch 135", "mnist-trs")):
        field = f"weights_{side.lower()}"
        answer = resolve(
            compare, **{**PAIR, "weights_a": state["weights_a"], "weights_b": state["weights_b"], field: "0123abcd" * 8}
        )
        (line,) = answer["notice.children"].splitlines()
        assert line == f"{side} is {name}: the link was made with other weights (0123abcd0123; these are {state[field][:12]})"
        assert other not in line
        # It is said of the link, and not again of what the user then chooses.
        later = change(compare, answer["state.data"], image=9)
        assert later["notice.children"] == ""
        assert query(later["address.search"])[field] == state[field][:12]


def test_a_run_that_saves_more_is_no_link_to_other_weights(tmp_path: Path) -> None:
    library = library_of(tmp_path, "mnist-trs-ten", "mnist-standard")
    run = library.run("mnist-trs-ten").path
    last = sorted(run.glob("epoch-*.safetensors"))[-1]
    hidden = last.rename(tmp_path / "later")
    app = app_of(library)
    before = resolve(app, a="mnist-trs-ten", b="mnist-standard")
    link = change(app, before["state.data"], image=9)["address.search"]
    hidden.rename(last)
    after = call(app, "state.data", changed="newest.data", state=before["state.data"], newest={"a": 1}, **shown_by(before))
    assert after["state.data"]["weights_a"] != before["state.data"]["weights_a"]
    assert "notice.children" not in after
    assert "A is mnist-trs-ten, epoch 10: the link was made with other weights" in open_link(app, link)["notice.children"]


def test_controls_show_the_state(compare: dash.Dash) -> None:
    numbers = ("image", "seed", "span", "eps", "steps", "step_size", "restarts")
    expected = {name: value if name in numbers else str(value) for name, value in EVERY_FIELD.items()}
    assert shown_by(resolve(compare, **EVERY_FIELD)) == {**expected, "options": ""}


def test_setting_a_control_to_what_it_shows_changes_nothing(compare: dash.Dash) -> None:
    """Dash calls the callback again for every control that it has set itself: the circle must end there."""
    answer = resolve(compare, **PAIR, image=3)
    for name in FIELDS:
        for value in (answer[f"{name}.value"], None, ""):  # None: a number that is being typed
            assert change(compare, answer["state.data"], **{name: value}) == {}, (name, value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("a", "mnist-standard", "mnist-standard"), ("b", "mnist-trs", "mnist-trs"), ("along", "a", "a"), ("image", 5, 5),
        ("seed", 9, 9), ("span", 3.5, 3.5), ("eps", "0.2", 0.2), ("norm", "l2", "l2"), ("attack", "fgsm", "fgsm"),
        ("loss", "margin", "margin"), ("steps", 20, 20), ("step_size", 0.1, 0.1), ("restarts", 2, 2), ("n", "512", 512),
        ("theme", "light", "light"),
    ],
)  # fmt: skip
def test_every_control_sets_its_field_in_state_and_address(
    compare: dash.Dash, name: str, value: object, expected: object
) -> None:
    before = state_of(compare, **PAIR)
    answer = change(compare, before, **{name: value})
    assert answer["state.data"][name] == expected
    assert query(answer["address.search"])[name] == str(expected)
    may_change = {name, *({"eps"} if name == "norm" else ())}
    assert [f for f in FIELDS if f not in may_change and answer["state.data"][f] != before[f]] == []


def test_every_control_has_such_a_case() -> None:
    (cases,) = [mark.args[1] for mark in test_every_control_sets_its_field_in_state_and_address.pytestmark]
    assert {case[0] for case in cases} | {"options"} == set(FIELDS)  # "options": test_custom_attacks.py


def test_a_change_sends_only_what_depends_on_it(compare: dash.Dash) -> None:
    """A slider of the radius must not draw the slices anew, nor the stored charts."""
    before = state_of(compare, **PAIR)

    def sent(**fields: object) -> set[str]:
        return {name.partition("-fields")[0] for name in change(compare, before, **fields) if name.endswith("-fields.data")}

    assert sent(eps="0.2") == {"attack", "measure"}
    assert sent(image=5) == {"slice", "attack"}
    assert sent(n="64") == {"measure"}
    assert sent(theme="dark") == set()
    assert sent(b="mnist-trs") == {"run", "slice", "attack", "measure"}
    after = change(compare, before, eps="0.2")
    assert not {name for name in after if name.endswith(("options", "style"))}


# --- what changes with a field ---------------------------------------------------------------------------------------


def test_other_data_of_a_drops_what_belongs_to_the_data(compare: dash.Dash) -> None:
    before = state_of(compare, **{**EVERY_FIELD, "norm": "linf"})
    answer = change(compare, before, a="bars-cos-only")
    after = answer["state.data"]
    assert {name for name in FIELDS if after[name] != before[name]} == {"a", "b", "image", "span", "eps", "along"}
    assert (after["b"], after["along"], answer["notice.children"]) == ("bars-cos-only", "a", "")
    data_of = {"one": "mnist", "two": "bars"}
    fields = {"a": "one", "b": "x", "image": 3, "span": 1, "eps": 0.1, "along": "b", "n": 64}
    assert changed_fields(fields, {"a": "two", "eps": 0.2}, data_of) == {"a": "two", "eps": 0.2, "n": 64}
    assert changed_fields(fields, {"a": "three"}, {**data_of, "three": "mnist"}) == {**fields, "a": "three"}


def test_another_norm_drops_the_radius_and_nothing_else(compare: dash.Dash) -> None:
    before = state_of(compare, **EVERY_FIELD)
    answer = change(compare, before, norm="linf")
    after = answer["state.data"]
    assert {name for name in FIELDS if after[name] != before[name]} == {"norm", "eps"}
    assert (after["eps"], answer["eps-value.children"]) == (0.3, "0.3 (max norm)")


@pytest.mark.parametrize(("along", "then"), [("a", "b"), ("b", "a"), ("both", "both")])
def test_swap_exchanges_runs_weights_and_gradients_and_nothing_else(compare: dash.Dash, along: str, then: str) -> None:
    before = state_of(compare, **PAIR, along=along, image=3)
    answer = change(compare, before, swaps=1)
    after = answer["state.data"]
    runs = {"a": before["b"], "b": before["a"], "along": then}
    exchanged = runs | {"weights_a": before["weights_b"], "weights_b": before["weights_a"]}
    assert after == {**before, **exchanged, "swaps": 1, "offers": after["offers"]}
    assert (answer["a.value"], answer["b.value"]) == ("mnist-standard", "mnist-trs")
    assert query(answer["address.search"])["along"] == then
    again = change(compare, after, swaps=2)["state.data"]
    assert again == {**before, "swaps": 2}
    assert swapped(swapped({**before})) == before


def test_changes_that_overtake_one_another_are_all_kept(compare: dash.Dash) -> None:
    """Dash drops the answer to a request when a newer one starts: the newer one makes both changes, and the swap."""
    before = state_of(compare, **PAIR)
    shown = {**controls_of(compare, before), "eps": "0.1", "image": 5}
    after = call(compare, "state.data", changed="image.value", state=before, swap=1, **shown)["state.data"]
    assert (after["eps"], after["image"], after["a"], after["b"]) == (0.1, 5, "mnist-standard", "mnist-trs")
    assert call(compare, "state.data", changed="swap.n_clicks", state=before, swap=2, **controls_of(compare, before)) == {}


def test_b_offers_runs_with_the_same_test_images_only(compare: dash.Dash) -> None:
    answer = resolve(compare, **PAIR)
    assert [option["value"] for option in answer["a.options"]] == ["bars-cos-only", "mnist-standard", "mnist-trs"]
    assert [option["value"] for option in answer["b.options"]] == ["mnist-standard", "mnist-trs"]
    moved = change(compare, answer["state.data"], a="bars-cos-only")
    assert [option["value"] for option in moved["b.options"]] == ["bars-cos-only"]


def test_only_controls_that_the_state_needs_are_visible(compare: dash.Dash) -> None:
    def hidden(**fields: object) -> set[str]:
        answer = resolve(compare, **fields)
        return {name.partition("-label")[0] for name, value in answer.items() if name.endswith("-label.style") and value}

    assert hidden(a="mnist-trs", attack="pgd") == set()
    assert hidden(a="mnist-trs", attack="fgsm") >= {"steps", "step_size", "restarts"}
    assert hidden(a="bars-cos-only") >= {"along", "span", "seed"}
    shown = change(compare, state_of(compare, **PAIR), attack="fgsm")
    assert shown["steps-label.style"] == {"display": "none"}


# --- the run B that was chosen last ----------------------------------------------------------------------------------


def test_the_choice_of_b_is_remembered_for_its_data(tmp_path: Path) -> None:
    app = app_of(library_of(tmp_path, "mnist-trs", "mnist-dverge", "mnist-adp", "bars-trs", "bars-cos-only"))
    opened = resolve(app, a="mnist-trs")
    assert opened["state.data"]["b"] == "mnist-dverge"
    assert "remembered.data" not in opened
    answer = change(app, opened["state.data"], b="mnist-adp")
    kept = answer["remembered.data"]
    assert kept == {"mnist": "mnist-adp"}
    link = call(app, "state.data", changed="address.search", address="?a=mnist-trs", remembered=kept)
    assert link["state.data"]["b"] == "mnist-adp"
    named = call(app, "state.data", changed="address.search", address="?a=mnist-trs&b=mnist-dverge", remembered=kept)
    assert named["state.data"]["b"] == "mnist-dverge"
    assert "remembered.data" not in named  # a link is no choice
    other = change(app, link["state.data"], a="bars-trs", remembered=kept)
    assert other["state.data"]["b"] == "bars-cos-only"
    assert change(app, other["state.data"], a="mnist-trs", remembered=kept)["state.data"]["b"] == "mnist-adp"
    swap = change(app, link["state.data"], swaps=1, remembered=kept)
    assert (swap["state.data"]["b"], "remembered.data" in swap) == ("mnist-trs", False)
    for useless in ({"mnist": "gone"}, {"mnist": "bars-trs"}, {"mnist": "mnist-trs"}, {"mnist": 5}):
        found = call(app, "state.data", changed="address.search", address="?a=mnist-trs", remembered=useless)
        assert (found["state.data"]["b"], found["notice.children"]) == ("mnist-dverge", ""), useless


# --- runs that cannot be shown ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "name"), [("a", "nobody"), ("b", "../../etc"), ("a", "<b>x")])
def test_an_unknown_run_is_said_and_another_one_shown(compare: dash.Dash, side: str, name: str) -> None:
    answer = resolve(compare, **{**PAIR, side: name})
    assert name in answer["notice.children"]
    assert {answer["state.data"]["a"], answer["state.data"]["b"]} <= {"mnist-trs", "mnist-standard"}
    assert answer["a.value"] == answer["state.data"]["a"]


def test_a_hostile_link_is_said_field_by_field(compare: dash.Dash) -> None:
    answer = resolve(compare, **PAIR, image="9" * 30, along="up", eps="nan", steps="-1", n="x", attack="rm", theme="pink")
    words = answer["notice.children"]
    assert [name for name in ("image", "along", "eps", "steps", "attack", "theme", "n takes") if name not in words] == []
    state = answer["state.data"]
    assert (state["along"], state["eps"], state["attack"], state["theme"]) == ("both", 0.3, "pgd", "auto")


def test_runs_that_are_no_pair_are_said(compare: dash.Dash) -> None:
    answer = resolve(compare, a="mnist-trs", b="bars-cos-only")
    assert answer["notice.children"] == "bars-cos-only is on bars, mnist-trs on mnist: B is mnist-standard"
    assert answer["b.value"] == "mnist-standard"


def test_a_damaged_run_is_said_and_the_page_goes_on_with_another(tmp_path: Path) -> None:
    library = library_of(tmp_path, "mnist-trs", "mnist-dverge", "mnist-adp")
    for weights in (tmp_path / "mnist-dverge").glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:5000])
    app = app_of(library)
    answer = resolve(app, a="mnist-trs", b="mnist-dverge")
    state = answer["state.data"]
    assert "damaged" in state["error"]
    assert "mnist-dverge" in state["error"]
    assert (answer["a.value"], answer["b.value"]) == ("mnist-trs", "mnist-dverge")
    shown = call(app, "slices-a.data", slice_fields=answer["slice-fields.data"])
    assert (shown["slices-a.data"], shown["slices-b.data"]) == (None, None)
    assert shown["slice-error.children"] == state["error"]
    held = {"a": "mnist-trs", "b": "mnist-adp"}
    after = call(app, "state.data", changed="b.value", state=state, **held)
    assert "error" not in after["state.data"]
    assert {side: after["state.data"][side] for side in "ab"} == held
    assert after["slice-fields.data"]["b"] == "mnist-adp"
    assert call(app, "slices-a.data", slice_fields=after["slice-fields.data"])["slice-error.children"] == ""


def test_a_running_training_is_followed_and_a_run_that_has_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = library_of(tmp_path, "bars-cos-only", "bars-trs")
    (tmp_path / "bars-cos-only").rename(tmp_path / "live")
    monkeypatch.setattr("trs_explorer.explore.library.SCAN_INTERVAL_S", -math.inf)
    app = app_of(library)
    state = state_of(app, a="live", b="bars-trs")
    noticed = call(app, "newest.data", changed="alive.data", alive=1, state=state)["newest.data"]
    assert call(app, "newest.data", changed="alive.data", alive=2, state=state, newest=noticed) == {}
    shutil.copy(tmp_path / "live" / "epoch-0400.safetensors", tmp_path / "live" / "epoch-0900.safetensors")
    later = call(app, "newest.data", changed="alive.data", alive=3, state=state, newest=noticed)["newest.data"]
    shown = controls_of(app, state)
    answer = call(app, "state.data", changed="newest.data", newest=later, state=state, **shown)
    after = answer["state.data"]
    assert after["weights_a"] == library.load("live", "0900").digest != state["weights_a"]
    assert answer["slice-fields.data"]["weights_a"] == answer["measure-fields.data"]["weights_a"] == after["weights_a"]
    shutil.rmtree(tmp_path / "live")
    gone = call(app, "newest.data", changed="alive.data", alive=4, state=after, newest=later)["newest.data"]
    answer = call(app, "state.data", changed="newest.data", newest=gone, state=after, **shown)
    assert "'live'" in answer["notice.children"]
    assert (answer["state.data"]["a"], [option["value"] for option in answer["a.options"]]) == ("bars-trs", ["bars-trs"])


# --- from page to page -----------------------------------------------------------------------------------------------


def test_explore_and_compare_hand_run_image_and_attack_on(app: dash.Dash, compare: dash.Dash) -> None:
    here = {"image": 5, "eps": 2.25, "norm": "l2", "attack": "mim", "steps": 7}
    there = open_link(compare, "?" + urlsplit(resolve(app, run="mnist-standard", **here)["nav-compare.href"]).query)
    assert there["notice.children"] == ""
    assert {name: there["state.data"][name] for name in ("a", *here)} == {"a": "mnist-standard", **here}
    assert there["nav-explore.href"].startswith("/?")
    back = open_link(app, "?" + urlsplit(there["nav-explore.href"]).query)["state.data"]
    assert {name: back[name] for name in ("run", *here)} == {"run": "mnist-standard", **here}
