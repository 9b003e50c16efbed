"""The ensemble's log-probabilities against the definition in float64."""

import pytest
import torch
from torch import nn

from trs_explorer.models import Ensemble


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
