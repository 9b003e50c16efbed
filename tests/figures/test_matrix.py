"""The matrix says of every cell what was attacked, what was tried, and how many images that is."""

import plotly.graph_objects as go
import pytest

from trs_explorer.figures.matrix_figure import SMALL, Transfer, matrix_figure, matrix_spec

# Every number differs, so that no two cells, rows or columns can be exchanged unseen.
FOOLED = [[20, 2, 3, 5], [7, 30, 11, 13], [17, 19, 40, 23]]
ELIGIBLE = [[20, 25, 29, 31], [37, 30, 41, 43], [47, 53, 40, 59]]
NAMES = ("F1", "F2", "F3", "ensemble")


def transfer(**changes):
    ends = [[(f / e / 2, (1 + f / e) / 2) for f, e in zip(*rows, strict=True)] for rows in zip(FOOLED, ELIGIBLE, strict=True)]
    fields = {"surrogates": NAMES[:3], "targets": NAMES, "fooled": FOOLED, "eligible": ELIGIBLE, "intervals": ends}
    return Transfer(**fields | changes)


def seen(figure):
    """What a reader takes from the figure: {(row's name, column's name): (z, text, hover)}."""
    (heat,), layout = figure.data, figure.layout
    assert (layout.yaxis.autorange, layout.xaxis.side) == ("reversed", "top")  # the first row is on top, as names are read
    rows = dict(zip(layout.yaxis.tickvals, layout.yaxis.ticktext, strict=True))
    columns = dict(zip(layout.xaxis.tickvals, layout.xaxis.ticktext, strict=True))
    texts = {(note.y, note.x): note.text for note in layout.annotations if note.xref is None}
    return {
        (rows[i], columns[j]): (heat.z[i][j], texts[i, j], heat.customdata[i][j])
        for i in range(len(rows)) for j in range(len(columns))
    }  # fmt: skip


def test_rows_are_attacked_and_columns_are_fooled():
    figure = matrix_figure(transfer())
    assert figure.layout.yaxis.title.text == "attack made on ↓"
    assert figure.layout.xaxis.title.text == "fools →"
    cells = seen(figure)
    assert len(cells) == 12
    for i, surrogate in enumerate(NAMES[:3]):
        for j, target in enumerate(NAMES):
            z, text, hover = cells[surrogate, target]
            rate = 100 * FOOLED[i][j] / ELIGIBLE[i][j]
            assert z == pytest.approx(rate)
            assert text.startswith(f"<b>{rate:.0f}</b>")
            assert f"n {ELIGIBLE[i][j]}<" in text
            assert f"{rate / 2:.0f}-{50 + rate / 2:.0f}" in text
            assert hover.startswith(f"attack made on {surrogate}, tried on {target}: {rate:.1f} % (")
            assert hover.endswith(f"{FOOLED[i][j]} of {ELIGIBLE[i][j]} images")


def test_a_cell_without_images_is_no_zero():
    nothing = [[0] * 4] * 3
    cells = seen(matrix_figure(transfer(fooled=nothing, eligible=nothing)))
    assert set(cells["F2", "F1"][:2]) == {None, "-"}
    assert "no image yet" in cells["F2", "F1"][2]


def test_the_frame_is_around_the_selected_cell():
    (frame,) = matrix_figure(transfer(), selected=(2, 1)).layout.shapes
    assert (frame.y0, frame.y1, frame.x0, frame.x1) == (1.5, 2.5, 0.5, 1.5)
    assert not matrix_figure(transfer()).layout.shapes


def test_colours_mean_the_same_whatever_the_matrix_holds():
    (heat,) = matrix_figure(transfer()).data
    assert (heat.zmin, heat.zmax) == (0, 100)


def test_names_of_strangers_are_text():
    figure = matrix_figure(transfer(targets=("<b>", "%{x}", "c", "d")), caption="<i>")
    assert "&lt;b&gt;" in figure.layout.xaxis.ticktext
    assert "<i>" not in figure.layout.annotations[0].text
    assert "%{x}" not in figure.data[0].customdata[0][1]


@pytest.mark.parametrize("look", ["light", "dark", "print"])
def test_sixteen_members_show_their_rates_alone(look):
    members = 16
    many = Transfer(
        surrogates=[f"F{k}" for k in range(members)], targets=[f"F{k}" for k in range(members)],
        fooled=[[1] * members] * members, eligible=[[4] * members] * members, intervals=[[(0.1, 0.5)] * members] * members,
    )  # fmt: skip
    assert members > SMALL
    figure = go.Figure(matrix_spec(many, look=look))
    assert seen(figure)["F3", "F4"][1] == "<b>25</b>"
    assert "(10.0-50.0)" in figure.data[0].customdata[3][4]
