"""The smallest radius that fools a linear model is known in closed form: the margin over the dual norm of the weights."""

import json
import math
from functools import partial

import pytest
import torch
from torch import nn

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.noise import ImageSeeds, draw_seeds
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.smallest_eps import (
    SmallestEps,
    bisect_radii,
    join_smallest,
    measure_smallest_eps,
    radii,
    smallest_eps,
)

HIGH, TOLERANCE = 0.2, 0.01


class Linear(nn.Module):
    """Two classes; the margin of class 0 over class 1 is w.x + b."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = nn.Parameter(w), b

    def forward(self, x):
        margin = x.flatten(1) @ self.w + self.b
        return torch.stack([margin / 2, -margin / 2], -1)


@pytest.fixture
def linear():
    """Images at distances from 0 (some beyond the boundary) to more than HIGH; no pixel is clipped on the way."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(12, generator=g)
    x = torch.rand(100, 1, 3, 4, generator=g) * 0.2 + 0.4
    order = (x.flatten(1) @ w).argsort()
    x = x[order[torch.randperm(100, generator=g)]]
    model = Linear(w, float(-(x.flatten(1) @ w).quantile(0.1)))
    return model, x, torch.zeros(100, dtype=torch.long)


def truth(model, x, norm):
    margin = (x.flatten(1) @ model.w + model.b).detach().double()
    return (margin / model.w.detach().double().norm(1 if norm == "linf" else 2)).clamp_min(0)


@pytest.mark.parametrize(("norm", "scale"), [("linf", 1.0), ("l2", 2.0)])
@pytest.mark.parametrize("attack", [fgsm, partial(pgd, steps=30)], ids=["fgsm", "pgd"])
def test_a_linear_models_distances_are_found_to_the_tolerance(linear, attack, norm, scale):
    model, x, y = linear
    high, tolerance = HIGH * scale, TOLERANCE * scale
    expected = truth(model, x, norm)
    x, y, expected = x[expected < 1.1 * high], y[expected < 1.1 * high], expected[expected < 1.1 * high]
    assert (expected == 0).any()
    result = smallest_eps(model, x, y, attacks=[partial(attack, norm=norm)], high=high, tolerance=tolerance, norm=norm)
    assert len(result.eps) == len(x)
    for eps, distance in zip(result.eps, expected.tolist(), strict=True):
        assert distance - 1e-5 <= eps <= distance + tolerance + 1e-5 or (math.isinf(eps) and distance > high - 1e-5)
        assert (eps == 0) == (distance == 0)


def test_images_beyond_the_largest_radius_are_not_found_and_cost_one_attack(linear):
    model, x, y = linear
    far = truth(model, x, "linf") > 0.05
    result = smallest_eps(model, x[far], y[far], attacks=[fgsm], high=0.05, tolerance=0.01)
    assert not any(result.fooled)
    assert result.attempts == far.sum()
    assert result.median is None


def test_bisection_costs_a_logarithm_and_never_asks_twice(linear):
    asked = []

    def attack(rows, eps):
        asked.extend((row, eps) for row in rows)
        return [eps if eps >= distance else math.inf for distance in (hidden[row] for row in rows)]

    hidden = [0.001, 0.05, 0.0512, 0.64, 0.7, 0.3]
    ladder = radii(0.64, 0.01)
    assert bisect_radii(attack, ladder, [True] * 6) == pytest.approx([0.01, 0.05, 0.06, 0.64, math.inf, 0.3])
    assert len(set(asked)) == len(asked)
    assert max(sum(row == image for row, _ in asked) for image in range(6)) <= 7  # 64 steps
    asked.clear()
    assert bisect_radii(attack, ladder, [True, False]) == pytest.approx([0.01, 0.0])
    assert {row for row, _ in asked} == {0}


def test_a_nearer_adversarial_image_than_the_radius_ends_the_search_there():
    asked = []

    def attack(rows, eps):
        asked.append(eps)
        return [0.011 if eps >= 0.011 else math.inf for _ in rows]

    assert bisect_radii(attack, radii(0.64, 0.01), [True]) == [0.011]
    assert asked == [0.64, 0.01]


def test_failures_below_a_nearer_adversarial_image_end_the_search():
    """An attack that finds a near image only in a large ball, as against masked gradients: the bound is what it found."""
    assert bisect_radii(lambda rows, eps: [0.02 if eps > 0.5 else math.inf for _ in rows], radii(0.64, 0.01), [True]) == [0.02]


