"""What a viewer may change of a running training."""

from types import SimpleNamespace

import pytest

from trs_explorer.catalogue import METHODS
from trs_explorer.config import resolve
from trs_explorer.training.control import apply

LAMBDAS = [(method, name) for method, entry in METHODS.items() for name in entry.defaults if name.startswith("lambda_")]
FIXED = [(method, name) for method, name in LAMBDAS if name in METHODS[method].fixed]


def _state(method: str) -> SimpleNamespace:
    config = resolve({"method": method})
    return SimpleNamespace(run=SimpleNamespace(config=config), options=dict(config.options))


@pytest.mark.parametrize(("method", "name"), FIXED)
def test_a_weight_that_makes_the_method_what_it_is_stays(method, name):
    state = _state(method)
    before = dict(state.options)
    echo = apply(state, {"action": "set", "name": name, "value": before[name] + 0.25})
    assert name in echo["error"]
    assert state.options == before


@pytest.mark.parametrize(("method", "name"), [pair for pair in LAMBDAS if pair not in FIXED])
def test_any_other_weight_is_set_and_no_other_with_it(method, name):
    state = _state(method)
    before = dict(state.options)
    echo = apply(state, {"action": "set", "name": name, "value": before[name] + 0.25})
    assert "error" not in echo
    assert state.options == {**before, name: before[name] + 0.25}


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", None, True, [1]])
def test_a_value_out_of_range_changes_nothing(value):
    state = _state("trs")
    before = dict(state.options)
    assert apply(state, {"action": "set", "name": "lambda_a", "value": value})["error"]
    assert state.options == before


def test_the_tables_have_fixed_weights_to_test():
    assert ("cos-only", "lambda_b") in FIXED
    assert ("smooth-only", "lambda_a") in FIXED
