"""Curves of a training: every term is there, damaged events break nothing, and ticks can be read."""

import math

import pytest

from trs_explorer.figures.training_figure import TICKS, training_figure, training_spec

EVENTS = [
    {"kind": "step", "step": 10, "terms": {"total": 2.0, "ce": 1.5}},
    {"kind": "step", "terms": {"total": 9.0}},
    {"kind": "step", "step": 20, "terms": "torn"},
    {"kind": "checkpoint", "step": 20, "name": "0001"},
    {"kind": "control", "step": 22, "action": "set", "name": "lambda_a", "value": 2.0},
    {"kind": "control", "step": 23, "action": "set", "name": "lambda_a", "value": -1, "error": "must be >= 0"},
    {"kind": "matrix", "step": 20, "epoch": 1, "n": 8, "log_odds_cosine": [[1, 0.2, 0.4], [0.2, 1, 0.6], [0.4, 0.6, 1]],
     "fooled": [[8, 1, 2], [3, 8, 0], [0, 0, 8]], "eligible": [[8, 4, 4], [4, 8, 4], [4, 4, 8]]},
    {"kind": "matrix", "step": 25, "cosine": "x", "fooled": [[1]], "eligible": None},
    {"kind": "step", "step": 30, "terms": {"total": None, "ce": float("nan")}},
]  # fmt: skip


def by_name(figure):
    return {trace.name: trace for trace in figure.data}


def test_every_term_is_a_curve_and_damage_is_a_gap():
    curves = by_name(training_figure(EVENTS))
    assert curves["ce"].y == (1.5, None, None)
    assert curves["ce"].x == (10, 20, 30)
    assert curves["|cos|"].y == (pytest.approx(0.4), None)
    assert curves["transfer"].y == (6 / 24, None)
    assert (curves["ce"].yaxis, curves["transfer"].yaxis) == ("y", "y2")


def test_a_curve_without_any_value_is_not_named():
    """A log of an older version has no log-odds: an empty entry in the legend would say that they are 0."""
    assert "|cos| of the loss" not in by_name(training_figure(EVENTS))
    assert training_figure([]).data == ()


def test_checkpoints_and_changes_are_marks_and_refused_changes_are_none():
    curves = by_name(training_figure(EVENTS))
    assert (curves["checkpoint"].x, curves["checkpoint"].text) == ((20,), ("checkpoint 0001",))
    assert (curves["change"].x, curves["change"].text) == ((22,), ("set lambda_a 2",))


def test_marks_stand_between_the_charts_and_no_two_curves_look_alike():
    figure = training_figure(EVENTS)
    curves = by_name(figure)
    (low, high), (_, rates), (losses, _) = (figure.layout[f"yaxis{k}"].domain for k in ("3", "2", ""))
    assert rates < low < high < losses
    assert {curves[name].yaxis for name in ("checkpoint", "change")} == {"y3"}
    terms = {f"term {k}": 1.0 for k in range(10)}
    many = [{"kind": "step", "step": 10, "terms": terms}, *EVENTS]
    lines = [(t.line.color, t.line.dash) for t in training_figure(many).data if t.mode == "lines"]
    assert len(set(lines)) == len(lines)
    few = [t.line.color for t in figure.data if t.mode == "lines"]
    assert len(set(few)) == len(few)


def test_the_ruler_is_at_the_selected_checkpoint():
    (ruler,) = training_figure(EVENTS, at_step=20).layout.shapes
    assert ruler.x0 == ruler.x1 == 20
    assert not training_figure(EVENTS).layout.shapes


@pytest.mark.parametrize(("lowest", "axis"), [(0.1, "log"), (0.5, "log"), (-0.1, "linear")])
def test_a_term_below_zero_is_shown_too(lowest, axis):
    """ADP's entropy is negative: on a logarithmic axis it would not be there."""
    events = [{"kind": "step", "step": k, "terms": {"total": 1.0 + lowest, "ce": 1.0, "entropy": lowest}} for k in (10, 20)]
    assert training_figure(events).layout.yaxis.type == axis


@pytest.mark.parametrize("last", [1, 2, 5, 7, 30, 31, 400, 12_345, 10**6])
def test_ticks_are_whole_steps_and_few(last):
    events = [{"kind": "step", "step": step, "terms": {"total": 1.0}} for step in {1, last}]
    axis = training_figure(events).layout.xaxis
    assert axis.dtick >= 1
    assert axis.dtick == int(axis.dtick)
    assert 0 <= last / axis.dtick <= TICKS


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.05), (0.9, 2.5), (0.2, 3.0), (1e-3, 5.0), (1e-9, 1e9)])
def test_ticks_of_losses_do_not_run_into_each_other(low, high):
    events = [{"kind": "step", "step": k, "terms": {"total": value}} for k, value in ((1, high), (2, low))]
    axis = training_figure(events).layout.yaxis
    assert axis.type == "log"
    if axis.tickvals:
        assert 2 <= len(axis.tickvals) <= TICKS
        assert all(later / earlier >= 1.6 for earlier, later in zip(axis.tickvals, axis.tickvals[1:], strict=False))
        assert [float(text) for text in axis.ticktext] == pytest.approx(list(axis.tickvals))
    else:
        assert axis.nticks == 4


def test_names_of_strangers_are_text():
    curves = by_name(training_figure([{"kind": "step", "step": 1, "terms": {"<b>%{x}": 1.0}}]))
    assert list(curves) == ["&lt;b&gt;%&#123;x}"]


@pytest.mark.parametrize("loss", [1.7e308, 5e-324])
def test_losses_at_the_ends_of_what_a_number_can_be_have_an_axis(loss):
    spec = training_spec([{"kind": "step", "step": k, "terms": {"total": value}} for k, value in enumerate((1.0, loss))])
    axis = next(a for name, a in spec["layout"].items() if name.startswith("yaxis") and a.get("type") == "log")
    assert all(math.isfinite(tick) and tick > 0 for tick in axis.get("tickvals", [1]))
