"""Every kind of event is parsed in one place: known fields come back, damaged ones are None, and nothing raises."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer import parse_events
from trs_explorer.parse_events import (
    event_step,
    event_time,
    mean,
    off_diagonal,
    parse_checkpoint,
    parse_control,
    parse_epoch,
    parse_matrix,
    parse_nonfinite,
    parse_note,
    parse_probe,
    parse_start,
    parse_step,
    parse_stopped,
)

PROBE = {
    "kind": "matrix",
    "step": 30,
    "epoch": 1,
    "n": 128,
    "eps": 0.3,
    "attack": "pgd-10",
    "fooled": [[9, 3, 4], [2, 9, 0], [5, 1, 9]],
    "eligible": [[10, 6, 8], [4, 10, 0], [10, 2, 10]],
    "transfer_interval": [0.3, 0.7],
    "log_odds_cosine": [[1, 0.25, 0.5], [0.25, 1, 0.75], [0.5, 0.75, 1]],
    "cosine": [[1, 0, 0.25], [0, 1, 0.125], [0.25, 0.125, 1]],
    "grad_norm": [2.5, 1.5, 2.0],
    "zero_gradients": [0.0, 0.5, 0.0],
    "clean": 120,
    "fgsm": 64,
    "pgd": 32,
    "member_clean": [118, 117, 119],
}
PARSERS = [getattr(parse_events, name) for name in dir(parse_events) if name.startswith(("parse_", "event_"))]
DIGITS, NESTED = 10**400, json.loads(900 * "[" + 900 * "]")


def test_a_probe_pools_the_pairs_of_different_members():
    probe = parse_probe(PROBE)
    assert (probe.step, probe.epoch, probe.n, probe.eps, probe.attack) == (30, 1, 128, 0.3, "pgd-10")
    assert (probe.fooled, probe.eligible, probe.pairs, probe.least) == (3 + 4 + 2 + 5 + 1, 6 + 8 + 4 + 10 + 2, 6, 2)
    assert probe.transfer == 15 / 30
    assert probe.rates == [[0.9, 0.5, 0.5], [0.5, 0.9, None], [0.5, 0.5, 0.9]], "[surrogate, target], nobody eligible: None"
    assert (probe.cosine, probe.loss_cosine, probe.grad_norm) == (0.5, 0.125, 2.5)
    assert (probe.interval, probe.differs) == ((0.3, 0.7), True)
    assert (probe.share("clean"), probe.share("fgsm"), probe.share("pgd")) == (120 / 128, 0.5, 0.25)
    assert (probe.zero_gradients, probe.member_clean) == ([0.0, 0.5, 0.0], [118, 117, 119])


def test_a_probe_of_an_older_version_lacks_the_log_odds_and_does_not_take_the_losss_for_them():
    old = {name: value for name, value in PROBE.items() if name not in ("log_odds_cosine", "transfer_interval")}
    probe = parse_probe(old)
    assert (probe.cosine, probe.cosines, probe.interval, probe.loss_cosine, probe.differs) == (None, None, None, 0.125, False)


@pytest.mark.parametrize("damage", [3, [], [0.1], [0.7, 0.3], [0.1, 2], [None, 0.5], ["x", 1], [0.1, 0.2, 0.3]])
def test_a_damaged_interval_is_none(damage):
    assert parse_probe({**PROBE, "transfer_interval": damage}).interval is None


def test_a_probe_in_which_nobody_was_fooled_has_counts_and_no_rate():
    probe = parse_probe({**PROBE, "fooled": [[0, 0], [0, 0]], "eligible": [[0, 0], [0, 0]]})
    assert (probe.fooled, probe.eligible, probe.transfer, probe.least) == (0, 0, None, None)


@pytest.mark.parametrize("damage", [{"fooled": [[1]]}, {"eligible": None}, {"fooled": "x"}, {"eligible": [[1, 2], [3]]}])
def test_a_probe_without_both_matrices_has_no_counts(damage):
    probe = parse_probe({**PROBE, **damage})
    assert (probe.rates, probe.fooled, probe.eligible, probe.pairs, probe.transfer) == (None, None, None, 0, None)
    assert probe.cosine == 0.5


def test_a_probe_without_a_step_is_where_the_training_was():
    assert parse_probe({"kind": "matrix"}, 70).step == 70


def test_known_fields_of_every_other_kind():
    start = parse_start({"step": 0, "steps": 90, "epoch": 0, "epochs": 3, "device": "cpu", "threads": 2, "resumed": False})
    assert asdict(start) == {
        "step": 0, "steps": 90, "epoch": 0, "epochs": 3, "device": "cpu", "threads": 2, "bfloat16": False, "resumed": False
    }  # fmt: skip
    step = parse_step(
        {"step": 10, "epoch": 1, "member": 2, "terms": {"total": 1, "ce": None}, "cosine": [[1, 0], [0, 1]], "grad_norm": 3.0,
         "delta": 0.1, "options": {"lambda_a": 1, "lambda_b": "x"}, "rate": 38.2, "nonfinite": ["terms.ce"]}
    )  # fmt: skip
    assert (step.step, step.epoch, step.member, step.grad_norm, step.delta, step.rate) == (10, 1, 2, 3.0, 0.1, 38.2)
    assert (step.terms, step.options) == ({"total": 1.0, "ce": None}, {"lambda_a": 1.0})
    assert (step.cosines, step.nonfinite) == ([[1, 0], [0, 1]], ["terms.ce"])
    assert asdict(parse_epoch({"step": 9, "epoch": 1, "seconds": 2.5})) == {"step": 9, "epoch": 1, "seconds": 2.5}
    assert asdict(parse_checkpoint({"step": 9, "name": "0001"})) == {"step": 9, "name": "0001"}
    assert asdict(parse_note({"step": 9, "text": "warm-up\nover"})) == {"step": 9, "text": "warm-up over"}
    assert asdict(parse_stopped({"step": 9, "state": "failed", "error": "full"})) == {
        "step": 9,
        "state": "failed",
        "error": "full",
    }
    assert parse_stopped({}).state == "stopped"


def test_a_request_is_one_line_and_a_refusal_says_why():
    request = parse_control({"step": 5, "action": "set", "name": "lambda_a", "value": 1.25})
    assert asdict(request) == {
        "step": 5, "action": "set", "name": "lambda_a", "value": 1.25, "request": "set lambda_a 1.25", "error": None
    }  # fmt: skip
    refused = parse_control({"action": "set", "name": "lr", "value": "x", "error": "no weight 'lr'"})
    assert (refused.value, refused.request, refused.error) == (None, "set lr x", "no weight 'lr'")
    assert parse_control({"action": "note", "text": "a"}).request == "note a"


def test_steps_and_times_that_are_no_numbers_are_none():
    assert (event_step({"step": 7}), event_step({}), event_step({"step": DIGITS}), event_step({"step": True})) == (
        7,
        None,
        None,
        None,
    )
    assert (event_time({"t": 1.5}), event_time({"t": "x"})) == (1.5, None)


def test_matrices_and_means():
    assert parse_matrix([[1, "x"], [None, 2]]) == [[1.0, None], [None, 2.0]]
    assert [parse_matrix(value) for value in ([], [[1, 2]], [[1], [2]], 3, None)] == [None] * 5
    assert off_diagonal([[1.0, 0.5], [None, 1.0]]) == [0.5]
    assert (mean([]), mean([1.0, 2.0]), mean([1.7e308] * 2)) == (None, 1.5, 1.7e308)
    assert parse_nonfinite({"nonfinite": ["terms.ce", 3]}) == ["terms.ce", "3"]


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([DIGITS, -DIGITS, 1.7e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*PROBE, "t", "terms", "options", "member", "delta", "rate", "nonfinite", "error", "name", "value", "text", "action",
          "state", "seconds", "device", "steps", "epochs", "threads", "bfloat16", "resumed"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), odd, max_size=12))
def test_nothing_in_an_event_raises(fields):
    for parse in PARSERS:
        parse(fields)
        parse({**PROBE, **fields})


@pytest.mark.parametrize("value", [DIGITS, NESTED, "\x1b]0;x\x07\ud800", float("inf"), {}, [[None]]])
def test_no_value_in_every_field_raises(value):
    for parse in PARSERS:
        parse(dict.fromkeys(FIELDS, value))
