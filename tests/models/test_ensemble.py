"""The ensemble's log-probabilities against the definition in float64."""

import math

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


def test_the_most_confident_member_answers_image_by_image_and_alone_has_a_gradient():
    """By hand: c is p_max / (1 + e^-g), where g is the sum of the two logits over the root of 2."""
    rows = [[2.0, 0.0], [0.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [1.0, 1.1], [1.2, 1.0]]  # at last, the larger g of smaller c
    logits = torch.tensor(rows, dtype=torch.float64)
    sure = [[p / (1 + math.exp(-sum(row) / 2**0.5)) for p, row in zip((1 / (1 + math.exp(-abs(row[0] - row[1]))) for row in one),
             one, strict=True)] for one in logits.tolist()]  # fmt: skip
    assert [int(one < other) for one, other in zip(*sure, strict=True)] == [1, 1, 0]
    logits.requires_grad_()
    ensemble = Ensemble([nn.Flatten(), nn.Flatten()], "confident")
    answers = ensemble.vote(logits)
    assert torch.equal(answers, torch.stack([logits[1, 0], logits[1, 1], logits[0, 2]]).log_softmax(-1))
    (gradient,) = torch.autograd.grad(answers[:, 0].sum(), logits)
    assert (gradient.abs().sum(-1) > 0).tolist() == [[False, False, True], [True, True, False]]
    assert "vote_weights" not in ensemble.state_dict()


def test_a_shift_of_a_members_logits_changes_who_answers_but_not_what():
    ensemble, logits = Ensemble([nn.Flatten()] * 2, "confident"), torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])
    for shift, answer in ((5.0, 0), (-5.0, 1)):
        moved = logits + torch.tensor([shift, 0.0])[:, None, None]
        torch.testing.assert_close(ensemble.vote(moved), logits[answer].log_softmax(-1))
