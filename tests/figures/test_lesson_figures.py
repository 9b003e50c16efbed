"""The charts of the lesson's cards, by their data: what is drawn where, and what is not drawn."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.figures.lesson import (
    Series,
    Share,
    accuracy_bars,
    accuracy_curves,
    attack_bars,
    similarity_and_transfer,
    small_slice,
    spread,
)
from trs_explorer.figures.slice_data import Attacks, Slice

A, B = Series("a", "#111111", "circle"), Series("b", "#222222", "square")
HALF, TENTH = Share(5, 10, 0.24, 0.76), Share(1, 10, 0.02, 0.4)


def ends(trace, axis):
    """The lower and upper end of each interval."""
    values, bars = trace[axis], trace[f"error_{axis}"]
    return [(value - low, value + high) for value, low, high in zip(values, bars.arrayminus, bars.array, strict=True)]


def test_similarity_is_from_left_to_right_and_transfer_upwards():
    figure = similarity_and_transfer([(A, 0.003, HALF), (B, 0.6, TENTH)], attack="MDI", look="light")
    assert [(trace.name, trace.x[0], trace.y[0]) for trace in figure.data] == [("a", 0.003, 50.0), ("b", 0.6, 10.0)]
    assert ends(figure.data[0], "y") == [pytest.approx((24, 76))]
    assert [(trace.marker.color, trace.marker.symbol) for trace in figure.data] == [("#111111", "circle"), ("#222222", "square")]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (
        "mean |cos| of members' gradients",
        "transfer by MDI, %",
    )
    assert "a: mean |cos| 0.003, transfer 50 %" in figure.layout.meta["label"]


def test_an_unknown_transfer_is_a_line_at_its_similarity_over_the_whole_height_and_no_point():
    figure = similarity_and_transfer([(A, 0.003, HALF)], unknown=[(B, 0.6)], attack="MDI", look="light")
    assert [trace.name for trace in figure.data] == ["a"]
    (line,) = figure.layout.shapes
    assert (line.x0, line.x1, line.y0, line.y1, line.line.color) == (0.6, 0.6, 0, 100, "#222222")
    assert [(note.x, note.text) for note in figure.layout.annotations] == [(0.6, "<b>b: ?</b>")]
    assert "b: mean |cos| 0.600, transfer not known" in figure.layout.meta["label"]


def test_bars_have_their_ensembles_and_intervals():
    figure = accuracy_bars([(A, HALF), (B, TENTH)], title="correct", look="dark")
    (bars,) = figure.data
    assert list(zip(bars.x, bars.y, bars.marker.color, strict=True)) == [("a", 50.0, "#111111"), ("b", 10.0, "#222222")]
    assert ends(bars, "y") == [pytest.approx((24, 76)), pytest.approx((2, 40))]
    assert [(note.x, note.text) for note in figure.layout.annotations] == [("a", "<b>50</b>"), ("b", "<b>10</b>")]


def test_a_curve_is_one_ensembles_under_one_attack_and_an_unknown_one_is_not_drawn():
    curves = [(A, {"FGSM": [(0.0, HALF), (0.1, TENTH)], "PGD": []}), (B, {"FGSM": [(0.0, TENTH)], "PGD": [(0.3, HALF)]})]
    figure = accuracy_curves(curves, look="light")
    assert [trace.name for trace in figure.data] == ["a FGSM", "b FGSM", "b PGD"]
    assert [trace.line.color for trace in figure.data] == ["#111111", "#222222", "#222222"]
    assert [trace.line.dash for trace in figure.data] == ["dot", "dot", "dash"]
    assert list(figure.data[0].y) == [50.0, 10.0]
    assert list(figure.data[0].x) == pytest.approx([0.0, 0.1], abs=0.002)
    assert {note.text: note.y for note in figure.layout.annotations}["<b>b PGD</b>"] == pytest.approx(50)


def test_the_names_of_the_curves_have_room_on_a_phone():
    """In a chart 337 px wide, of which the axis takes 67, its text is 12 px high; a bold capital is up to 0.75 of that wide."""
    figure = accuracy_curves([(Series("DVERGE", "#111111", "circle"), {"FGSM": [(0.0, HALF), (0.3, TENTH)]})], look="light")
    low, high = figure.layout.xaxis.range
    (note,) = figure.layout.annotations
    assert note.text == "<b>DVERGE FGSM</b>"
    assert (high - note.x) / (high - low) * 270 > 0.75 * 12 * len("DVERGE FGSM")


def test_a_long_name_of_a_row_goes_on_in_the_next_line():
    rows = ("PGD", "APGD on the margin as a ratio (DLR)")
    axis = attack_bars(rows, [(Series("a", "#111111", ""), [HALF, TENTH])], look="light").layout.yaxis
    assert dict(zip(axis.tickvals, axis.ticktext, strict=True)) == {
        "PGD": "PGD",
        "APGD on the margin as a ratio (DLR)": "APGD on the margin<br>as a ratio (DLR)",
    }


def test_bars_of_attacks_stand_in_their_rows_and_what_is_not_known_is_not_drawn():
    rows = ("no attack", "PGD", "MORA")
    plain, hatched = Series("a", "#111111", ""), Series("b", "#222222", "/")
    figure = attack_bars(rows, [(plain, [HALF, TENTH, None]), (hatched, [None, HALF, None])], look="light")
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


def test_a_small_slice_keeps_the_picture_and_the_attack_and_nothing_beside_them():
    outputs = np.zeros((25, 25, 1, 2))
    outputs[:, 13:, 0, 1] = 1  # class 1 on the right
    plane = Slice(["the ensemble"], outputs, -4.0, 4.0, ("a", "b"))
    ball = np.array([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)])
    attacks = Attacks("PGD-2", (0.0, 0.0), ball, [np.array([(0.0, 0.0), (1.0, 2.0)])], np.array([[True]]), ["fooled"])
    figure = small_slice(plane, attacks, label="it", look="dark")
    (end,) = (trace for trace in figure.data if trace.name == "fools the ensemble")
    assert (end.x, end.y, end.marker.symbol) == ((1.0,), (2.0,), "x")
    assert len(figure.layout.images) == 1
    assert not figure.layout.annotations
    assert not figure.layout.showlegend
    assert figure.layout.meta["label"] == "it"


def test_a_share_says_its_interval_and_counts():
    assert HALF.value == 0.5
    assert HALF.text == "50.0 % (24.0-76.0), 5 of 10"
