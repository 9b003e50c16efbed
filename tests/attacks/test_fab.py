"""FAB against closed forms: the step onto a plane inside [0, 1], and the nearest boundary of a linear model."""

import pytest
import torch
from torch import nn

from trs_explorer.attacks.fab import _onto_boundary, fab_t


def reached(point, slope, radius, norm):
    """The largest value of <slope, z> over z in [0, 1] within radius of the point, by a fine search along its closed form."""
    if norm == "linf":
        return (slope * (point + radius * slope.sign()).clamp(0, 1)).sum()
    # in L2 the best z is clip(point + t slope); its t by bisection on the length of the step
    low, high = torch.tensor(0.0), torch.tensor(1e6)
    for _ in range(200):
        middle = (low + high) / 2
        too_far = ((point + middle * slope).clamp(0, 1) - point).norm() > radius
        low, high = (low, middle) if too_far else (middle, high)
    return (slope * (point + low * slope).clamp(0, 1)).sum()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_step_onto_a_plane_is_the_shortest_that_stays_among_images(norm) -> None:
    torch.manual_seed(0)
    points = torch.rand(20, 1, 3, 3, dtype=torch.float64)
    slopes = torch.randn(20, 9, dtype=torch.float64)
    ahead = (slopes.clamp_min(0).sum(-1) - (slopes * points.flatten(1)).sum(-1)) * torch.linspace(0.05, 0.95, 20)
    offsets = -(slopes * points.flatten(1)).sum(-1) - ahead  # how much <slope, z> must grow
    step = _onto_boundary(points, slopes, offsets, norm, rounds=40)
    there = points + step
    assert there.min() >= -1e-12
    assert there.max() <= 1 + 1e-12
    torch.testing.assert_close(
        (slopes * there.flatten(1)).sum(-1) + offsets, torch.zeros(20, dtype=torch.float64), atol=1e-9, rtol=0
    )
    order = torch.inf if norm == "linf" else 2
    for point, slope, offset, one in zip(points.flatten(1), slopes, offsets, step.flatten(1), strict=True):
        length = torch.linalg.vector_norm(one, order)
        assert reached(point, slope, length * 0.999, norm) + offset < 0  # no shorter step reaches the plane
        assert reached(point, slope, length * 1.001, norm) + offset > 0


def test_the_rounds_that_it_takes_are_nearly_enough() -> None:
    torch.manual_seed(0)
    points, slopes = torch.rand(200, 1, 5, 5), torch.randn(200, 25)
    offsets = -(slopes * points.flatten(1)).sum(-1) - 0.5 * (slopes.clamp_min(0).sum(-1) - (slopes * points.flatten(1)).sum(-1))
    for norm in ("linf", "l2"):
        step, exact = (_onto_boundary(points, slopes, offsets, norm, **rounds) for rounds in ({}, {"rounds": 60}))
        assert (step - exact).abs().max() < 1e-3


def test_where_no_image_lies_on_the_plane_the_step_goes_to_the_corner() -> None:
    point, slope = torch.full((1, 1, 1, 2), 0.5), torch.tensor([[1.0, -2.0]])
    step = _onto_boundary(point, slope, torch.tensor([-10.0]), "linf")
    torch.testing.assert_close(point + step, torch.tensor([[[[1.0, 0.0]]]]))


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_of_a_linear_model_it_finds_exactly_what_lies_within_eps(norm, dual) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    x = torch.rand(60, 1, 3, 4, dtype=torch.float64) * 0.2 + 0.4  # far from 0 and 1
    with torch.no_grad():
        logits = model(x)
    y, weight = logits.argmax(-1), model[1].weight
    gaps = logits.gather(1, y[:, None]) - logits
    lengths = torch.linalg.vector_norm(weight[y][:, None] - weight[None], dual, dim=-1)
    distance = torch.where(lengths > 0, gaps / lengths.clamp_min(1e-12), torch.inf).amin(1).detach()
    eps = float(distance.median())
    assert eps < 0.38  # no pixel needs to leave [0, 1]
    x_adv = fab_t(model, x, y, eps=eps, norm=norm, steps=20)
    near, far = distance < 0.999 * eps, distance > 1.001 * eps
    assert near.sum() > 20
    assert far.sum() > 20
    with torch.no_grad():
        fooled = model(x_adv).argmax(-1) != y
    assert fooled[near].all()
    assert torch.equal(x_adv[far], x[far])


def test_its_way_leads_outside_the_ball() -> None:
    """It looks at the boundary where it is, and comes back from there: what attacks inside the ball cannot."""
    seen = []

    class Recorded(nn.Module):
        def forward(self, x):
            seen.append(x.detach())
            z = x.flatten(1).sum(-1)
            return torch.stack([z * 0, z - 3.0], -1)

    x = torch.full((1, 1, 2, 2), 0.5)
    fab_t(Recorded(), x, torch.tensor([0]), eps=0.01, steps=3)
    assert max((image - x).abs().max() for image in seen) > 0.2
