"""The dashboard's texts and charts as pure functions of a history with known numbers."""

import numpy as np
import pytest
from tui_recorded import matrix_event

from trs_explorer.evaluation.intervals import wilson
from trs_explorer.parse_events import parse_probe
from trs_explorer.tui import panels
from trs_explorer.tui.chart_data import similarity_chart
from trs_explorer.tui.formatting import Format, cosine, percent
from trs_explorer.tui.history import History
from trs_explorer.tui.matrix_grid import grid
from trs_explorer.tui.reference_runs import ReferenceRun

ALL_POINT_TWO = [[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0]]


def reference(cosine, transfer, loss_cosine=None, loss_transfer=None) -> ReferenceRun:
    loss = (cosine, transfer) if loss_cosine is None else (loss_cosine, loss_transfer)
    return ReferenceRun("C", "cos-only", *map(np.array, (cosine, transfer, *loss)))


def probed(*events: dict) -> History:
    history = History()
    history.fold(events)
    return history


@pytest.mark.parametrize("least", [26, 100])
def test_the_uncertainty_is_the_half_of_a_95_percent_interval_of_the_smallest_cell(least: int):
    eligible = [[7, 400, 400], [400, 7, least], [400, 400, 7]]  # the diagonal does not count
    history = probed(matrix_event(100, fooled=[[5] * 3] * 3, eligible=eligible))
    half = 100 * (wilson(least // 2, least)[1] - wilson(least // 2, least)[0]) / 2
    assert panels.transfer(history, Format(ascii=True), 40).plain.endswith(f"{Format(ascii=True).glyph('about')}{half:.0f}")


def test_a_matrix_too_wide_for_its_panel_names_surrogate_and_target_of_its_extremes():
    square = [[0.5] * 12 for _ in range(12)]
    square[2][9], square[10][4] = 0.125, 0.75
    square[3][3] = 1.0  # no pair
    lines = grid(square, percent, Format(ascii=True), width=38).plain.split("\n")
    assert lines == ["12 members, 132 pairs", "lowest 12 (F3, F10)", "highest 75 (F11, F5)"]


def test_a_matrix_of_sixteen_members_fits_terminals_of_160_and_of_80_columns():
    """A panel of the first has 56 columns, the whole of the second 76."""
    square = [[1.0 if i == j else (16 * i + j) % 100 / 100 for j in range(16)] for i in range(16)]
    for width, first, last in ((100, 100, 49), (76, 100, 49), (56, "**", 49)):
        lines = grid(square, percent, Format(ascii=True), width=width).plain.split("\n")
        assert max(map(len, lines)) <= width
        rows = [line.split() for line in lines[1:17]]
        assert [row[0] for row in rows] == [f"F{k + 1}" for k in range(16)]
        assert [rows[0][1], rows[3][2]] == [str(first), str(last)]
        assert all(len(row) == 17 for row in rows)  # no two numbers touch
    assert lines[-1] == "two digits, ** is 1.00 or 100 %"
    narrow = grid(square, cosine, Format(ascii=True), width=56).plain.split("\n")
    assert narrow[4].split()[:3] == ["F4", "48", "49"]
    assert narrow[1].split()[1:3] == ["**", "01"]
    wider = grid(square, cosine, Format(ascii=True), width=76).plain.split("\n")
    assert wider[1].split()[1:3] == ["1.0", ".01"]


def test_an_imported_ensemble_has_a_sentence_and_its_log():
    history = History()
    history.fold([{"kind": "note", "t": 1.0, "step": 0, "text": "imported: built by nets.py:make"}])
    shown = panels.imported(history, Format(ascii=True))
    assert shown.startswith("imported, so trained elsewhere: there is no training to watch.")
    assert shown.endswith("imported: built by nets.py:make")


def test_the_similarity_chart_has_similarity_across_and_letters_where_curves_end():
    history = probed(matrix_event(100), matrix_event(200, log_odds_cosine=ALL_POINT_TWO, cosine=ALL_POINT_TWO))
    other = probed(matrix_event(100, fooled=[[20] * 3] * 3), matrix_event(200, fooled=[[30] * 3] * 3))
    shipped = reference([0.1, 0.15], [50.0, 90.0])
    picture = similarity_chart(history, Format(ascii=True), [shipped], other)
    assert picture is not None
    at = {curve.letter: (curve.x.tolist(), curve.y.tolist()) for curve in picture.curves if len(curve.x) == 1}
    expected = {"C": (0.15, 90), "V": (0.07, 30), "o": (0.07, 60.5), "@": (0.2, 60.5)}
    assert {letter: (x[0], y[0]) for letter, (x, y) in at.items()} == {
        letter: pytest.approx(place) for letter, place in expected.items()
    }


def test_the_legend_says_what_v_is_where_the_chart_has_one():
    history, unmeasured = probed(matrix_event(100)), History()
    for other in (history, unmeasured, None):
        picture = similarity_chart(history, ASCII, other=other)
        assert picture is not None
        drawn = any(curve.letter == "V" for curve in picture.curves)
        assert ("V other, o first" in panels.similarity(history, ASCII, other=other).plain) == drawn == (other is history)


OLD = {"log_odds_cosine": None, "transfer_interval": None}
ZEROS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
ASCII = Format(ascii=True)


def test_the_chart_is_by_the_log_odds_and_dots_the_losss_path_where_it_differs():
    masked = {"cosine": ZEROS, "zero_gradients": [0.9, 0.9, 0.9]}
    history = probed(matrix_event(100, **masked), matrix_event(200, **masked))
    shipped = reference([0.25], [68.0], [0.5, 0.0], [40.0, 68.0])
    picture = similarity_chart(history, ASCII, [shipped])
    dots = [(curve.x.tolist(), curve.y.tolist()) for curve in picture.curves if curve.letter == "." and not curve.joined]
    assert ([0.25], [68.0]) in dots
    assert ([0.5, 0.0], [40.0, 68.0]) in dots
    assert any(x == pytest.approx([0, 0]) and y == pytest.approx([60.5, 60.5]) for x, y in dots)
    (line,) = [curve for curve in picture.curves if curve.joined]
    assert line.x.tolist() == pytest.approx([0.07, 0.07])
    letters = {curve.letter: curve.x.tolist() for curve in picture.curves if len(curve.x) == 1 and curve.letter in "C@"}
    assert letters == {"C": [0.25], "@": pytest.approx([0.07])}
    legend = panels.similarity(history, ASCII, [shipped]).plain
    assert "now mean |cos| .07, transfer 60 %\n" in legend
    assert legend.endswith("shipped: C cos-only; dots: loss gradients, now .00")
    assert panels.similarity(History(), ASCII, [shipped]).plain.endswith("shipped: C cos-only; dots: loss gradients")
    alone = panels.similarity(history, ASCII).plain
    assert alone.endswith("transfer 60 %\ndots: loss gradients, now .00")
    same = panels.similarity(probed(matrix_event(100)), ASCII, [reference([0.1], [50.0])]).plain
    assert "loss" not in same


def test_an_old_log_is_drawn_by_the_loss_and_says_so():
    history = probed(matrix_event(100, **OLD), matrix_event(200, **OLD))
    assert "now mean |cos| of loss gradients .07," in panels.similarity(history, ASCII).plain
    ends = {curve.letter: curve.x.tolist() for curve in similarity_chart(history, ASCII).curves}
    assert ends["@"] == pytest.approx([0.07])
    text = panels.cosines(history, ASCII, 40).plain
    assert "loss gradients: mean .07" in text
    last = text.split("\n")[-1]
    assert last == "|cos| of log-odds gradients: not logged"
    assert len(last) <= 40  # the panel's width
    assert "|cos|, loss" in panels.numbers(history, ASCII, 60).plain
    assert "|cos| of loss gradients .07" in panels.versus(history, history, "it", ASCII).plain


def test_a_later_measurement_completes_an_old_log():
    stored = parse_probe(matrix_event(200, log_odds_cosine=ALL_POINT_TWO, cosine=ZEROS, zero_gradients=[1.0, 1.0, 0.7]))
    history = History(stored=stored)
    history.fold([matrix_event(100, cosine=ZEROS, **OLD), matrix_event(200, cosine=ZEROS, **OLD)])
    assert [probe.cosine for probe in history.copy().probes] == [None, pytest.approx(0.2)]
    lines = panels.cosines(history, ASCII, 40).plain.split("\n")
    assert lines[1].split() == ["F1", ".", ".20", ".20"]
    assert lines[-2].startswith("mean .20 ")
    assert lines[-2].endswith("held-out, n=128")
    assert lines[-1].startswith("loss gradients: mean .00")
    assert lines[-1].endswith("90 % vanish")


def test_the_cosine_panel_has_one_line_where_both_agree():
    text = panels.cosines(probed(matrix_event(100)), ASCII, 40).plain
    assert "loss" not in text
    assert "held-out, n=128" in text


def test_transfer_has_its_interval():
    assert "all pairs 60 % (51-69)" in panels.transfer(probed(matrix_event(100)), ASCII, 40).plain
    assert "(51" not in panels.transfer(probed(matrix_event(100, **OLD)), ASCII, 40).plain
