"""APGD against its published description, written down once more: one image at a time, in float64, for l-inf."""

import functools
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attacks.apgd import apgd, checkpoints
from trs_explorer.attacks.noise import draw_seeds, random_shift

NUMBER = 24  # of images
# A small radius, where most images hold; then one where many steps are needed; then that one over more checkpoints.
SETTINGS = [(0.1, 25), (0.3, 25), (0.3, 40)]


@functools.cache
def problem():
    """A smooth net bent enough that the order of steps matters, in float64; images, the net's answers, a few of them changed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 4)
        model = nn.Sequential(nn.Flatten(), *layers).double()
        x = torch.rand(NUMBER, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        for p in model.parameters():
            p *= 5
        y = model(x).argmax(-1)
    y[::8] = (y[::8] + 1) % 4
    return model, x, y


def looks(steps):
    """W of the authors' code: k += max(window - 3 %, 6 %), each part of the steps rounded down, 1 at least."""
    window, found = max(1, int(0.22 * steps)), [0]
    while found[-1] + window <= steps:
        found.append(found[-1] + window)
        window = max(window - max(1, int(0.03 * steps)), max(1, int(0.06 * steps)))
    return found


def published(model, x, y, start, eps, steps):
    """Loss and point of all that Algorithm 1 visits, the start first, for one image.

    Its momentum is x_k - x_(k-1), and a restart puts x_max in the place of x_k alone.
    Where the authors' code and the paper differ: a checkpoint looks at x_(w_j), the last point in its own sum, as the code does
    (Algorithm 1 as printed takes one more step, then restarts), and the first checkpoint knows condition 1 only, as in the code;
    condition 1 is "<" and counts from x_max after a restart, as in the paper.
    """

    def at(point):
        point = point.clone().requires_grad_()
        loss = F.cross_entropy(model(point), y)
        return loss.item(), torch.autograd.grad(loss, point)[0].sign()

    def project(point):
        return torch.maximum(torch.minimum(point, x + eps), x - eps).clamp(0, 1)

    size, point, before = 2 * eps, start, start
    loss, slope = at(point)
    top = loss, slope, point
    visited = [(loss, point)]
    last, rises, reduced, top_then, checks = 0, 0, True, loss, looks(steps)[1:]
    for k in range(1, steps + 1):
        there = project(point + size * slope)
        step = there if k == 1 else project(point + 0.75 * (there - point) + 0.25 * (point - before))
        before, point, loss_before = point, step, loss
        loss, slope = at(point)
        visited.append((loss, point))
        rises += loss > loss_before
        if loss > top[0]:
            top = loss, slope, point
        if k in checks:
            few_rises = rises < 0.75 * (k - last)
            nothing_new = not reduced and top[0] == top_then
            reduced = few_rises or nothing_new
            if reduced:
                size /= 2
                loss, slope, point = top
            last, rises, top_then = k, 0, top[0]
    return visited


class Scripted(nn.Module):
    """At its k-th gradient, the loss of class 0 is values[k] and the gradient has the signs slopes[k], wherever x is."""

    def __init__(self, values, slopes):
        super().__init__()
        self.values, self.slopes, self.points = values, slopes, []

    def forward(self, x):
        other = torch.zeros(len(x), dtype=x.dtype)
        if x.requires_grad:
            k = len(self.points)
            self.points.append(x.detach().clone())
            along = (self.slopes[k] * x).flatten(1).sum(-1)
            other = self.values[k].expm1().log() + along - along.detach()
        return torch.stack([torch.zeros_like(other), other], -1)


def losses(model, x, y):
    with torch.no_grad():
        return F.cross_entropy(model(x), y, reduction="none")


def both(eps, steps):
    """The highest loss at which each image is fooled, x included (the loss at x where it never is): ours, then the reference's.

    And for each the number fooled.
    """
    model, x, y = problem()
    ours = apgd(model, x, y, eps=eps, steps=steps, early_stop=False, generator=torch.Generator().manual_seed(1))
    seeds = [row[0] for row in draw_seeds(NUMBER, 1, torch.Generator().manual_seed(1))]
    start = (x + random_shift(x, seeds, eps=eps, norm="linf")).clamp(0, 1)
    theirs = x.clone()
    for i in range(NUMBER):
        image, label = x[i : i + 1], y[i : i + 1]
        visited = published(model, image, label, start[i : i + 1], eps, steps)
        visited.append((losses(model, image, label).item(), image))
        fooling = [pair for pair in visited if model(pair[1]).argmax() != label]
        if fooling:
            theirs[i] = max(fooling, key=lambda pair: pair[0])[1][0]
    counts = [int((model(images).argmax(-1) != y).sum()) for images in (ours, theirs)]
    return losses(model, ours, y), losses(model, theirs, y), counts


@pytest.mark.parametrize(("eps", "steps"), SETTINGS)
def test_apgd_is_the_published_algorithm(eps, steps):
    ours, theirs, (fooled, fooled_there) = both(eps, steps)
    same = (ours - theirs).abs() <= 1e-5 * theirs.abs()
    assert fooled == fooled_there
    assert fooled > 4
    assert same.double().mean() >= 0.95
    assert (ours >= 0.99 * theirs).all()


def test_on_any_course_of_losses_it_visits_the_same_points():
    """Losses that mostly rise and fall deep meet every combination of the two conditions, which a net's hardly do."""
    steps, eps, g = 30, 0.3, torch.Generator().manual_seed(2)
    moves = torch.rand(steps + 1, NUMBER, generator=g, dtype=torch.float64)
    falls = torch.rand(moves.shape, generator=g) < 0.2
    values = 4 + 0.1 * torch.where(falls, -4 * moves, moves).cumsum(0)
    slopes = torch.randn(steps + 1, NUMBER, 1, 2, 2, generator=g, dtype=torch.float64)
    x, y = torch.rand(NUMBER, 1, 2, 2, generator=g, dtype=torch.float64), torch.zeros(NUMBER, dtype=torch.long)
    model = Scripted(values, slopes)
    apgd(model, x, y, eps=eps, steps=steps, early_stop=False, generator=g)
    for i in range(0, NUMBER, 2):
        one = slice(i, i + 1)
        visited = published(Scripted(values[:, one], slopes[:, one]), x[one], y[one], model.points[0][one], eps, steps)
        torch.testing.assert_close(
            torch.stack(model.points)[:, one], torch.stack([point for _, point in visited]), atol=1e-6, rtol=0
        )


def test_the_published_checkpoints():
    assert [0, *checkpoints(100)] == [0, 22, 41, 57, 70, 80, 87, 93, 99] == looks(100)
    for steps in range(5, 200):
        expected = looks(steps)
        assert checkpoints(steps) == {b: b - a for a, b in pairwise(expected) if b > a}
