"""What the figure says of the bounds: the measured rate and its interval, and a bound only where it says something."""

import math
from dataclasses import replace

import pytest

from trs_explorer.evaluation.bounds.of_pairs import Bounds, PairBounds
from trs_explorer.evaluation.bounds.theorems import Quantities, promised_radius, upper_bound
from trs_explorer.figures.bounds_figure import bounds_figure

BASE = Quantities(
    n=10, eps=0.1, beta=2.0, lowest=0.5, highest=0.4, steepest=1.0, least=3.0, risk_f=0.0, risk_g=0.0, loss_f=0.3, loss_g=0.2,
    alpha=0.5, c_f=3.0, c_g=-1.0, transferred=1, shortest_f=1.0, shortest_g=1.0,
)  # fmt: skip
OTHER = replace(BASE, loss_f=0.9, transferred=2)
LARGE = replace(BASE, eps=1.6, transferred=6)
GOOD = {"alpha": 0.0, "lowest": 1.0, "c_f": -1.5, "c_g": 1.0}  # of Theorem 1, at eps 1.6


def bounds(first=BASE, second=OTHER, third=LARGE, fourth=LARGE) -> dict:
    named = [(0, 1, first), (1, 0, second), (0, 1, third), (1, 0, fourth)]
    pairs = tuple(PairBounds(i, j, q, "1" * q.transferred + "-" * (10 - q.transferred)) for i, j, q in named)
    return Bounds(10, (0.1, 1.6), 2, False, (2, 2), (3, 5), False, pairs).to_json()


def traces(figure) -> dict:
    return {trace.name or trace.hovertemplate.split()[0]: trace for trace in figure.data}


def test_the_measured_rate_is_the_mean_over_pairs_with_its_interval() -> None:
    result = bounds()
    measured = traces(bounds_figure(result))["measured"]
    assert list(measured.x) == [0.1, 1.6]
    assert list(measured.y) == [15, 60]
    assert measured.customdata[0].endswith("3 of 20")
    for k, pooled in enumerate(result["pooled"]):
        low, high = pooled["interval"]
        assert (measured.error_y.array[k], measured.error_y.arrayminus[k]) == pytest.approx(
            (100 * high - measured.y[k], measured.y[k] - 100 * low)
        )
    one = traces(bounds_figure(result, pair=(1, 0)))["measured"]
    assert list(one.y) == [20, 60]
    assert one.customdata[0].endswith("2 of 10")


def test_the_upper_bound_is_drawn_as_far_as_it_says_something() -> None:
    upper = traces(bounds_figure(bounds(), pair=(0, 1)))["upper bound"]
    reach = promised_radius(LARGE)
    assert 0.1 < reach < 1.6
    for eps, value in zip(upper.x, upper.y, strict=True):
        q = BASE if eps <= 0.1 else LARGE
        expected = upper_bound(q, eps)
        assert value == (None if expected is None or expected >= 1 else pytest.approx(100 * expected)), eps
    assert max(eps for eps, value in zip(upper.x, upper.y, strict=True) if value is not None) == pytest.approx(reach, rel=0.05)
    figure = bounds_figure(bounds())
    mean = traces(figure)["upper bound"]
    at = next(k for k, eps in enumerate(mean.x) if eps > 0.05)
    assert mean.y[at] == pytest.approx(50 * (upper_bound(BASE, mean.x[at]) + upper_bound(OTHER, mean.x[at])))
    [ruler] = figure.layout.shapes
    assert ruler.x0 == ruler.x1 == pytest.approx(reach)
    assert any(f"Theorem 2 vacuous beyond ε {reach:.2g}" in note.text for note in figure.layout.annotations)
    nothing = replace(BASE, least=0.1)
    vacuous = bounds_figure(bounds(nothing, nothing, replace(LARGE, least=0.1), replace(LARGE, least=0.1)))
    assert "upper bound" not in traces(vacuous)
    assert not vacuous.layout.shapes


def test_the_lower_bound_is_drawn_where_it_says_something() -> None:
    assert "lower bound" not in traces(bounds_figure(bounds()))
    lower = traces(bounds_figure(bounds(third=replace(LARGE, **GOOD)), pair=(0, 1)))["lower bound"]
    assert (list(lower.x), list(lower.y)) == ([1.6], [pytest.approx(100 * (1 - 0.1 / 2.6))])


def test_below_stands_what_each_bound_says_or_what_makes_it_vacuous() -> None:
    figure = bounds_figure(bounds(third=replace(LARGE, **GOOD)), pair=(0, 1))
    upper, lower = (trace for trace in figure.data if trace.mode == "text")
    assert dict(zip(figure.layout.yaxis2.tickvals, figure.layout.yaxis2.ticktext, strict=True)) == {
        0: "lower",
        1: "upper",
    }
    assert (set(upper.y), set(lower.y)) == ({1}, {0})
    assert upper.text[0] == f"≤ {100 * upper_bound(BASE):.1f} %"
    assert (upper.text[1], lower.text[0]) == ("vacuous<br>β", "vacuous<br>c_G")
    assert lower.text[1] == f"≥ {100 * (1 - 0.1 / 2.6):.1f} %"
    assert "β ε² = 5.12 alone reaches" in upper.customdata[1].replace("<br>", " ")
    assert "is not above −ε" in lower.customdata[0].replace("<br>", " ")


def test_along_a_training_there_is_a_curve_for_each_radius() -> None:
    results = [{**bounds(), "checkpoint": "0003"}, {**bounds(first=replace(BASE, transferred=7)), "checkpoint": "0010-000004"}]
    drawn = traces(bounds_figure(results))
    small, large = drawn["measured, ε 0.1"], drawn["measured, ε 1.6"]
    assert (list(small.x), list(small.y)) == ([3, 10], [15, 45])
    assert list(large.y) == [60, 60]
    upper = drawn["upper bound, ε 0.1"]
    assert list(upper.y) == [pytest.approx(50 * (upper_bound(BASE) + upper_bound(OTHER)))] * 2
    assert "upper bound, ε 1.6" not in drawn


def test_a_number_that_was_not_finite_makes_no_bound() -> None:
    broken = replace(BASE, beta=math.nan, c_g=-math.inf)
    result = bounds(first=broken)
    assert result["pairs"][0]["beta"] is None
    assert result["pairs"][0]["upper_vacuous"]["quantity"] == "β"
    assert "upper bound" in traces(bounds_figure(result, pair=(1, 0)))
