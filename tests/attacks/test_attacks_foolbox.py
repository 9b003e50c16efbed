"""An outside judge: foolbox's attacks and its verdict, on a trained net, at an equal budget."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attacks.apgd import apgd, apgd_dlr
from trs_explorer.attacks.cw import cw
from trs_explorer.attacks.ead import ead
from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.losses import LOSSES
from trs_explorer.attacks.mim import mim
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.pgd import bim, pgd

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


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (mim, lambda: foolbox.attacks.LinfMomentumIterativeFastGradientMethod(momentum=1.0, rel_stepsize=0.1, steps=50)),
        (bim, lambda: foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=1 / 50, steps=50)),
        (apgd, lambda: foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=50, random_start=True)),
        (apgd_dlr, lambda: foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=50, random_start=True)),
        (mora, lambda: foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=50, random_start=True)),
    ],
    ids=["mim", "bim", "apgd", "apgd-dlr", "mora"],
)
def test_iterated_attacks_leave_no_more_right_than_the_judges(trained, ours, theirs):
    model, x, y, wrapped = trained
    x_adv = ours(model, x, y, eps=EPS, generator=torch.Generator().manual_seed(0))
    judged = judge(wrapped, theirs(), x, y)
    assert 0.1 < judged < 0.9
    assert accuracy(model, x_adv, y) <= judged + 0.01


def smallest(wrapped, attack, x, y):
    """The judge's images and whether they fool. Where it has found none it gives a black image, which may well fool."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, images, success = attack(wrapped, x, y, epsilons=None)
    return images, success & images.flatten(1).any(-1)


def test_cw_fools_as_often_as_the_judges_and_is_no_farther(trained):
    model, x, y, wrapped = trained
    budget = {"steps": 100, "confidence": 0.0}
    judges = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=1, stepsize=1e-2, initial_const=0.06, **budget)
    images, success = smallest(wrapped, judges, x[:100], y[:100])
    x_adv = cw(model, x[:100], y[:100], c=0.06, **budget)
    fools = model(x_adv).argmax(-1) != y[:100]
    assert 0.2 < success.float().mean() < 0.98
    assert fools.sum() >= success.sum() - 1
    both = fools & success & (model(x[:100]).argmax(-1) == y[:100])
    ours, theirs = ((part - x[:100])[both].flatten(1).norm(dim=-1).mean() for part in (x_adv, images))
    assert ours <= 1.05 * theirs


@pytest.mark.parametrize("confidence", [pytest.param(0.0, marks=pytest.mark.slow), 1.5])
def test_the_judges_find_as_many_that_fool_by_the_confidence_and_no_nearer_ones(trained, confidence):
    model, x, y, wrapped = trained
    x, y = x[:60], y[:60]
    budget = {"steps": 100, "confidence": confidence}
    judges = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=3, stepsize=1e-2, initial_const=0.06, **budget)
    images, _ = smallest(wrapped, judges, x, y)
    x_adv = cw(model, x, y, c=0.06, searches=3, **budget)
    sure, sure_there = (LOSSES["margin"](model(found), y) >= max(confidence, 1e-6) for found in (x_adv, images))
    assert sure.sum() >= sure_there.sum() - 1
    both = sure & sure_there & (model(x).argmax(-1) == y)
    assert both.sum() > 20
    ours, theirs = ((part - x)[both].flatten(1).norm(dim=-1).mean() for part in (x_adv, images))
    assert ours <= 1.05 * theirs


def test_cw_that_stops_early_fools_just_as_often(trained):
    model, x, y, _ = trained
    full, quick = (cw(model, x[:100], y[:100], c=0.3, steps=60, early_stop=stop) for stop in (False, True))
    assert accuracy(model, full, y[:100]) == accuracy(model, quick, y[:100])
    assert not torch.equal(full, quick)


@pytest.mark.slow
def test_ead_fools_as_often_as_the_judges_and_is_no_farther(trained):
    model, x, y, wrapped = trained
    judges = foolbox.attacks.EADAttack(
        binary_search_steps=4, steps=100, initial_stepsize=1e-2, initial_const=0.1, regularization=1e-2, decision_rule="L1"
    )
    images, success = smallest(wrapped, judges, x[:60], y[:60])
    x_adv = ead(model, x[:60], y[:60], c=0.1, searches=4, steps=100)
    fools = model(x_adv).argmax(-1) != y[:60]
    assert fools.sum() >= success.sum() - 1
    both = fools & success & (model(x[:60]).argmax(-1) == y[:60])
    assert both.sum() > 20
    ours, theirs = ((part - x[:60])[both].flatten(1).abs().sum(-1).mean() for part in (x_adv, images))
    assert ours <= 1.05 * theirs


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
def test_for_transfer_gives_the_highest_loss_where_nothing_fools_and_the_same_image_where_something_does(trained, loss):
    model, x, y, _ = trained
    plain, for_transfer = (
        pgd(model, x, y, eps=0.05, loss=loss, early_stop=False, for_transfer=on, generator=torch.Generator().manual_seed(0))
        for on in (False, True)
    )
    fooled = model(plain).argmax(-1) != y
    assert 10 < fooled.sum() < len(x) - 10
    assert torch.equal(for_transfer[fooled], plain[fooled])
    climbed = LOSSES[loss](model(for_transfer), y) > LOSSES[loss](model(x), y)
    assert climbed[~fooled].float().mean() > 0.95
    assert torch.equal(plain[~fooled], x[~fooled])
