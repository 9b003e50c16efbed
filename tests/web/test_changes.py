"""The rules between the fields of the page's state."""

import pytest

from trs_explorer.web.changes import changed_fields, same
from trs_explorer.web.state import State, default_eps, parse_state

DATA = {"one": "mnist", "two": "mnist", "flat": "bars"}
BEFORE = State("one", at="0036", weights="ab", image=3, own="", start="1,2", hide="1", eps=0.2, surrogate=2, span=3.0).to_json()


def after(**changes):
    return changed_fields(BEFORE, changes, DATA)


def missing(fields):
    return {name for name in BEFORE if name not in fields}


def test_a_field_that_is_set_to_what_it_is_changes_nothing():
    assert after(image="3", eps="0.20", run="one") == BEFORE


def test_another_run_keeps_the_image_where_the_data_are_the_same():
    assert missing(after(run="two")) == {"at", "weights", "start", "hide"}
    assert after(run="two")["image"] == 3
    assert {"image", "eps", "span", "plane"} < missing(after(run="flat"))
    assert after(run="flat", image=7)["image"] == 7


def test_a_start_in_another_plane_would_be_another_point():
    for change in ({"image": 4}, {"plane": "random"}, {"target": 0}, {"swap": 1}, {"seed": 5}):
        assert "start" in missing(after(**change)), change
    for change in ({"eps": 0.1}, {"span": 9}, {"layer": "margin"}, {"attack": "fgsm"}):
        assert missing(after(**change)) == set(), change
    assert after(image=4, start="0,1")["start"] == "0,1"


def test_a_picked_image_replaces_an_own_picture():
    assert "own" in missing(changed_fields({**BEFORE, "own": "abc"}, {"image": 4}, DATA))


@pytest.mark.parametrize(("data", "linf", "l2"), [("mnist", 0.3, 2.1), ("cifar10", 0.04, 0.55)])
def test_the_radius_is_the_norms_own(data, linf, l2):
    assert "eps" in missing(after(norm="l2"))
    assert default_eps(data, "linf") == pytest.approx(linf, rel=0.1)
    assert default_eps(data, "l2") == pytest.approx(l2, rel=0.1)
    state, warnings = parse_state(after(norm="l2"), run="one", data=data, members=3, images=10)
    assert (state.eps, warnings) == (default_eps(data, "l2"), [])
    state, _ = parse_state({**after(norm="l2"), "eps": "1.5"}, run="one", data=data, members=3, images=10)
    assert state.eps == 1.5


def test_a_field_that_is_not_there_is_not_zero():
    """After an error the page's state has no image: image 0, which the control shows, is then a change."""
    assert not same(None, 0)
    assert same(None, "")
    assert same("", None)
    assert same("0", 0)
