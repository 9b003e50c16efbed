from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from trs_explorer.explore import slices
from trs_explorer.explore.planes import along_gradient, domain, three_images
from trs_explorer.explore.slices import HEAVY_LEVELS, LEVELS, Cancelled, assemble, coordinates, is_heavy, new_points, sample
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble


def whole_grid(level):
    n = LEVELS[level]
    return np.stack(np.divmod(np.arange(n * n), n), -1)


def plane_of(shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return along_gradient(torch.randn(shape, generator=g), torch.rand(shape, generator=g), name="", seed=seed)


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_levels_share_out_the_points_of_the_finest_grid(level):
    finer = [new_points(k) * ((LEVELS[level] - 1) // (LEVELS[k] - 1)) for k in range(level + 1)]
    together = np.concatenate(finer)
    assert len(together) == LEVELS[level] ** 2
    assert {tuple(point) for point in together.tolist()} == {tuple(point) for point in whole_grid(level).tolist()}
    rows = new_points(level)
    assert (np.diff(rows[:, 0] * LEVELS[level] + rows[:, 1]) > 0).all()  # row-major


def test_a_point_has_the_same_coordinates_in_every_level():
    low, high = -0.7, 1.9
    finest = coordinates(whole_grid(3), 3, low=low, high=high).reshape(193, 193, 2)
    for level, n in enumerate(LEVELS):
        step = 192 // (n - 1)
        here = coordinates(whole_grid(level), level, low=low, high=high).reshape(n, n, 2)
        assert np.array_equal(here, finest[::step, ::step])
        assert here[0, 0].tolist() == [low, low]
        assert here[0, -1].tolist() == pytest.approx([high, low])  # a along the row
        assert here[-1, 0].tolist() == pytest.approx([low, high])


@pytest.mark.parametrize(("model", "data", "shape"), [("mlp", "bars", (1, 1, 2)), ("patch", "mnist", (1, 28, 28))])
def test_the_nested_grid_is_the_direct_grid(model, data, shape):
    """Up to the rounding of matrix products in other batches."""
    ensemble, plane = build(model, data, 2, seed=0), plane_of(shape)
    levels = [sample(ensemble, plane, coordinates(new_points(k), k, low=-2.0, high=2.0)) for k in range(3)]
    assert all(module.training for module in ensemble.modules())
    direct = sample(ensemble, plane, coordinates(whole_grid(2), 2, low=-2.0, high=2.0), batch=100).reshape(97, 97, 2, -1)
    assert np.abs(assemble(levels) - direct).max() < 1e-5
    assert np.abs(direct).max() > 0.05
    for known in (1, 2):
        part = assemble(levels[:known])
        assert np.array_equal(part, assemble(levels)[:: 4 // known, :: 4 // known])
    with pytest.raises(ValueError, match="new points"):
        assemble([levels[0], levels[2]])
    with pytest.raises(ValueError, match="1 to 4 levels"):
        assemble([])


def test_samples_of_several_threads_are_in_the_order_of_the_points(monkeypatch):
    with ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(slices, "_one_thread_a_core", lambda: (pool, 3))
        ensemble, plane = build("mlp", "bars", 2, seed=0), plane_of((1, 1, 2))
        points = np.random.default_rng(0).uniform(-2, 2, (70, 2))
        found = sample(ensemble, plane, points, batch=8)
    with torch.no_grad():
        expected = ensemble.eval().member_logits(plane.images(torch.tensor(points).to(plane.origin)).float()).transpose(0, 1)
    assert np.abs(found - expected.numpy()).max() < 1e-5
    assert np.abs(np.diff(found, axis=0)).max() > 0.01


class Line(nn.Module):
    """Class 1 where w . x > c."""

    def __init__(self, w, c):
        super().__init__()
        self.w, self.c = nn.Parameter(w, requires_grad=False), c

    def forward(self, x):
        margin = (x.flatten(1).double() @ self.w.flatten().double() - self.c).float()
        return torch.stack([-margin, margin], -1)


@pytest.mark.parametrize("kind", ["random", "images", "domain"])
def test_a_linear_models_boundary_is_a_line(kind):
    g = torch.Generator().manual_seed(1)
    shape = (1, 1, 2) if kind == "domain" else (3, 4, 4)
    a, b, c = torch.rand(3, *shape, generator=g)
    plane = {"random": lambda: plane_of(shape), "images": lambda: three_images(a, b, c), "domain": lambda: domain(shape)}[kind]()
    weights = torch.randn(2, *shape, generator=g)
    middle = plane.images(torch.tensor([[0.4, 0.3]]))[0]
    ensemble = Ensemble([Line(w, (w * middle).sum().item()) for w in weights])
    points = coordinates(whole_grid(0), 0, low=-1.0, high=1.0)
    logits = sample(ensemble, plane, points)
    assert logits.dtype == np.float32
    for member, w in enumerate(weights):
        slope = np.array([(w * plane.u).sum().item(), (w * plane.v).sum().item()])
        expected = (points - [0.4, 0.3]) @ slope  # 0 on a line through (.4, .3), normal to the projected weights
        assert np.abs(logits[:, member, 1] - expected).max() < 1e-4
        assert 0 < (expected > 0).mean() < 1


def test_samples_in_eval_mode():
    ensemble = Ensemble([nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(2, 2))])
    points = coordinates(new_points(0), 0, low=0.0, high=1.0)
    found = sample(ensemble, domain((1, 1, 2)), points)
    weight, bias = (part.detach().numpy() for part in ensemble.members[0][2].parameters())
    assert np.abs(found[:, 0] - (points @ weight.T + bias)).max() < 1e-6
    assert ensemble.members[0][1].training


def test_stops_between_passes():
    ensemble, plane = build("mlp", "bars", 2, seed=0), domain((1, 1, 2))
    points = coordinates(new_points(0), 0, low=0.0, high=1.0)
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        sample(ensemble, plane, points, stop=stop, batch=50)
    assert len(asked) == 4
    assert sample(ensemble, plane, points, batch=50).shape == (625, 2, 2)


def test_of_large_images_few_are_in_one_pass(monkeypatch):
    sizes = []

    class Counting(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x.flatten(1)[:, :2]

    monkeypatch.setattr(slices, "fitting_batch", lambda model, x, most: 3)  # its own tests: models/test_batch_size.py
    x = torch.rand(1, 3, 4)
    plane = along_gradient(torch.rand(1, 3, 4), x, name="it", seed=0)
    points = coordinates(new_points(0), 0, low=-1.0, high=1.0)
    assert len(sample(Ensemble([Counting()]), plane, points)) == len(points)
    assert max(sizes) == 3


def test_grids_of_a_heavy_model_begin_small_and_join_to_the_same_grid():
    """What is computed in five steps is what one step of 97 x 97 would have."""
    plane = along_gradient(torch.rand(1, 2, 2), torch.rand(1, 2, 2), name="it", seed=0)
    ensemble = Ensemble([nn.Sequential(nn.Flatten(), nn.Linear(4, 2)) for _ in range(2)])
    levels = [
        sample(ensemble, plane, coordinates(new_points(k, HEAVY_LEVELS), k, low=-1.0, high=2.0, grids=HEAVY_LEVELS))
        for k in range(len(HEAVY_LEVELS))
    ]
    assert [len(one) for one in levels] == [7**2, 13**2 - 7**2, 25**2 - 13**2, 49**2 - 25**2, 97**2 - 49**2]
    whole = sample(ensemble, plane, coordinates(new_points(0, (97,)), 0, low=-1.0, high=2.0, grids=(97,)))
    np.testing.assert_allclose(assemble(levels, HEAVY_LEVELS), assemble([whole], (97,)), rtol=1e-5, atol=1e-6)


def test_progress_counts_the_points_that_are_computed():
    plane = along_gradient(torch.rand(1, 2, 2), torch.rand(1, 2, 2), name="it", seed=0)
    ensemble = Ensemble([nn.Sequential(nn.Flatten(), nn.Linear(4, 2))])
    told = []
    sample(ensemble, plane, coordinates(new_points(0), 0, low=-1.0, high=1.0), batch=100, progress=lambda *of: told.append(of))
    assert told[-1] == (625, 625)
    assert all(one[0] < other[0] for one, other in pairwise(told))
    assert not is_heavy(ensemble, torch.rand(1, 2, 2))
