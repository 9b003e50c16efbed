"""The sets in the plane, in the plane's own coordinates."""

import pytest
import torch

from trs_explorer.data import load, plane
from trs_explorer.data.plane import to_plane, to_unit

NAMES = ("bars", "moons", "circles")


@pytest.mark.parametrize("name", NAMES)
def test_sizes_balance_and_determinism(name):
    train, test = load(name, train=True), load(name, train=False)
    assert (train.x.shape, test.x.shape) == ((300, 1, 1, 2), (400, 1, 1, 2))
    assert train.x.dtype == torch.float32
    assert train.y.bincount().tolist() == [150, 150]
    assert load(name, train=True, limit=10).y.bincount().tolist() == [5, 5]
    assert torch.equal(load(name, train=True).x, train.x)
    assert not torch.equal(load(name, train=True, seed=1).x, train.x)
    assert not torch.isclose(train.x, test.x[:300]).all(-1).any(), "test points are fresh draws"
    inside = (train.x > 0) & (train.x < 1)
    assert inside.all(), "no point is clamped"


@pytest.mark.parametrize("name", NAMES)
def test_the_training_seed_is_left_alone(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load(name, train=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_scale():
    corners = torch.tensor([[-2.0, -2.0], [2.0, 2.0], [0.0, 1.0], [-9.0, 9.0]])
    assert to_unit(corners).view(-1, 2).tolist() == [[0, 0], [1, 1], [0.5, 0.75], [0, 1]]
    assert torch.equal(to_plane(to_unit(corners[:3])), corners[:3])


def test_bars():
    data = load("bars", train=True)
    points, sign = to_plane(data.x), 2 * data.y - 1
    across = (points[:, 0] * sign - 0.9) / 0.12
    assert abs(across.mean()) < 4 / 300**0.5, "a standard normal's mean, within 4 standard errors"
    assert abs(across.std() - 1) < 4 / 600**0.5
    assert points[:, 1].abs().max() <= 0.55 + 1e-6
    assert points[:, 1].std() == pytest.approx(2 * 0.55 / 12**0.5, rel=0.15), "a uniform's width / sqrt(12)"
    assert (points[:, 0] * sign > 0).all(), "a vertical line separates the classes"


def test_moons():
    data = load("moons", train=True)
    points, sign = to_plane(data.x), 1 - 2 * data.y[:, None]
    upper = points * sign + torch.tensor([0.5, 0.25])  # the lower moon, turned, is the upper one
    off = upper.norm(dim=1) - 1
    assert abs(off.mean()) < 0.05
    assert off.std() == pytest.approx(0.1, rel=0.2)
    assert upper[:, 1].min() > -0.5, "half circles, not circles"


def test_circles():
    data = load("circles", train=True)
    radius = to_plane(data.x).norm(dim=1)
    disc, ring = radius[data.y == 0], radius[data.y == 1]
    assert disc.max() <= 0.6 + 1e-6
    assert 1.2 - 1e-6 <= ring.min() <= ring.max() <= 1.6 + 1e-6
    assert disc.square().mean() == pytest.approx(0.18, rel=0.2), "uniform in area: mean r^2 is half of 0.6^2"
    assert ring.square().mean() == pytest.approx((1.2**2 + 1.6**2) / 2, rel=0.05)


def test_no_two_splits_share_their_random_numbers():
    """Test points of one seed that begin as the training points of the next would be half seen."""
    seeds = [plane._labels(train, seed)[1].initial_seed() for seed in range(20) for train in (True, False)]
    assert len(set(seeds)) == 40
