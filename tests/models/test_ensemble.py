"""The ensemble's log-probabilities against the definition in float64, and building one from a seed."""

import math

import pytest
import torch
from torch import nn

from trs_explorer.models import Ensemble, build
from trs_explorer.options import UsageError


class Scaled(nn.Module):
    """A linear member whose logits are multiplied, to saturate it."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.scale = scale

    def forward(self, x):
        return self.scale * self.linear(x.flatten(1))


@pytest.fixture
def x():
    return torch.rand(5, 1, 2, 3, generator=torch.Generator().manual_seed(1))


def make(*scales: float) -> Ensemble:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return Ensemble([Scaled(scale) for scale in scales])


def test_log_probabilities_are_the_log_of_the_mean_softmax(x):
    ensemble = make(1, 5, 0.1)
    probabilities = sum(member(x).double().softmax(-1) for member in ensemble.members) / 3
    torch.testing.assert_close(ensemble(x).double(), probabilities.log(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ensemble(x).exp().sum(-1), torch.ones(5))


def test_order_and_number_of_equal_members_do_not_matter(x):
    ensemble = make(1, 5, 0.1)
    turned = Ensemble(list(ensemble.members)[::-1])
    torch.testing.assert_close(turned(x), ensemble(x))
    one = ensemble.members[0]
    torch.testing.assert_close(Ensemble([one, one])(x), Ensemble([one])(x))


@pytest.mark.parametrize("scales", [(1000.0, 1.0), (1000.0, 1000.0)])
def test_saturated_members_leave_values_and_gradients_finite(x, scales):
    ensemble = make(*scales)
    x.requires_grad_()
    worst = ensemble(x).min(-1).values
    assert worst.isfinite().all()
    (gradient,) = torch.autograd.grad(worst.sum(), x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().sum(-1) > 0).all(), "the least likely class still has a slope"


def test_member_logits(x):
    ensemble = make(1, 2, 3)
    logits = ensemble.member_logits(x)
    assert logits.shape == (3, 5, 4)
    assert len(ensemble) == 3
    assert torch.equal(logits[1], ensemble.members[1](x))
    assert ensemble.bfloat16().member_logits(x.bfloat16()).dtype == torch.float32


def test_an_ensemble_has_members():
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([])


@pytest.mark.parametrize(("model", "data"), [("patch", "mnist"), ("resnet20", "mnist"), ("mlp", "bars")])
def test_the_seed_decides_every_weight_and_nothing_else(model, data):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build(model, data, 2, seed=0)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    torch.rand(3)
    again, other = build(model, data, 2, seed=0).state_dict(), build(model, data, 2, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.state_dict().items())
    weights = [name for name, p in first.named_parameters() if p.ndim > 1]
    assert not any(torch.equal(first.state_dict()[name], other[name]) for name in weights)
    a, b = (member.state_dict() for member in first.members)
    assert not any(torch.equal(a[name], b[name]) for name, p in first.members[0].named_parameters() if p.ndim > 1)


def test_an_untrained_ensemble_knows_nothing():
    log_p = build("patch", "mnist", 3, seed=0)(torch.rand(8, 1, 28, 28))
    assert log_p.shape == (8, 10)
    assert (log_p + math.log(10)).abs().max() < 0.5


def test_wrong_names_and_pairs_say_the_way_out():
    with pytest.raises(UsageError, match="Did you mean lenet"):
        build("lenets", "mnist", 2, seed=0)
    with pytest.raises(UsageError, match="try --model mlp"):
        build("patch", "bars", 2, seed=0)
