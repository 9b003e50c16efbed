"""An outside judge: foolbox's attacks and its verdict, on a trained net, at an equal budget."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.pgd import pgd

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Please import `gaussian_filter`", category=DeprecationWarning)
    foolbox = pytest.importorskip("foolbox")

EPS = 0.06


@pytest.fixture(scope="module")
def trained():
    """A small net on five noisy patterns; 400 fresh images and the net in foolbox's wrapper."""
    g = torch.Generator().manual_seed(0)
    patterns = 0.3 + 0.4 * torch.rand(5, 1, 6, 6, generator=g)
    y = torch.randint(5, (1400,), generator=g)
    x = (patterns[y] + 0.15 * torch.randn(1400, 1, 6, 6, generator=g)).clamp(0, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 64), nn.ReLU(), nn.Linear(64, 5))
        optimiser = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(60):
            optimiser.zero_grad()
            F.cross_entropy(model(x[:1000]), y[:1000]).backward()
            optimiser.step()
    model.eval()
    return model, x[1000:], y[1000:], foolbox.PyTorchModel(model, bounds=(0, 1))


def accuracy(model, x, y):
    return (model(x).argmax(-1) == y).float().mean().item()


def judge(wrapped, attack, x, y):
    """Robust accuracy by foolbox, from its global random state."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, _, success = attack(wrapped, x, y, epsilons=EPS)
    return 1 - success.float().mean().item()


def test_fgsm_leaves_as_many_right_as_the_judges(trained):
    model, x, y, wrapped = trained
    ours = accuracy(model, fgsm(model, x, y, eps=EPS), y)
    assert 0.2 < ours < 0.9
    assert ours == pytest.approx(judge(wrapped, foolbox.attacks.FGSM(), x, y), abs=1e-6)


def test_pgd_leaves_no_more_right_than_the_judges(trained):
    model, x, y, wrapped = trained
    ours = accuracy(model, pgd(model, x, y, eps=EPS, steps=50, generator=torch.Generator().manual_seed(0)), y)
    theirs = judge(wrapped, foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=50, random_start=True), x, y)
    assert 0.1 < theirs < 0.9
    assert ours <= theirs + 0.01


def test_l2_pgd_leaves_no_more_right_than_the_judges(trained):
    model, x, y, wrapped = trained
    eps = 0.25
    x_adv = pgd(model, x, y, eps=eps, steps=50, norm="l2", generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, _, success = foolbox.attacks.L2PGD(rel_stepsize=0.1, steps=50, random_start=True)(wrapped, x, y, epsilons=eps)
    theirs = 1 - success.float().mean().item()
    assert 0.1 < theirs < 0.95
    assert accuracy(model, x_adv, y) <= theirs + 0.01


@pytest.mark.parametrize("early_stop", [True, False])
def test_the_judge_agrees_on_every_image_that_we_changed(trained, early_stop):
    model, x, y, wrapped = trained
    x_adv = pgd(model, x, y, eps=EPS, early_stop=early_stop, generator=torch.Generator().manual_seed(0))
    changed = (x_adv != x).flatten(1).any(-1)
    adversarial = foolbox.criteria.Misclassification(y)(x_adv, wrapped(x_adv))
    assert changed.sum() > 50
    assert adversarial[changed].all()
    assert (foolbox.distances.linf(x, x_adv) <= EPS + 1e-6).all()


def test_going_on_to_the_end_raises_the_loss_but_not_the_count(trained):
    model, x, y, _ = trained
    quick = pgd(model, x, y, eps=EPS, generator=torch.Generator().manual_seed(0))
    full = pgd(model, x, y, eps=EPS, early_stop=False, generator=torch.Generator().manual_seed(0))
    assert accuracy(model, quick, y) == accuracy(model, full, y)
    assert F.cross_entropy(model(full), y) > 1.2 * F.cross_entropy(model(quick), y)
