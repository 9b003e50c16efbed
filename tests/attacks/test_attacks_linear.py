"""A linear model's worst image is known in closed form: what the attacks must find, and where they must fail."""

import pytest
import torch
from torch import nn

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd

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


def models_at(w, x, margin):
    """Per example, a model whose margin at x is the wanted one."""
    return [Linear(w, (m - x_i.flatten() @ w).item()) for x_i, m in zip(x, margin, strict=True)]


def run(attack, problem, reach, **options):
    """Check every example alone against the closed form margin - reach; at least a quarter on either side."""
    w, x, margin = problem
    y = torch.zeros(1, dtype=torch.long)
    fell = 0
    for model, x_i, m in zip(models_at(w, x, margin)[::5], x[::5], margin[::5], strict=True):
        x_adv = attack(model, x_i[None], y, eps=EPS, generator=torch.Generator().manual_seed(1), **options)
        worst = (m - reach).item()
        if worst < -1e-4:
            fell += 1
            assert model.margin(x_adv).item() == pytest.approx(worst, abs=2e-4 * reach)
        elif worst > 1e-4:
            assert torch.equal(x_adv[0], x_i)
    assert 5 <= fell <= 35


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
