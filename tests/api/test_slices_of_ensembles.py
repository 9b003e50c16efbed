"""`trs.figures`: what the figures of an ensemble, a matrix, a training and rates say, read from their data."""

from functools import partial

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

import trs_explorer as trs
from trs_explorer.explore.attack_paths import attack_paths
from trs_explorer.explore.planes import along_gradient, loss_directions
from trs_explorer.models.ensemble import Ensemble


def trace(figure, panel, name):
    axis = f"x{panel + 1}" if panel else "x"
    (found,) = [one for one in figure.data if one.name == name and (one.xaxis or "x") == axis]
    return found


def points(one):
    return np.array([point for point in zip(one.x, one.y, strict=True) if point[0] is not None])


def titles(figure):
    return [one.text for one in figure.layout.annotations if one.text.startswith("<b>")]


def test_a_slice_shows_each_lines_boundary_where_it_is(problem):
    """Along the gradient of F1 its own boundary is a straight line at a = -score / ||weight||, upright."""
    ensemble, x, y = problem
    figure = trs.figures.slices(ensemble, x[1], y[1], span=2.0, points=49)
    assert isinstance(figure, go.Figure)
    assert [title.split("</b>")[0] for title in titles(figure)] == ["<b>F1", "<b>F2", "<b>F3", "<b>ensemble"]
    sign = 1 - 2 * int(y[1])  # the loss of class 1 grows against the weights
    plane = along_gradient(loss_directions(ensemble, x[1:2], y[1:2])[0], x[1], name="the loss of F1", seed=0)
    for number, member in enumerate(ensemble.members):
        weight = member.weight.detach()
        score = float(x[1].flatten() @ weight - member.offset)
        direction = np.array([float(weight @ plane.u.flatten()), float(weight @ plane.v.flatten())])
        line = points(trace(figure, number, "boundaries"))
        assert len(line) > 40
        assert np.abs(line @ direction + score).max() < 1e-4
    first = ensemble.members[0].weight.detach()
    assert float(first @ plane.u.flatten()) == pytest.approx(sign * float(first.norm()), rel=1e-5)
    assert figure.layout.xaxis.range == (-2, 2)


def test_the_paths_are_those_of_the_attack_on_each_model(problem):
    ensemble, x, y = problem
    models, names = [*ensemble.members, ensemble], ["F1", "F2", "F3", "ensemble"]
    kept = []  # [attacked, model] of the images on which it matters which is which
    for k in range(1, 30):
        paths = attack_paths(ensemble, x[k : k + 1], y[k : k + 1], partial(trs.attacks.pgd, eps=0.08, steps=4), seed=5)
        fools = np.array([[bool(model(path.x_adv).argmax(-1) != y[k]) for model in models] for path in paths])
        clean = [bool(model(x[k : k + 1]).argmax(-1) == y[k]) for model in models]
        if all(clean) and (fools[1] != fools[:, 1]).any():
            kept.append((k, paths, fools))
    k, paths, fools = kept[0]
    figure = trs.figures.slices(ensemble, x[k], y[k], attack=trs.attacks.pgd, eps=0.08, steps=4, seed=5, surrogate=1)
    plane = along_gradient(loss_directions(ensemble, x[k : k + 1], y[k : k + 1])[1], x[k], name="", seed=5)
    for number, name in enumerate(names):
        shown = points(trace(figure, number, f"path of pgd-4 on {name}"))
        assert np.abs(shown - plane.coordinates(paths[number].images).numpy()).max() < 1e-5
        assert ("not fooled" in titles(figure)[number]) == (not fools[number, number])
        marks = trace(figure, number, f"{'fools' if fools[1, number] else 'does not fool'} {name}")
        assert "F2" in marks.meta["attacked"]
    assert any("dashed: on F2" in one.text for one in figure.layout.annotations)


def test_members_and_arrays_give_the_same_figure(problem):
    ensemble, x, y = problem
    expected = trs.figures.slices(ensemble, x[1], y[1], points=25, attack="pgd", eps=0.1, steps=2)
    for given in (
        ([*ensemble.members], x[1].numpy(), int(y[1])),
        (ensemble, x[1:2], y[1:2]),
        (ensemble, x[1].tolist(), y[1]),
    ):
        assert trs.figures.slices(*given, points=25, attack="pgd", eps=0.1, steps=2) == expected
    assert trs.figures.slices(ensemble, x[1], y[1], points=25, seed=1) != trs.figures.slices(ensemble, x[1], y[1], points=25)


def test_other_planes_go_through_two_gradients_and_three_images(problem):
    ensemble, x, y = problem
    figure = trs.figures.slices(ensemble, x[1], y[1], plane="gradients", surrogate=0, target=3, points=25)
    text = next(one.text for one in figure.layout.annotations if one.name == "axes")
    assert "gradient of the loss of F1" in text
    assert "gradient of the loss of the ensemble" in text
    figure = trs.figures.slices(ensemble, x[1], y[1], plane="images", others=x[2:4], points=25)
    places = points(trace(figure, 0, "images in the plane"))
    distances = [float((x[1] - x[k]).norm()) for k in (2, 3)]
    assert places[0] == pytest.approx([0, 0], abs=1e-5)
    assert [np.hypot(*place) for place in places[1:]] == pytest.approx(distances, rel=1e-4)
    low, high = figure.layout.xaxis.range
    assert low < places.min() < places.max() < high


