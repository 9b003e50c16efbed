"""Charts of all runs: lines and points are those of the runs that are named, and labels can be read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.figures.labels import is_beside, label_box, leader_boxes, place_labels
from trs_explorer.figures.runs import MARGIN, SCATTER_PX, STYLES, RunPoint, curves_figure, scatter_figure

SIDES = {"a": "mnist-trs", "b": "mnist-dverge"}
CURVES = {
    "pgd": {
        "mnist-dverge": [(0.0, 99.0, 98.0, 99.5, 1000), (0.1, 80.0, 77.0, 82.0, 1000)],
        "mnist-trs": [(0.0, 98.0, 97.0, 98.7, 1000), (0.1, 94.0, 92.0, 95.0, 500)],
        "mnist-gal": [(0.0, 98.0, 97.0, 98.7, 1000)],
    },
    "worst of several": {"mnist-trs": [(0.1, 93.0, 91.0, 94.0, 1000)]},
}


def test_each_attack_has_a_chart_with_its_runs_points():
    figure = curves_figure(CURVES, SIDES)
    titles = {note.xref.split()[0]: note.text for note in figure.layout.annotations}
    assert titles == {"x": "<b>pgd</b>", "x2": "<b>worst of several</b>"}
    drawn = {(trace.xaxis, trace.name): (trace.x, trace.y) for trace in figure.data}
    assert drawn == {
        ("x", "A: mnist-trs"): ((0.0, 0.1), (98.0, 94.0)),
        ("x", "B: mnist-dverge"): ((0.0, 0.1), (99.0, 80.0)),
        ("x", "other runs"): ((0.0,), (98.0,)),
        ("x2", "A: mnist-trs"): ((0.1,), (93.0,)),
    }


def test_axes_say_what_they_show_and_100_percent_is_inside():
    many = {f"attack {k}": CURVES["pgd"] for k in range(5)}
    layout = curves_figure(many, SIDES).layout
    axes = [layout[f"yaxis{k or ''}"] for k in (0, 2, 3, 4, 5)]
    assert [(axis.title.text, axis.showticklabels) for axis in axes] == [
        ("accuracy, %", True), ("", False), ("", False), ("", False), ("accuracy, %", True)
    ]  # fmt: skip
    assert all(axis.range == (-3, 103) and axis.ticklen > 4 for axis in axes)  # the mark at eps 0 does not strike out "100"


def test_a_and_b_differ_by_more_than_colour_and_have_their_intervals():
    traces = {trace.name: trace for trace in curves_figure(CURVES, SIDES).data if trace.xaxis == "x"}
    for side, name in (("a", "A: mnist-trs"), ("b", "B: mnist-dverge")):
        style = (traces[name].line.color, traces[name].line.dash, traces[name].marker.symbol)
        assert style == (STYLES[side]["color"], STYLES[side]["dash"], STYLES[side]["symbol"])
    assert traces["A: mnist-trs"].error_y.array == (pytest.approx(0.7), pytest.approx(1.0))
    assert traces["A: mnist-trs"].error_y.arrayminus == (pytest.approx(1.0), pytest.approx(2.0))
    assert traces["A: mnist-trs"].customdata[1] == "92.0-95.0, n 500"
    assert traces["other runs"].error_y.array is None


def test_the_legend_names_each_once():
    figure = curves_figure(CURVES, SIDES)
    assert sorted(trace.name for trace in figure.data if trace.showlegend) == ["A: mnist-trs", "B: mnist-dverge", "other runs"]
    both = curves_figure({"pgd": {"one": CURVES["pgd"]["mnist-trs"]}}, {"a": "one", "b": "one"})
    assert [trace.name for trace in both.data] == ["A and B: one"]


POINTS = {
    "mnist-trs": RunPoint(0.02, 3.2, 2.5, 4.1, 16, 500, "TRS"),
    "mnist-dverge": RunPoint(0.05, 1.0, 0.7, 1.5, 5, 500, "DVERGE"),
    "mnist-cos-only": RunPoint(0.003, 29.1, 27.3, 31.1, 291, 1000, "cos-only"),
    "mnist-cos-l2": RunPoint(0.038, 10.2, 9.1, 11.4, 102, 1000, "cos-l2"),
    "mnist-gal": RunPoint(0.2, 59.1, 57.5, 60.8, 591, 1000, "GAL"),
    "mnist-standard": RunPoint(0.26, 67.7, 65.7, 69.6, 677, 1000, "standard"),
    "mnist-adaboost": RunPoint(0.27, 71.1, 69.2, 72.8, 711, 1000, "AdaBoost"),
    "mnist-smooth-only": RunPoint(0.61, 40.8, 37.3, 44.3, 408, 1000, "smooth-only"),
}


def scatter(points=POINTS, **settings):
    return scatter_figure(points, SIDES, x_title="|cos|", y_title="transfer, %", x_span=1.0, **settings)


def test_every_run_is_a_point_with_the_interval_of_y():
    figure = scatter()
    assert {trace.name: (trace.x, trace.y) for trace in figure.data} == {n: ((p.x,), (p.y,)) for n, p in POINTS.items()}
    trs = next(trace for trace in figure.data if trace.name == "mnist-trs")
    assert (trs.error_y.array, trs.error_y.arrayminus) == ((pytest.approx(0.9),), (pytest.approx(0.7),))
    assert trs.hovertemplate == ("TRS<br>|cos|: %{x:.3g}<br>transfer, %: %{y:.1f} (2.5-4.1), 16 of 500<extra></extra>")
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("|cos|", "transfer, %")
    assert figure.layout.xaxis.range == (0, 1 + MARGIN)  # there is no |cos| below 0
    assert figure.layout.yaxis.range == (0, 100 * (1 + MARGIN))


def pixel(figure, x, y):
    """A point of a scatter chart, in pixels of its plot area."""
    (left, right), (bottom, top) = figure.layout.xaxis.range, figure.layout.yaxis.range
    return (x - left) / (right - left) * SCATTER_PX[0], (top - y) / (top - bottom) * SCATTER_PX[1]


def boxes(figure):
    """The rectangles of all labels of a scatter chart, in pixels of its plot area, as plotly would place them."""
    return [label_box(pixel(figure, note.x, note.y), note.text, (note.ax, note.ay)) for note in figure.layout.annotations]


def overlap(one, other):
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def test_no_label_lies_on_another_or_is_clipped():
    placed = boxes(scatter())
    assert len(placed) >= len(POINTS) - 1  # the other is named under the mouse and in the table
    assert all((note.x, note.y) == (POINTS[note.name].x, POINTS[note.name].y) for note in scatter().layout.annotations)
    assert all(note.text == POINTS[note.name].label for note in scatter().layout.annotations)
    assert not any(overlap(one, other) for one, other in itertools.combinations(placed, 2))
    assert all(x >= 0 and y >= 0 and r <= SCATTER_PX[0] and b <= SCATTER_PX[1] for x, y, r, b in placed)


def test_a_and_b_are_labelled_in_a_crowd_by_a_line_that_crosses_nothing():
    places = {"mnist-trs": (0.017, 5.8), "mnist-dverge": (0.045, 0.7), "mnist-ten": (0.02, 1.8), "mnist-cos-l2": (0.036, 8.3)}
    crowd = {run: RunPoint(x, y, y, y, 1, 2, run.removeprefix("mnist-")) for run, (x, y) in places.items()}
    figure = scatter({**POINTS, **crowd})
    notes = {note.name: note for note in figure.layout.annotations}
    assert set(SIDES.values()) <= set(notes)
    led = [note for note in notes.values() if not is_beside(note.text, (note.ax, note.ay))]
    assert led
    for note in led:
        others = [box for other, box in zip(notes.values(), boxes(figure), strict=True) if other is not note]
        line = leader_boxes(pixel(figure, note.x, note.y), (note.ax, note.ay))
        assert not any(overlap(part, other) for part in line for other in others)
        points = [(x, y, x, y) for trace in figure.data for x, y in [pixel(figure, trace.x[0], trace.y[0])]]
        assert not any(overlap(part, point) for part in line for point in points)
    visible = {note.name for note in notes.values() if note.arrowcolor != "rgba(0,0,0,0)"}
    assert visible == {note.name for note in led}


def test_a_runs_name_is_text_in_its_label_and_under_the_mouse():
    figure = scatter({"<b>": RunPoint(0.5, 50.0, 40.0, 60.0, 1, 2, "<b>%{x}")})
    assert [note.text for note in figure.layout.annotations] == ["&lt;b&gt;%&#123;x}"]
    assert figure.data[0].hovertemplate.startswith("&lt;b&gt;%&#123;x}<br>")


def test_a_label_without_room_is_left_out_and_its_run_stays():
    crowd = {f"run {k}": RunPoint(0.5, 50.0, 40.0, 60.0, 1, 2, f"run {k}") for k in range(40)}
    figure = scatter(crowd)
    assert len(figure.data) == 40
    assert 4 <= len(figure.layout.annotations) < 40
    assert all("run" in trace.hovertemplate for trace in figure.data)


@given(
    st.lists(st.tuples(st.floats(0, 400), st.floats(0, 300)), max_size=12).flatmap(
        lambda points: st.tuples(
            st.just(points), st.lists(st.text("abc", min_size=1, max_size=12), min_size=len(points), max_size=len(points))
        )
    )
)
def test_labels_never_collide(case):
    points, labels = case
    placed = [
        label_box(point, label, place)
        for point, label, place in zip(points, labels, place_labels(points, labels, (400, 300)), strict=True)
        if place
    ]
    assert not any(overlap(one, other) for one, other in itertools.combinations(placed, 2))
    for left, top, right, bottom in placed:
        assert not any(left < x < right and top < y < bottom for x, y in points)
        assert left >= 0
        assert top >= 0
        assert right <= 400
        assert bottom <= 300