def test_it_does_not_depend_on_batches_interruptions_and_shares(problem):
    ensemble, x, y = problem
    attacks = [partial(pgd, steps=2, step_size=0.01)]
    about = {"attacks": attacks, "high": 0.1, "tolerance": 0.01}
    whole = smallest_eps(ensemble, x, y, **about, batch_size=90)
    assert 0 in whole.eps
    assert len(set(whole.eps)) > 10
    assert smallest_eps(ensemble, x, y, **about, batch_size=7) == whole
    assert smallest_eps(ensemble, x, y, **about, seed=1) != whole  # the noise counts here
    begun, *_ = list(measure_smallest_eps(ensemble, x, y, **about, batch_size=20))[1:]
    assert len(begun.eps) == 20
    first, *_, last = measure_smallest_eps(ensemble, x, y, **about, batch_size=20, done=begun)
    assert (first, last) == (begun, whole)
    shares = [list(measure_smallest_eps(ensemble, x[s], y[s], **about, first=s.start))[-1] for s in (slice(0, 41), slice(41, 90))]
    assert join_smallest(shares) == whole


def test_images_already_fooled_by_the_first_attack_are_not_attacked_by_the_second(linear):
    model, x, y = linear
    seen = []

    def second(model, x, y, *, eps, generator):
        seen.append(len(x))
        return fgsm(model, x, y, eps=eps)

    one = smallest_eps(model, x, y, attacks=[fgsm], high=HIGH, tolerance=TOLERANCE)
    both = smallest_eps(model, x, y, attacks=[fgsm, second], high=HIGH, tolerance=TOLERANCE)
    assert both.eps == one.eps
    assert both.attempts == one.attempts + sum(seen)
    assert sum(seen) < one.attempts


def test_known_failures_are_not_attacked_again_and_change_nothing(problem):
    ensemble, x, y = problem
    attacks, high, tolerance = [partial(pgd, steps=2, step_size=0.01)], 0.1, 0.01
    whole = smallest_eps(ensemble, x, y, attacks=attacks, high=high, tolerance=tolerance)
    failed = {
        eps: {place for place, ok in enumerate(rate.outcomes) if ok}
        for eps in (high, 5 * tolerance)
        for rate in evaluate(ensemble, x, y, attacks=[("pgd", attacks[0], {"eps": eps})])[1:]
    }
    about = {"attacks": attacks, "high": high, "tolerance": tolerance, "batch_size": 40}
    *_, faster = measure_smallest_eps(ensemble, x, y, **about, failed=failed)
    assert faster.eps == whole.eps
    assert faster.attempts <= whole.attempts - len(failed[high]) < whole.attempts


def test_the_curve_is_the_distributions_complement_with_wilson_intervals():
    result = SmallestEps([0.0, 0.05, 0.1, 0.101, math.inf], 0.2, 0.05)
    curve = result.curve()
    assert [point["eps"] for point in curve] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert [point["correct"] for point in curve] == [4, 3, 2, 1, 1]
    assert all((point["low"], point["high"]) == wilson(point["correct"], 5) for point in curve)
    assert (result.median, result.fooled) == (0.1, [True] * 4 + [False])
    stored = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert stored["smallest_eps"] == [0.0, 0.05, 0.1, 0.101, None]
    assert SmallestEps([], 0.2, 0.05).curve()[0] == {"eps": 0.0, "correct": 0, "n": 0, "low": 0.0, "high": 1.0}


def test_the_curve_is_the_robust_accuracy_at_every_radius(linear):
    """fgsm finds everything on a linear model, so an evaluation at a radius has the same count."""
    model, x, y = linear
    result = smallest_eps(model, x, y, attacks=[fgsm], high=HIGH, tolerance=TOLERANCE)
    points = result.curve()
    rates = evaluate(model, x, y, attacks=[("fgsm", fgsm, {"eps": point["eps"]}) for point in points])[1:]
    assert [point["correct"] for point in points] == [rate.correct for rate in rates]
    assert points[0]["correct"] > points[-1]["correct"]


def test_an_attack_that_leaves_its_ball_is_refused(linear):
    model, x, y = linear
    with pytest.raises(ValueError, match=r"left the linf ball of radius 0.2: an image is 0.3"):
        smallest_eps(model, x, y, attacks=[lambda model, x, y, eps, generator: x - 1.5 * eps], high=HIGH, tolerance=TOLERANCE)


@pytest.mark.parametrize(("high", "tolerance"), [(0.0, 0.1), (0.1, 0.0), (math.inf, 0.1), (0.1, math.nan), (0.3, 1e-9)])
def test_radii_out_of_range_are_refused(high, tolerance):
    with pytest.raises(ValueError, match="must be"):
        radii(high, tolerance)


def test_radii_end_at_the_largest():
    assert radii(0.3, 0.1) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert radii(0.25, 0.1) == pytest.approx([0, 0.1, 0.2, 0.25])
    assert radii(0.1, 0.5) == [0, 0.1]


def test_given_seeds_are_those_of_the_images():
    generator = torch.Generator().manual_seed(3)
    drawn = draw_seeds(5, 2, generator)
    some = draw_seeds(2, 2, ImageSeeds([drawn[1][0], drawn[4][0]]))
    assert some == [drawn[1], drawn[4]]
    with pytest.raises(ValueError, match="seeds for 1 images, the attack draws for 2"):
        draw_seeds(2, 1, ImageSeeds([7]))
