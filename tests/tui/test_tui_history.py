import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tui_recorded import matrix_event, start_event, step_event

from trs_explorer.tui.history import History
from trs_explorer.tui.series import Series


def folded(*events: dict) -> History:
    history = History()
    history.fold(events)
    return history


def test_known_events_give_known_numbers():
    history = folded(start_event(), *(step_event(s) for s in (10, 20, 30)), matrix_event(30))
    assert (history.step, history.steps, history.epochs, history.rate) == (30, 2000, 20, 38.2)
    assert {name: series.last for name, series in history.terms.items()} == {
        "total": 0.512,
        "ce": 0.4,
        "similarity": 0.07,
        "smoothness": 0.042,
    }
    assert history.cosine.last == pytest.approx(0.07)
    assert history.gap == 10
    probe = history.probe
    assert probe is not None
    assert probe.rates is not None
    assert probe.rates[0][1] == 0.61
    assert probe.transfer == pytest.approx(0.605)
    assert probe.cosine == pytest.approx(0.07)
    assert probe.share("clean") == pytest.approx(119 / 128)
    assert probe.grad_norm == 2.5


def test_one_batch_or_many_gives_the_same():
    events = [start_event(), *(step_event(s, grad_norm=s * 1.0) for s in range(10, 200, 10)), matrix_event(190), step_event(200)]
    whole, single = folded(*events), History()
    for event in events:
        single.fold([event])
    assert whole.grad_norm.points(1000)[1].tolist() == single.grad_norm.points(1000)[1].tolist()
    assert (whole.gap, whole.step, whole.events, list(whole.log)) == (single.gap, single.step, single.events, list(single.log))


def test_pairs_that_nobody_was_eligible_for_are_left_out():
    probe = folded(matrix_event(1, fooled=[[5, 3], [0, 5]], eligible=[[10, 6], [0, 10]])).probe
    assert probe is not None
    assert probe.rates == [[0.5, 0.5], [None, 0.5]]
    assert probe.transfer == 0.5


def test_a_method_without_gradients_still_shows_its_terms():
    history = folded(step_event(10, terms={"ce": 1.0, "spread": -0.2}, cosine=None, grad_norm=None, options={}))
    assert list(history.terms) == ["ce", "spread"]
    assert len(history.cosine) == 0
    assert history.cosines is None


def test_nan_is_named_and_leaves_the_curve():
    bad = step_event(20, terms={"total": None, "ce": None, "similarity": 0.1}, nonfinite=["terms.total", "terms.ce"])
    history = folded(step_event(10), bad)
    assert history.nonfinite == {"terms.total": 20, "terms.ce": 20}
    assert history.terms["ce"].last == 0.4
    assert sum("not finite" in text for _, text in history.log) == 1
    history.fold([step_event(30)])
    assert history.nonfinite == {}


def test_a_resumed_run_forgets_the_steps_it_walks_again():
    history = folded(*(step_event(s) for s in (10, 20, 30, 40)), matrix_event(40), start_event(step=20, resumed=True))
    assert history.terms["ce"].points(10)[0].tolist() == [10, 20]
    assert history.probes == []
    assert [(m.step, m.kind) for m in history.marks] == [(20, "resumed")]
    assert history.step == 20


def test_changes_and_notes_leave_marks():
    events = [
        {"kind": "control", "step": 10, "action": "set", "name": "lambda_a", "value": 1.25},
        {"kind": "note", "step": 20, "text": "warm-up over"},
        {"kind": "checkpoint", "step": 30, "name": "0001"},
    ]
    history = folded(*events)
    assert [(m.step, m.kind) for m in history.marks] == [(10, "set"), (20, "note"), (30, "save")]
    assert [text for _, text in history.log] == ["set lambda_a 1.25 (step 10)", "note: warm-up over", "saved checkpoint 0001"]


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [*step_event(1), *matrix_event(1), *start_event(), "nonfinite", "error", "name", "value", "text", "action"]
)
kinds = st.sampled_from(["start", "step", "matrix", "epoch", "checkpoint", "control", "note", "stopped", "what"])


@settings(max_examples=60)
@given(
    st.lists(st.builds(lambda kind, fields: {**fields, "kind": kind}, kinds, st.dictionaries(names, odd, max_size=6)), max_size=4)
)
def test_nothing_in_an_event_raises(events):
    history = folded(step_event(10), *events, step_event(20))
    assert history.step == 20
    assert history.events == len(events) + 2


def test_a_series_stays_small_and_keeps_a_spike():
    series = Series(capacity=64)
    for step in range(5000):
        series.extend(np.array([step]), np.array([99.0 if step == 1234 else 1.0]))
    x, y = series.points(40)
    assert len(series) <= 64
    assert x[y.argmax()] == 1234
    assert y.max() == 99


def test_trends():
    up, flat = Series(), Series()
    up.extend(np.arange(40), np.linspace(1, 2, 40))
    flat.extend(np.arange(40), np.linspace(1, 1.01, 40))
    assert (up.trend(), flat.trend(), Series().trend()) == (1, 0, 0)
