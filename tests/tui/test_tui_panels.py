"""The dashboard's words and pictures as pure functions of a history with known numbers."""

import numpy as np
import pytest
from tui_recorded import matrix_event

from trs_explorer.tui import words
from trs_explorer.tui.ghosts import Ghost
from trs_explorer.tui.look import Look, percent
from trs_explorer.tui.model import History
from trs_explorer.tui.pictures import phase_picture


def probed(*events: dict) -> History:
    history = History()
    history.fold(events)
    return history


@pytest.mark.parametrize("least", [25, 100])
def test_the_uncertainty_is_the_half_of_a_95_percent_interval_of_the_smallest_cell(least: int):
    eligible = [[7, 400, 400], [400, 7, least], [400, 400, 7]]  # the diagonal does not count
    history = probed(matrix_event(100, fooled=[[5] * 3] * 3, eligible=eligible))
    half = 100 * 1.96 * (0.5 * 0.5 / least) ** 0.5
    assert words.transfer(history, Look(ascii=True), 40).plain.endswith(f"{Look(ascii=True).glyph('about')}{half:.0f}")


def test_a_matrix_too_wide_for_its_panel_names_surrogate_and_target_of_its_extremes():
    square = [[0.5] * 12 for _ in range(12)]
    square[2][9], square[10][4] = 0.125, 0.75
    square[3][3] = 1.0  # no pair
    said = words.grid(square, percent, Look(ascii=True), width=40).plain.split("\n")
    assert said == ["12 members, 132 pairs", "least 12 (F3, F10)", "most 75 (F11, F5)"]


def test_the_phase_picture_has_similarity_across_and_letters_where_paths_end():
    history = probed(matrix_event(100), matrix_event(200, cosine=[[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]]))
    other = probed(matrix_event(100, fooled=[[20] * 3] * 3), matrix_event(200, fooled=[[30] * 3] * 3))
    ghost = Ghost("C", "cos-only", np.array([0.1, 0.15]), np.array([50.0, 90.0]))
    picture = phase_picture(history, Look(ascii=True), [ghost], other)
    assert picture is not None
    at = {curve.letter: (curve.x.tolist(), curve.y.tolist()) for curve in picture.curves if len(curve.x) == 1}
    expected = {"C": (0.15, 90), "V": (0.07, 30), "o": (0.07, 60.5), "@": (0.2, 60.5)}
    assert {letter: (x[0], y[0]) for letter, (x, y) in at.items()} == {
        letter: pytest.approx(place) for letter, place in expected.items()
    }
