"""From the explorer's slices to the figure: the models' outputs in order, and who fools whom."""

import numpy as np
import torch

from trs_explorer.explore.slices import LEVELS, assemble, coordinates, new_points, sample
from trs_explorer.figures.of_ensemble import attacks_to_draw
from trs_explorer.figures.slice_figure import slice_figure
from trs_explorer.web.attack_paths import make_attack_paths
from trs_explorer.web.drawing import slice_to_draw
from trs_explorer.web.slice_view import make_slice_view
from trs_explorer.web.state import State


def drawn(loaded, state):
    view = make_slice_view(loaded, state)
    points = coordinates(new_points(0), 0, low=view.low, high=view.high)
    logits = assemble([sample(loaded.ensemble, view.plane, points)])
    return view, slice_to_draw(view, logits), attacks_to_draw(make_attack_paths(loaded, state, view))


def test_the_outputs_are_those_of_the_models_at_each_point(flat):
    view, data, _ = drawn(flat, State("bars-trs", image=0, plane="random"))
    along = np.linspace(view.low, view.high, LEVELS[0])
    for row, column in ((0, 0), (3, 20), (24, 7)):
        x = view.plane.images(torch.tensor([[along[column], along[row]]]))
        expected = [*(member(x)[0] for member in flat.ensemble.members), flat.ensemble(x)[0]]
        np.testing.assert_allclose(data.outputs[row, column], torch.stack(expected), atol=1e-5)


def test_linear_members_have_their_lines_and_the_attack_its_cross(flat):
    """F1's boundary is a = .5, F2's b = .7; a step of .2 from (.4, .4) crosses the first alone."""
    _, data, attacks = drawn(flat, State("bars-trs", image=0, plane="random", eps=0.2, attack="fgsm"))
    figure = slice_figure(data, attacks).to_plotly_json()
    lines = [t for t in figure["data"] if t["name"] == "boundaries"]
    assert {round(x, 4) for x in lines[0]["x"] if x is not None} == {0.5}
    assert {round(y, 4) for y in lines[1]["y"] if y is not None} == {0.7}
    np.testing.assert_array_equal(attacks.fools[:2, :2], [[True, False], [False, False]])
    assert [note["text"] for note in figure["layout"]["annotations"][1:3]] == [
        "<b>F1</b>: 0 → 1, fooled",
        "<b>F2</b>: 0, not fooled",
    ]
