"""The shipped TRS run, judged from outside: foolbox's PGD at the same budget, and its verdict on what ours returns."""

import warnings

import pytest
import torch

from trs_explorer import data
from trs_explorer.attacks.pgd import pgd
from trs_explorer.models.stored import load_ensemble
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Please import `gaussian_filter`", category=DeprecationWarning)
    foolbox = pytest.importorskip("foolbox")

pytestmark = pytest.mark.slow
NUMBER = 300


@pytest.fixture(scope="module")
def shipped():
    """The run, the first test images of MNIST, and the run in foolbox's wrapper."""
    model, _ = load_ensemble(open_run(folder("checkpoints") / "mnist-trs"))
    model.requires_grad_(False)  # or foolbox computes the weights' gradients too
    test = data.load("mnist", train=False)
    return model, test.images(slice(0, NUMBER)), test.y[:NUMBER], foolbox.PyTorchModel(model, bounds=(0, 1))


def right(model, wrapped, images, y):
    """How many are right by a plain forward pass, and by foolbox's criterion on its wrapper."""
    with torch.no_grad():
        plain = int((model(images).argmax(-1) == y).sum())
        judged = len(y) - int(foolbox.criteria.Misclassification(y)(images, wrapped(images)).sum())
    return plain, judged


@pytest.mark.parametrize("eps", [0.1, 0.15])
def test_our_pgd_leaves_no_more_right_than_foolboxs_on_the_shipped_run(shipped, eps):
    model, x, y, wrapped = shipped
    ours = pgd(model, x, y, eps=eps, steps=50, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attack = foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=50, random_start=True)
        _, theirs, success = attack(wrapped, x, y, epsilons=eps)
    mine, foolboxs = right(model, wrapped, ours, y), right(model, wrapped, theirs, y)
    assert mine[0] == mine[1]
    assert foolboxs[0] == foolboxs[1] == NUMBER - int(success.sum())
    assert 0.8 * NUMBER < foolboxs[0] < 0.99 * NUMBER
    assert mine[0] <= foolboxs[0] + 0.01 * NUMBER
    assert (foolbox.distances.linf(x, ours) <= eps + 1e-6).all()
    assert ours.min() >= 0
    assert ours.max() <= 1
