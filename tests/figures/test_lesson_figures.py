"""The charts of the lesson's cards, by their data: what is drawn where, and what is not drawn."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.figures.lesson import (
    Look,
    Share,
    accuracy_bars,
    accuracy_curves,
    attack_bars,
    attack_slice,
    similarity_and_transfer,
    spread,
)

A, B = Look("a", "#111111", "circle"), Look("b", "#222222", "square")
HALF, TENTH = Share(5, 10, 0.24, 0.76), Share(1, 10, 0.02, 0.4)


def ends(trace, axis):
    """The lower and upper end of each interval."""
    values, bars = trace[axis], trace[f"error_{axis}"]
    return [(value - low, value + high) for value, low, high in zip(values, bars.arrayminus, bars.array, strict=True)]


def test_similarity_is_from_left_to_right_and_transfer_upwards():
    figure = similarity_and_transfer([(A, 0.003, HALF), (B, 0.6, TENTH)], attack="MDI", dark=False)
    assert [(trace.name, trace.x[0], trace.y[0]) for trace in figure.data] == [("a", 0.003, 50.0), ("b", 0.6, 10.0)]
    assert ends(figure.data[0], "y") == [pytest.approx((24, 76))]
    assert [(trace.marker.color, trace.marker.symbol) for trace in figure.data] == [("#111111", "circle"), ("#222222", "square")]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (
        "mean |cos| of members' gradients",
        "transfer by MDI, %",
    )
    assert "a: mean |cos| 0.003, transfer 50 %" in figure.layout.meta["label"]


def test_bars_have_their_ensembles_and_intervals():
    figure = accuracy_bars([(A, HALF), (B, TENTH)], title="correct", dark=True)
    (bars,) = figure.data
    assert list(zip(bars.x, bars.y, bars.marker.color, strict=True)) == [("a", 50.0, "#111111"), ("b", 10.0, "#222222")]
    assert ends(bars, "y") == [pytest.approx((24, 76)), pytest.approx((2, 40))]
    assert [(note.x, note.text) for note in figure.layout.annotations] == [("a", "<b>50</b>"), ("b", "<b>10</b>")]


def test_a_curve_is_one_ensembles_under_one_attack_and_an_unknown_one_is_not_drawn():
    curves = [(A, {"FGSM": [(0.0, HALF), (0.1, TENTH)], "PGD": []}), (B, {"FGSM": [(0.0, TENTH)], "PGD": [(0.3, HALF)]})]
    figure = accuracy_curves(curves, dark=False)
    assert [trace.name for trace in figure.data] == ["a FGSM", "b FGSM", "b PGD"]
    assert [trace.line.color for trace in figure.data] == ["#111111", "#222222", "#222222"]
    assert [trace.line.dash for trace in figure.data] == ["dot", "dot", "dash"]
    assert list(figure.data[0].y) == [50.0, 10.0]
    assert list(figure.data[0].x) == pytest.approx([0.0, 0.1], abs=0.002)
    assert {note.text: note.y for note in figure.layout.annotations}["<b>b PGD</b>"] == pytest.approx(50)
    assert figure.layout.xaxis.range[1] > 0.3  # room for the names


def test_bars_of_attacks_stand_in_their_rows_and_what_is_not_known_is_not_drawn():
    rows = ("no attack", "PGD", "MORA")
    plain, hatched = Look("a", "#111111", ""), Look("b", "#222222", "/")
    figure = attack_bars(rows, [(plain, [HALF, TENTH, None]), (hatched, [None, HALF, None])], dark=False)
    drawn = {trace.name: dict(zip(trace.y, trace.x, strict=True)) for trace in figure.data}
    assert drawn == {"a": {"no attack": 50.0, "PGD": 10.0}, "b": {"PGD": 50.0}}
    assert list(figure.layout.yaxis.categoryarray) == ["MORA", "PGD", "no attack"]  # plotly counts rows from below
    assert ends(figure.data[-1], "x") == [pytest.approx((24, 76)), pytest.approx((2, 40))]
    assert {trace.name: trace.marker.color for trace in figure.data} == {"a": "#111111", "b": "#222222"}


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.01, 0.1))
def test_labels_are_apart_below_the_top_and_in_order(heights, gap):
    moved = spread(heights, gap)
    assert all(high - low >= gap - 1e-9 for low, high in itertools.pairwise(sorted(moved)))
    assert max(moved, default=0) <= 1 + 1e-9
    for (a, b), (moved_a, moved_b) in zip(itertools.combinations(heights, 2), itertools.combinations(moved, 2), strict=True):
        assert a >= b or moved_a < moved_b


def test_labels_that_are_apart_stay_where_they_are():
    assert spread([0.9, 0.1, 0.5], 0.065) == [0.9, 0.1, 0.5]


@pytest.mark.parametrize(("fooled", "symbol"), [(True, "x"), (False, "circle-open")])
def test_a_slice_has_its_picture_ball_and_path(fooled, symbol):
    figure = attack_slice(
        "data:image/png;base64,", [(7, 0.75, 0.25)], span=4, ball=[(0, 0), (1, 0), (0, 1)], path=[(0, 0), (1, 2)],
        fooled=fooled, label="it", dark=False,
    )  # fmt: skip
    picture = figure.layout.images[0]
    assert (picture.x, picture.y, picture.sizex, picture.sizey) == (-4, 4, 8, 8)  # x, y: its upper left corner
    ball, *path, end = figure.data
    assert list(zip(ball.x, ball.y, strict=True)) == [(0, 0), (1, 0), (0, 1), (0, 0)]
    assert all(list(zip(line.x, line.y, strict=True)) == [(0, 0), (1, 2)] for line in path)
    assert (end.x[0], end.y[0], end.marker.symbol) == (1, 2, symbol)
    (note,) = figure.layout.annotations
    assert (note.text, note.x, note.y) == ("<b>7</b>", 2.0, -2.0)


def test_a_share_says_its_interval_and_counts():
    assert HALF.value == 0.5
    assert HALF.text == "50.0 % (24.0-76.0), 5 of 10"
