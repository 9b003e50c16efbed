"""States from links: what fits is taken, what does not is said, nothing raises."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.web import uploads
from trs_explorer.web.state import CHOICES, NUMBERS, State, defaults, parse_state

MNIST = {"run": "r", "data": "mnist", "members": 3, "images": 10_000}
BARS = {"run": "b", "data": "bars", "members": 2, "images": 400}


def test_nothing_wished_is_the_default_and_no_complaint():
    assert parse_state({}, **MNIST) == (State("r", eps=0.3), [])
    assert parse_state({}, **BARS) == (State("b", plane="random", span=1.0, eps=0.325), [])


def test_a_state_read_back_from_its_own_fields_is_the_same():
    own = base64.urlsafe_b64encode(bytes(range(256)) * 3 + bytes(16)).decode()
    state = State(
        "r", at="0018", weights="0123456789ab", image=77, own=own, plane="images", surrogate=3, target=0, second=9, third=8,
        seed=5, span=2.5, swap=1, layer="margin", hide="0,2", eps=0.125, norm="l2", attack="fgsm", steps=7, n=64,
        start="1.5,-2", filter="wrong", label=4, theme="dark",
    )  # fmt: skip
    assert parse_state({name: str(value) for name, value in state.to_json().items()}, **MNIST) == (state, [])


def test_an_attack_without_a_norm_is_shown_in_the_max_norm(monkeypatch):
    """Else a maximum-norm attack would be drawn in an L2 ball."""
    without = replace(ATTACKS["fgsm"], options=("steps",))
    monkeypatch.setitem(ATTACKS, "fgsm", without)
    state, warnings = parse_state({"attack": "fgsm", "norm": "l2", "eps": "2"}, **MNIST)
    assert (state.norm, state.eps, warnings) == ("linf", 0.3, ["fgsm searches the max norm only"])


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"eps": "abc"}, "eps"),
        ({"eps": "-1"}, "eps"),
        ({"eps": "nan"}, "eps"),
        ({"span": "inf"}, "span"),
        ({"span": "1e400"}, "span"),
        ({"steps": "1.5"}, "steps"),
        ({"steps": "100000"}, "steps"),
        ({"image": "10000"}, "image"),
        ({"third": "99999"}, "third"),
        ({"layer": "colour"}, "layer"),
        ({"surrogate": "4"}, "surrogate"),
        ({"target": "-1"}, "target"),
        ({"label": "10"}, "label"),
        ({"start": "nan,0"}, "start"),
        ({"start": "1,2,3"}, "start"),
        ({"own": "xx"}, "own"),
        ({"own": "ü" * 20}, "own"),
    ],
)
def test_what_cannot_be_had_is_said_once_and_replaced_by_the_default(fields, word):
    state, complaints = parse_state(fields, **MNIST)
    assert state == State("r", eps=0.3)
    assert len(complaints) == 1
    assert word in complaints[0]
    assert len(complaints[0]) < 200


def test_not_every_model_can_be_hidden():
    assert parse_state({"hide": "0,1,2"}, **MNIST)[0].hide == "0,1,2"
    assert parse_state({"hide": "0,1,2,3"}, **MNIST)[0].hide == ""
    assert parse_state({"hide": "7,x,-1,1"}, **MNIST)[0].hide == "1"


def test_the_plane_has_one_slice_and_no_pictures():
    state, _ = parse_state({"plane": "images", "own": "AAAA"}, **BARS)
    assert (state.plane, state.own) == ("random", "")


def test_a_checkpoint_is_a_name_and_no_path():
    assert parse_state({"at": "../../etc"}, **MNIST)[0].at == ""
    assert parse_state({"weights": "<script>"}, **MNIST)[0].weights == ""


@given(st.dictionaries(st.sampled_from([*State.__dataclass_fields__, "more"]), st.one_of(st.text(), st.integers(), st.floats())))
def test_no_wish_raises_and_every_state_is_within_its_ranges(fields):
    for about in (MNIST, BARS):
        state, _ = parse_state(fields, **about)
        for name, option in NUMBERS.items():
            assert option.check(getattr(state, name)) == getattr(state, name)
        for name, choices in CHOICES.items():
            assert getattr(state, name) in choices
        assert 0 <= state.image < about["images"]
        assert 0 <= state.surrogate <= about["members"]
        assert state.start == "" or len(state.point()) == 2
        assert not state.own or uploads.pixels(state.own, 784) is not None
        assert defaults("x", about["data"]).run == "x"
