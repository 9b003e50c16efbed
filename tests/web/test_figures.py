"""Figures as functions: what is drawn where, checked by plotly's own objects, and against the scene's arithmetic."""

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from linear import Line

from trs_explorer.data import Dataset
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.slices import assemble, coordinates, new_points, sample
from trs_explorer.figures.of_ensemble import attacks_to_draw
from trs_explorer.figures.slice_figure import slice_spec
from trs_explorer.models import Ensemble, build
from trs_explorer.shipped import shipped_runs
from trs_explorer.web.attack_paths import attack_caption, configured_attack, make_attack_paths, slice_caption
from trs_explorer.web.drawing import slice_to_draw
from trs_explorer.web.history import history_table
from trs_explorer.web.slice_view import make_slice_view
from trs_explorer.web.state import State

LOOK = State("mnist-trs", image=0, span=4.0)
RUNS = {run.name: run for run in shipped_runs()}


@pytest.fixture(scope="module")
def deep():
    """Untrained members on three made-up images."""
    data = Dataset("mnist", torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 1, 2]), 10)
    return Loaded(RUNS["mnist-trs"], "mnist-trs", "0036", build("patch", "mnist", 3, seed=0).eval(), "cd" * 32, data, None)


def drawn(loaded, state):
    """A scene with its attacks."""
    scene = make_slice_view(loaded, state)
    return scene, make_attack_paths(loaded, state, scene)


def slice_figure(scene, walks, **settings):
    """The figure of a scene on the coarsest grid."""
    points = coordinates(new_points(0), 0, low=scene.low, high=scene.high)
    logits = assemble([sample(scene.loaded.ensemble, scene.plane, points)])
    return slice_spec(slice_to_draw(scene, logits), attacks_to_draw(walks), **settings)


def marks(figure, words):
    return [trace for trace in figure["data"] if words in trace["name"]]


def test_an_attack_in_the_plane_ends_where_arithmetic_says(flat):
    state = State("bars-trs", image=0, plane="random", eps=0.2, attack="fgsm")
    scene, walks = drawn(flat, state)
    assert walks.start == pytest.approx((0.4, 0.4))
    np.testing.assert_allclose(walks.paths[0][-1], [0.6, 0.4], atol=1e-6)  # member 1 looks at the first input alone
    np.testing.assert_allclose(walks.paths[1][-1], [0.4, 0.6], atol=1e-6)  # .6 < .7: member 2 is not fooled; so far it came
    assert (walks.fools(0, 0), walks.fools(0, 1), walks.fools(1, 1)) == (True, False, False)
    np.testing.assert_allclose(sorted(map(tuple, walks.ball)), [(0.2, 0.2), (0.2, 0.6), (0.6, 0.2), (0.6, 0.6)], atol=1e-6)
    np.testing.assert_allclose(sorted(map(tuple, scene.box)), [(0, 0), (0, 1), (1, 0), (1, 1)], atol=1e-6)
    figure = slice_figure(scene, walks, surrogate=0)
    go.Figure(figure)  # raises where a property does not exist
    ends = marks(figure, "fools F1")
    assert [(t["x"], t["y"], t["marker"]["symbol"]) for t in ends] == [([pytest.approx(0.6)], [pytest.approx(0.4)], "x")]
    assert {t["marker"]["symbol"] for t in marks(figure, "does not fool F2")} == {"circle-open"}
    assert [note["text"] for note in figure["layout"]["annotations"][1:3]] == [
        "<b>F1</b>: 0 → 1, fooled",
        "<b>F2</b>: 0, not fooled",
    ]
    assert len(marks(figure, "training points of class 1")) == 3  # on every panel
    assert not marks(figure, "outside [0, 1]")  # there is no such question in the plane


def test_a_click_moves_the_start_the_ball_and_the_paths(flat):
    _, walks = drawn(flat, State("bars-trs", image=0, plane="random", eps=0.2, attack="fgsm", start="0.1,0.65"))
    assert walks.start == pytest.approx((0.1, 0.65))
    np.testing.assert_allclose(walks.paths[1][-1], [0.1, 0.85], atol=1e-6)
    assert walks.fools(1, 1)
    assert not walks.fools(0, 0)
    assert walks.ball[:, 0].min() == pytest.approx(-0.1)


def test_a_model_that_was_wrong_before_the_attack_is_not_fooled_by_it(flat):
    scene, walks = drawn(flat, State("bars-trs", image=0, plane="random", eps=0.2, attack="fgsm", start="0.6,0.4"))
    assert walks.before == [1, 0, 0]
    assert walks.headline(0) == "1, wrong already"
    assert not any(walks.fools(attacked, 0) for attacked in range(3))
    assert marks(slice_figure(scene, walks, surrogate=0), "does not fool F1")


def test_swapped_axes_are_the_same_picture_turned(deep):
    state = State("mnist-trs", image=0, plane="gradients", eps=0.1, steps=4)
    (one, walks), (other, turned) = drawn(deep, state), drawn(deep, State(**{**state.to_json(), "swap": 1}))
    assert one.key != other.key
    assert one.plane.names == other.plane.names[::-1]
    np.testing.assert_allclose(walks.paths[3][:, ::-1], turned.paths[3], atol=1e-5)


