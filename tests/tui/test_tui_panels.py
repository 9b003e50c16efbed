"""The dashboard's texts and charts as pure functions of a history with known numbers."""

import numpy as np
import pytest
from tui_recorded import matrix_event

from trs_explorer.tui import panels
from trs_explorer.tui.chart_data import similarity_chart
from trs_explorer.tui.formatting import Format, percent
from trs_explorer.tui.history import History
from trs_explorer.tui.reference_runs import ReferenceRun


def probed(*events: dict) -> History:
    history = History()
    history.fold(events)
    return history


@pytest.mark.parametrize("least", [25, 100])
def test_the_uncertainty_is_the_half_of_a_95_percent_interval_of_the_smallest_cell(least: int):
    eligible = [[7, 400, 400], [400, 7, least], [400, 400, 7]]  # the diagonal does not count
    history = probed(matrix_event(100, fooled=[[5] * 3] * 3, eligible=eligible))
    half = 100 * 1.96 * (0.5 * 0.5 / least) ** 0.5
    assert panels.transfer(history, Format(ascii=True), 40).plain.endswith(f"{Format(ascii=True).glyph('about')}{half:.0f}")


def test_a_matrix_too_wide_for_its_panel_names_surrogate_and_target_of_its_extremes():
    square = [[0.5] * 12 for _ in range(12)]
    square[2][9], square[10][4] = 0.125, 0.75
    square[3][3] = 1.0  # no pair
    lines = panels.grid(square, percent, Format(ascii=True), width=40).plain.split("\n")
    assert lines == ["12 members, 132 pairs", "lowest 12 (F3, F10)", "highest 75 (F11, F5)"]


def test_the_similarity_chart_has_similarity_across_and_letters_where_curves_end():
    history = probed(matrix_event(100), matrix_event(200, cosine=[[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]]))
    other = probed(matrix_event(100, fooled=[[20] * 3] * 3), matrix_event(200, fooled=[[30] * 3] * 3))
    reference = ReferenceRun("C", "cos-only", np.array([0.1, 0.15]), np.array([50.0, 90.0]))
    picture = similarity_chart(history, Format(ascii=True), [reference], other)
    assert picture is not None
    at = {curve.letter: (curve.x.tolist(), curve.y.tolist()) for curve in picture.curves if len(curve.x) == 1}
    expected = {"C": (0.15, 90), "V": (0.07, 30), "o": (0.07, 60.5), "@": (0.2, 60.5)}
    assert {letter: (x[0], y[0]) for letter, (x, y) in at.items()} == {
        letter: pytest.approx(place) for letter, place in expected.items()
    }
