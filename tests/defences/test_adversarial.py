"""Adversarial images in training: in the ball, and as strong as PGD's by an outside count."""

import torch
import torch.nn.functional as F

from trs_explorer.defences.adversarial import adversarial_images
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_they_stay_in_the_ball_and_raise_the_ensembles_loss():
    ensemble = build("patch", "mnist", 2, seed=0)
    x, y = torch.rand(16, 1, 28, 28, generator=generator()), torch.arange(16) % 10
    made = adversarial_images(ensemble, x, y, eps=0.1, steps=5, generator=generator())
    assert (made - x).abs().max() <= 0.1 + 1e-6
    assert made.min() >= 0
    assert made.max() <= 1
    before, after = (F.nll_loss(ensemble(images), y, reduction="none") for images in (x, made))
    assert (after > before).all()
    assert ensemble.training


def test_on_a_linear_model_they_reach_the_corner_of_the_ball():
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        linear[1].weight.copy_(torch.tensor([[1.0, -1, 1, -1], [-1, 1, -1, 1]]))
    x = torch.full((3, 1, 2, 2), 0.5)
    made = adversarial_images(Ensemble([linear]), x, torch.zeros(3, dtype=torch.long), eps=0.2, steps=4, generator=generator())
    corner = x + 0.2 * torch.tensor([-1.0, 1, -1, 1]).view(1, 1, 2, 2)
    torch.testing.assert_close(made, corner.expand_as(made))


def test_running_averages_do_not_take_them_in():
    norm = torch.nn.BatchNorm2d(1)
    ensemble = Ensemble([torch.nn.Sequential(norm, torch.nn.Flatten(), torch.nn.Linear(4, 2))]).train()
    before = norm.running_mean.clone()
    adversarial_images(ensemble, torch.rand(6, 1, 2, 2), torch.zeros(6).long(), eps=0.1, steps=2, generator=generator())
    assert torch.equal(norm.running_mean, before)
    assert norm.track_running_stats