def test_panels_share_one_scale_and_hidden_models_have_none(deep):
    scene, walks = drawn(deep, LOOK)
    figure = slice_figure(scene, walks, hidden=[1], surrogate=0)
    go.Figure(figure)
    axes = {name: axis for name, axis in figure["layout"].items() if name.startswith(("xaxis", "yaxis"))}
    assert len(axes) == 6
    assert all(axis["range"] == [-4, 4] for axis in axes.values())
    assert all(axis["matches"] == name[0] for name, axis in axes.items() if name not in ("xaxis", "yaxis"))
    titles = [note["text"].split(":")[0] for note in figure["layout"]["annotations"][1:]]
    assert titles == ["<b>F1</b>", "<b>F3</b>", "<b>ensemble</b>"]
    edges = sorted(axis["domain"] for name, axis in axes.items() if name.startswith("x"))
    assert all(one[1] < other[0] for one, other in pairwise(edges))


def test_three_images_are_all_in_the_square_and_have_their_names(deep):
    scene, walks = drawn(deep, State("mnist-trs", image=0, plane="images", second=1, third=2))
    figure = slice_figure(scene, walks)
    marked = marks(figure, "images in the plane")[0]
    thumbnails = [one for one in figure["layout"]["images"] if one["name"].startswith("image ")]
    assert [one["name"] for one in thumbnails] == ["image 0", "image 1", "image 2"] * len(scene.models)
    assert len({one["source"] for one in thumbnails}) == 3
    expected = scene.plane.coordinates(deep.data.x).numpy()
    np.testing.assert_allclose(np.column_stack([marked["x"], marked["y"]]), expected, atol=1e-4)
    assert scene.low < expected.min()
    assert expected.max() < scene.high


def test_eight_members_are_three_rows():
    data = Dataset("bars", torch.tensor([[0.4, 0.4]]).view(1, 1, 1, 2), torch.tensor([0]), 2)
    ensemble = Ensemble([Line([8.0, float(k)], 4.0) for k in range(8)])
    loaded = Loaded(RUNS["bars-trs"], "bars-trs", "0800", ensemble, "ab" * 32, data, None)
    figure = slice_figure(*drawn(loaded, State("bars-trs", image=0, plane="random")))
    go.Figure(figure)
    rows = {tuple(axis["domain"]) for name, axis in figure["layout"].items() if name.startswith("yaxis")}
    assert len(rows) == 3


def test_the_key_tells_slices_apart_and_nothing_else(deep):
    state = LOOK
    key = make_slice_view(deep, state).key
    for same in ({"eps": 0.1}, {"layer": "margin"}, {"start": "1,1"}, {"n": 64}, {"hide": "1"}, {"attack": "fgsm"}):
        assert make_slice_view(deep, State(**{**state.to_json(), **same})).key == key, same
    for other in ({"span": 5.0}, {"image": 1}, {"target": 2}, {"swap": 1}, {"plane": "random"}, {"plane": "images"}):
        assert make_slice_view(deep, State(**{**state.to_json(), **other})).key != key, other


def test_few_steps_are_longer_ones():
    for steps, size in ((10, 0.25), (25, 0.1), (50, 0.1), (1, 2.5)):
        _, attack = configured_attack(State("r", steps=steps, eps=0.4))
        assert attack.keywords["step_size"] == pytest.approx(0.4 * size)


def test_words_say_that_paths_are_projections_only_where_they_are(flat, deep):
    state = State("b", image=0, plane="random")
    view, attacks = drawn(flat, state)
    for words in ("projections", "Hatched"):
        assert words not in attack_caption(view, attacks, state)
    assert "two directions of many" not in slice_caption(view, state)
    state = State("m", image=0, plane="random", eps=0.3)
    view, attacks = drawn(deep, state)
    assert f"Marks are projections of results off the plane (on F1: by {attacks.off_plane[0]:.2f})" in attack_caption(
        view, attacks, state
    )
    assert "Hatched" in attack_caption(view, attacks, state)
    assert "two directions of many" in slice_caption(view, state)


def test_the_table_has_the_numbers_of_the_probes_and_survives_damaged_events():
    events = [
        {"kind": "step", "step": 10, "terms": {"total": 2.0, "ce": 1.5}},
        {"kind": "step", "step": 20, "terms": "torn"},
        {"kind": "matrix", "step": 20, "epoch": 1, "n": 8, "log_odds_cosine": [[1, 0.2, 0.4], [0.2, 1, 0.6], [0.4, 0.6, 1]],
         "fooled": [[8, 1, 2], [3, 8, 0], [0, 0, 8]], "eligible": [[8, 4, 4], [4, 8, 4], [4, 4, 8]]},
        {"kind": "matrix", "step": 25, "cosine": "x", "fooled": [[1]], "eligible": None},
    ]  # fmt: skip
    assert "0.25" in str(history_table(events))
    history_table([])


def test_the_attack_of_a_state_has_the_options_of_the_form_that_it_takes():
    name, attack = configured_attack(State("r", attack="pgd", steps=5, eps=0.4, loss="margin", restarts=3, step_size=0.05))
    assert name == "PGD-MARGIN-5 X3, STEP 0.05"
    assert attack.keywords == {"eps": 0.4, "steps": 5, "step_size": 0.05, "norm": "linf", "restarts": 3, "loss": "margin"}
    name, attack = configured_attack(State("r", attack="mim", steps=10, eps=0.4, loss="margin", restarts=3, norm="l2"))
    assert name == "MIM-10"
    assert attack.keywords == {"eps": 0.4, "steps": 10, "step_size": 0.4 * 0.25, "norm": "l2"}
    assert configured_attack(State("r", attack="fgsm"))[0] == "FGSM"
    assert "step_size" not in configured_attack(State("r", attack="bim"))[1].keywords
    assert configured_attack(State("r", attack="bim", step_size=0.1))[1].keywords["step_size"] == 0.1
    assert "loss" not in configured_attack(State("r", loss="ce"))[1].keywords
