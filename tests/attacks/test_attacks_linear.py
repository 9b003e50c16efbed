"""A linear model's worst image is known in closed form: what the attacks must find, and where they must fail."""

import pytest
import torch
from torch import nn

from trs_explorer.attacks.apgd import apgd
from trs_explorer.attacks.cw import cw
from trs_explorer.attacks.ead import ead
from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.mim import mim
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.pgd import bim, pgd

EPS = 0.2


class Linear(nn.Module):
    """Two classes; the margin of class 0 over class 1 is w.x + b. Logits are shifted, as real ones are."""

    def __init__(self, w, b, shift=3.0):
        super().__init__()
        self.w, self.b, self.shift = nn.Parameter(w), b, shift

    def margin(self, x):
        return x.flatten(1) @ self.w + self.b

    def forward(self, x):
        margin = self.margin(x)
        return torch.stack([margin / 2, -margin / 2], -1) + self.shift


@pytest.fixture
def problem():
    """Margins from far to near, on both sides of what eps can reach in either norm; unclipped: pixels in [.4, .6]."""
    g = torch.Generator().manual_seed(0)
    w = torch.randn(12, generator=g)
    x = torch.rand(200, 1, 3, 4, generator=g) * 0.2 + 0.4
    margin = torch.linspace(0.01, 1.5, 200) * EPS * w.norm(1)
    return w, x, margin


class EachItsOwn(Linear):
    """Per image of the batch, an offset of its own; for attacks that keep the batch together."""

    def margin(self, x):
        return x.flatten(1) @ self.w + self.b[: len(x)]


def run(attack, problem, reach, **options):
    """Check every example against the closed form margin - reach; at least an eighth on either side."""
    w, x, margin = problem
    model, y = EachItsOwn(w, margin - x.flatten(1) @ w), torch.zeros(len(x), dtype=torch.long)
    x_adv = attack(model, x, y, eps=EPS, generator=torch.Generator().manual_seed(1), **options)
    worst, found = margin - reach, model.margin(x_adv).detach()
    falls, holds = worst < -1e-4, worst > 1e-4
    assert 25 <= falls.sum() <= 175
    torch.testing.assert_close(found[falls], worst[falls], atol=2e-4 * reach, rtol=0)
    assert torch.equal(x_adv[holds], x[holds])


def test_fgsm_reaches_the_l1_norm_of_the_weights(problem):
    run(fgsm, problem, EPS * problem[0].norm(1).item())


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_reaches_the_l1_norm_of_the_weights(problem, random_start):
    run(pgd, problem, EPS * problem[0].norm(1).item(), steps=30, random_start=random_start, early_stop=False)


@pytest.mark.parametrize("random_start", [False, True])
def test_l2_pgd_reaches_the_l2_norm_of_the_weights(problem, random_start):
    w, x, margin = problem
    problem = w, x, margin * (w.norm(2) / w.norm(1))
    run(pgd, problem, EPS * w.norm(2).item(), steps=100, norm="l2", random_start=random_start, early_stop=False)


@pytest.mark.parametrize("attack", [bim, mim, apgd, mora])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_others_reach_the_same(problem, attack, norm):
    w, x, margin = problem
    dual = w.norm(1 if norm == "linf" else 2).item()
    problem = w, x, margin * (dual / w.norm(1))
    run(attack, problem, EPS * dual, steps=30, norm=norm, early_stop=False)


def test_l2_fgsm_is_one_step_of_the_l2_norm(problem):
    w, x, margin = problem
    problem = w, x, margin * (w.norm(2) / w.norm(1))
    run(fgsm, problem, EPS * w.norm(2).item(), norm="l2")


def near_the_boundary(seed, weight=None):
    """A linear model, and images on both sides of its boundary that reach it within [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(12, generator=g)
    if weight:
        w[3] = weight
    x = torch.rand(40, 1, 3, 4, generator=g) * 0.2 + 0.4
    model = Linear(w, -0.5 * w.sum().item())
    return model, x, (model.margin(x) < 0).long()


@pytest.mark.slow
def test_cw_comes_near_the_nearest_point_of_the_boundary():
    """Which is |margin| / |w|_2 away."""
    model, x, y = near_the_boundary(5)
    x_adv = cw(model, x, y, c=0.1, steps=200, searches=6, confidence=0.0)
    assert (model(x_adv).argmax(-1) != y).all()
    nearest = model.margin(x).abs() / model.w.norm(2)
    assert 0.01 < nearest.median() < 0.2
    assert ((x_adv - x).flatten(1).norm(dim=-1) <= 1.25 * nearest + 2e-3).all()


@pytest.mark.slow
def test_ead_comes_near_the_smallest_l1_change():
    """All of it in the pixel of the largest weight, as far as that may go: |margin| / max |w|."""
    model, x, y = near_the_boundary(6, weight=6.0)
    x_adv = ead(model, x, y, c=1.0, steps=200, searches=6)
    assert (model(x_adv).argmax(-1) != y).all()
    nearest = model.margin(x).abs() / 6.0
    assert 0.01 < nearest.median() < 0.2
    change = (x_adv - x).flatten(1).abs()
    assert (change.sum(-1) <= 1.25 * nearest + 2e-3).all()
    assert ((change > 1e-6).sum(-1) <= 3).all()


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_at_the_edge_of_the_pixel_range_the_worst_image_is_the_clipped_one(attack):
    g = torch.Generator().manual_seed(2)
    w = torch.randn(16, generator=g)
    x = torch.rand(64, 1, 4, 4, generator=g).mul(1.4).sub(0.2).clamp(0, 1)
    model = Linear(w, 0.3)
    y = (model.margin(x) < 0).long()
    outwards = torch.where(y == 0, -1.0, 1.0).view(-1, 1, 1, 1) * w.sign().view(1, 1, 4, 4)
    worst = (x + 0.1 * outwards).clamp(0, 1)
    falls = (model.margin(worst) < 0).long() != y
    assert 10 < falls.sum() < 60
    options = {} if attack is fgsm else {"early_stop": False, "generator": g}
    x_adv = attack(model, x, y, eps=0.1, **options)
    torch.testing.assert_close(x_adv, torch.where(falls.view(-1, 1, 1, 1), worst, x))


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_with_two_classes_the_other_class_as_target_is_the_untargeted_attack(attack):
    g = torch.Generator().manual_seed(3)
    model = Linear(torch.randn(16, generator=g), 0.0)
    x = torch.rand(40, 1, 4, 4, generator=g)
    y = (model.margin(x) < 0).long()
    plain = attack(model, x, y, eps=0.1, generator=torch.Generator().manual_seed(4))
    targeted = attack(model, x, 1 - y, eps=0.1, targeted=True, generator=torch.Generator().manual_seed(4))
    assert not torch.equal(plain, x)
    assert torch.equal(plain, targeted)


def test_l2_keeps_the_direction_of_tiny_gradients():
    """A confident model's gradients are near 1e-30, whose squares are 0 in float32."""
    w = torch.tensor([1.0, 0.0, 0.0, 0.0]) * 1e-30
    model = Linear(w, -6e-32, shift=0.0)  # the first pixel must fall below 0.06
    x = torch.full((1, 1, 2, 2), 0.5)
    x_adv = pgd(model, x, torch.tensor([0]), eps=0.45, norm="l2", random_start=False, early_stop=False)
    assert x_adv[0, 0, 0, 0].item() == pytest.approx(0.05, abs=1e-5)
