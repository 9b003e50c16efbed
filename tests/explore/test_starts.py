import numpy as np
import pytest
import torch

from trs_explorer.data import load_for
from trs_explorer.explore.planes import along_gradient, loss_directions
from trs_explorer.explore.starts import start_at, start_of
from trs_explorer.models.stored import load_ensemble
from trs_explorer.shipped import shipped_runs

X = torch.full((1, 2, 2), 0.5)


def corner_plane():
    """Axes along single pixels: what is clipped is known."""
    u = torch.tensor([1.0, 0, 0, 0]).view(1, 2, 2)
    return along_gradient(u, X, name="", seed=0)


def test_a_start_inside_is_where_it_was_asked_for():
    plane = corner_plane()
    start = start_at(plane, (0.25, 0.0))
    assert start.image.flatten().tolist() == pytest.approx([0.75, 0.5, 0.5, 0.5])
    assert start.point == pytest.approx((0.25, 0.0), abs=1e-6)
    assert (start.clipped, start.sentence()) == (False, "")
    assert start.off_plane == pytest.approx(0, abs=1e-6)
    ball = start.ball(0.1, "l2")
    assert np.hypot(*(ball - start.point).T) == pytest.approx(0.1, abs=1e-5)


def test_a_start_outside_is_the_nearest_valid_image_and_says_so():
    """One pixel leaves the range by .3: the start is .3 back, still in the plane."""
    start = start_at(corner_plane(), (0.8, 0.0))
    assert start.clipped
    assert start.image.flatten().tolist() == pytest.approx([1.0, 0.5, 0.5, 0.5])
    assert start.point == pytest.approx((0.5, 0.0), abs=1e-6)
    assert start.off_plane == pytest.approx(0, abs=1e-6)
    assert "No valid image lies at (0.80, 0.00): its pixels leave [0, 1]." in start.sentence()
    assert "nearest valid one, at (0.50, 0.00)" in start.sentence()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_start_off_the_plane_has_its_ball_around_it(norm):
    """Two pixels of one axis at different distances from 1: clipping leaves the plane, and the ball goes with the start."""
    x = torch.tensor([0.9, 0.5, 0.5, 0.5]).view(1, 2, 2)
    plane = along_gradient(torch.tensor([1.0, 1, 0, 0]).view(1, 2, 2), x, name="", seed=0)
    start = start_at(plane, (0.5, 0.0))
    assert start.clipped
    step = 0.5 / 2**0.5
    moved = torch.tensor([0.1, step, 0, 0]).view(1, 2, 2)
    assert torch.allclose(start.image[0], x + moved, atol=1e-6)
    assert start.point[0] == pytest.approx((moved * plane.u).sum().item(), abs=1e-6)
    rest = moved - (moved * plane.u).sum() * plane.u - (moved * plane.v).sum() * plane.v
    assert start.off_plane == pytest.approx(rest.norm().item(), abs=1e-6)
    eps = 0.05
    assert start.off_plane > 2 * eps  # the ball does not meet the plane itself
    ball = start.ball(eps, norm)
    assert len(ball) >= 4
    assert np.abs(ball - start.point).max() >= eps - 1e-9
    for a, b in ball - np.array(start.point):
        shift = (a * plane.u + b * plane.v).flatten()
        length = shift.abs().max() if norm == "linf" else shift.norm()
        assert length.item() == pytest.approx(eps, abs=1e-6)


def test_the_slices_own_image_is_a_start():
    start = start_of(corner_plane(), X)
    assert torch.equal(start.image[0], X)
    assert (start.clipped, start.point, start.sentence()) == (False, (0.0, 0.0), "")


def test_the_click_that_landed_elsewhere_without_a_word():
    run = next(one for one in shipped_runs() if one.name == "mnist-trs")
    ensemble, test = load_ensemble(run)[0], load_for(run, train=False)
    x, y = test.images(torch.tensor([0])), test.y[:1]
    plane = along_gradient(loss_directions(ensemble, x, y)[0], x[0], name="the loss of F1", seed=0)
    start = start_at(plane, (2.47, 2.52))
    assert start.clipped
    assert start.off_plane > 0.5
    assert start.image.min() >= 0
    assert start.image.max() <= 1
    assert f"({start.point[0]:.2f}, {start.point[1]:.2f})" in start.sentence()
    assert len(start.ball(0.1, "linf")) >= 3