def test_points_of_the_plane_are_drawn_as_they_are():
    torch.manual_seed(0)
    members = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2)) for _ in range(2)]
    figure = trs.figures.slices(members, [[[0.2, 0.7]]], 0, points=25)
    assert figure.layout.xaxis.range == (0, 1)
    assert "hatched" not in str(figure.layout.annotations)


WRONG = {
    "a slice goes through one image, got 60": lambda e, x, y: trs.figures.slices(e, x, y),
    "target must be a model's number, 0 to 3 (F1, F2, F3, ensemble), got 4": lambda e, x, y: trs.figures.slices(
        e, x[0], y[0], target=4
    ),
    "plane=: there is no 'gradient'. Did you mean gradients?": lambda e, x, y: trs.figures.slices(
        e, x[0], y[0], plane="gradient"
    ),
    "layer=: there is no 'clas'": lambda e, x, y: trs.figures.slices(e, x[0], y[0], layer="clas"),
    "points must be one of 25, 49, 97, 193, got 100": lambda e, x, y: trs.figures.slices(e, x[0], y[0], points=100),
    "span must be a distance > 0, got 0": lambda e, x, y: trs.figures.slices(e, x[0], y[0], span=0),
    "pass them as others=": lambda e, x, y: trs.figures.slices(e, x[0], y[0], plane="images"),
    "others must be two images of shape [1, 4, 4], got [3, 1, 4, 4]": lambda e, x, y: trs.figures.slices(
        e, x[0], y[0], plane="images", others=x[:3]
    ),
    "others are the images of plane='images', this is plane='random'": lambda e, x, y: trs.figures.slices(
        e, x[0], y[0], others=x[:2]
    ),
    "eps, steps: options of an attack, but none is given": lambda e, x, y: trs.figures.slices(e, x[0], y[0], eps=0.1, steps=2),
    "labels must lie in [0, 1] for a model of 2 classes, got [2, 2]": lambda e, x, y: trs.figures.slices(e, x[0], 2),
    "names must be those of the 3 members, got 2": lambda e, x, y: trs.figures.matrix(
        trs.transfer_matrix(e, x, y, attack="fgsm", eps=0.1), names=["a", "b"]
    ),
    "no rates under an attack with a radius": lambda e, x, y: trs.figures.compare({"mine": trs.evaluate(e, x, y)}),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_drawn_is_said(problem, text):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the text is compared below)
        WRONG[text](*problem)
    assert text in str(error.value)


def test_the_matrix_shows_the_rates_of_its_pairs(problem):
    matrix = trs.transfer_matrix(*problem, attack="fgsm", eps=0.05)
    figure = trs.figures.matrix(matrix, names=["one", "two", "three"])
    heat = figure.data[0]
    for i, row in enumerate(heat.z):
        for j, value in enumerate(row):
            assert value == (None if matrix.rate(i, j) is None else 100 * matrix.rate(i, j))
    assert figure.layout.yaxis.ticktext == ("one", "two", "three")
    assert figure.layout.xaxis.ticktext == ("one", "two", "three", "ensemble")
    square = trs.transfer_matrix(*problem, attack="fgsm", eps=0.05, ensemble_column=False)
    assert trs.figures.matrix(square).layout.xaxis.ticktext == ("F1", "F2", "F3")


def test_a_training_is_drawn_by_name_and_from_its_events():
    figure = trs.figures.training("mnist-trs")
    events = list(trs.train("standard", data="bars", members=2, epochs=1, log_every=1, device="cpu", out="run"))
    assert trs.figures.training("run") == trs.figures.training(events)
    total = next(one for one in trs.figures.training(events).data if one.name == "total")
    logged = [(event["step"], event["terms"]["total"]) for event in events if event["kind"] == "step"]
    assert list(zip(total.x, total.y, strict=True)) == logged
    assert {"ce", "total", "|cos| of the loss"} <= {one.name for one in figure.data}


def test_compared_are_the_rates_over_eps_with_the_clean_one_first(problem):
    ensemble, x, y = problem
    rates = {
        name: trs.evaluate(one, x, y, attacks={"fgsm": [0.05, 0.02]})
        for name, one in {"three": ensemble, "one": Ensemble([ensemble.members[0]])}.items()
    }
    figure = trs.figures.compare(rates)
    lines = {one.name: one for one in figure.data}
    assert list(lines) == ["A: three", "B: one"]
    for name, line in (("three", lines["A: three"]), ("one", lines["B: one"])):
        of_one = rates[name]
        assert line.x == (0, 0.02, 0.05)
        expected = [of_one[key].accuracy for key in ("clean", "fgsm 0.02", "fgsm 0.05")]
        assert line.y == pytest.approx([100 * accuracy for accuracy in expected])
    assert len({lines["A: three"].y, lines["B: one"].y}) == 2


def test_functions_keep_their_names_when_the_modules_behind_them_load():
    import importlib

    before = {name: getattr(trs.figures, name) for name in trs.figures.__all__}
    for module in ("slice_figure", "matrix_figure", "training_figure", "of_ensemble", "of_results"):
        importlib.import_module(f"trs_explorer.figures.{module}")
    assert {name: getattr(trs.figures, name) for name in trs.figures.__all__} == before
    assert all(callable(one) for one in before.values())
