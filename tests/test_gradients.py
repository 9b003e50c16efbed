import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trs_explorer.gradients import ensemble_log_odds, input_gradients, log_odds
from trs_explorer.models import build
from trs_explorer.models.ensemble import WEIGHTED, Ensemble


class Linear(nn.Module):
    """Logits scale * W x: known gradients, and as confident as the scale says."""

    def __init__(self, weights, scale):
        super().__init__()
        self.weights = nn.Parameter(scale * weights, requires_grad=False)

    def forward(self, x):
        return x.flatten(1).to(self.weights) @ self.weights.T


def cosines(a, b):
    """Of gradients of any length: F.cosine_similarity takes tiny ones for orthogonal."""
    return (F.normalize(a.double().flatten(1), dim=-1, eps=0) * F.normalize(b.double().flatten(1), dim=-1, eps=0)).sum(-1)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([0.1, 1.0, 10.0, 300.0]))
def test_the_cross_entropy_is_softplus_of_the_log_odds(seed, classes, scale):
    logits, y = scale * randn(7, classes, seed=seed), torch.arange(7) % classes
    assert torch.allclose(F.softplus(log_odds(logits, y)), F.cross_entropy(logits, y, reduction="none"), rtol=1e-9, atol=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 12))
def test_the_log_odds_are_those_of_the_probabilities(seed, classes):
    logits, y = randn(2, 5, classes, seed=seed), torch.arange(5) % classes
    p = logits.softmax(-1)[:, torch.arange(5), y]
    assert torch.allclose(log_odds(logits, y), ((1 - p) / p).log(), atol=1e-9)


@given(st.integers(0, 10_000), st.floats(-50, 50))
def test_a_constant_added_to_the_logits_changes_nothing_so_log_probabilities_will_do(seed, constant):
    logits, y = randn(6, 10, seed=seed), torch.arange(6)
    assert torch.allclose(log_odds(logits + constant, y), log_odds(logits, y), atol=1e-9)
    assert torch.allclose(log_odds(logits.log_softmax(-1), y), log_odds(logits, y), atol=1e-9)


def test_of_two_classes_they_are_the_difference_of_the_logits():
    logits = torch.tensor([[3.0, -1.5], [0.25, 7.0]])
    assert log_odds(logits, torch.tensor([0, 0])).tolist() == [-4.5, 6.75]
    assert log_odds(logits, torch.tensor([1, 1])).tolist() == [4.5, -6.75]


@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
def test_the_direction_is_the_cross_entropys(scale):
    """In float64, where the cross-entropy's gradient is exact at these scales: cosine 1."""
    members = Ensemble([Linear(randn(10, 16, seed=i), scale) for i in range(3)])
    x, y = randn(20, 1, 4, 4, seed=9), torch.arange(20) % 10
    values, of_odds = input_gradients(members, x, y, of=log_odds)
    losses, of_loss = input_gradients(members, x, y)
    assert torch.allclose(F.softplus(values), losses)
    assert cosines(of_odds.flatten(0, 1), of_loss.flatten(0, 1)).min() > 1 - 1e-9
    assert torch.allclose(of_loss, values.sigmoid()[..., None, None, None] * of_odds)


def test_a_confident_members_direction_survives_float32_where_the_cross_entropys_is_zero():
    weights = randn(10, 16)
    member, exact = Linear(weights.float(), 50.0), Linear(weights, 50.0)
    x = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = member(x).argmax(-1)
    sure = member(x).softmax(-1).amax(-1) == 1
    assert sure.sum() >= 10
    _, of_loss = input_gradients(Ensemble([member]), x, y)
    assert of_loss[0, sure].flatten(1).norm(dim=-1).median() < 1e-6
    _, of_odds = input_gradients(Ensemble([member]), x, y, of=log_odds)
    _, reference = input_gradients(Ensemble([exact]), x.double(), y, of=log_odds)
    assert of_odds[0].flatten(1).norm(dim=-1).min() > 1
    assert cosines(of_odds[0], reference[0]).min() > 1 - 1e-6


@pytest.mark.parametrize("voting", ["mean", "weighted", "sum", "confident"])
def test_the_ensembles_log_odds_are_those_of_its_vote(voting):
    ensemble = Ensemble([Linear(randn(10, 16, seed=i), 1.0) for i in range(3)], voting)
    if voting in WEIGHTED:
        ensemble.vote_weights = torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64)
    x, y = randn(40, 1, 4, 4, seed=9).requires_grad_(), torch.arange(40) % 10
    logits = ensemble.member_logits(x)
    found, expected = ensemble_log_odds(ensemble, logits, y), log_odds(ensemble.vote(logits), y)
    assert torch.allclose(found, expected)
    gradients = [torch.autograd.grad(value.sum(), x, retain_graph=True)[0] for value in (found, expected)]
    assert torch.allclose(*gradients)


def test_an_ensembles_direction_survives_float32_where_confident_members_agree_or_not():
    weights = [randn(10, 16) + 0.3 * randn(10, 16, seed=i) for i in (1, 2, 3)]
    x = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    gradients, answers = [], []
    for dtype in (torch.float32, torch.float64):
        ensemble = Ensemble([Linear(w.to(dtype), 30.0) for w in weights])
        point = x.to(dtype).requires_grad_()
        logits = ensemble.member_logits(point)
        answers.append(logits.argmax(-1))
        (gradient,) = torch.autograd.grad(ensemble_log_odds(ensemble, logits, answers[0][0]).sum(), point)
        gradients.append(gradient)
    agree = (answers[0] == answers[0][0]).all(0)
    assert 1 <= agree.sum() < 30  # both kinds
    assert cosines(*gradients).min() > 1 - 1e-4


def test_the_stacked_form_gives_the_same_log_odds_gradients():
    ensemble = build("patch", "mnist", 3, seed=0)
    stacked = ensemble.stacked()
    x, y = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    expected = input_gradients(ensemble, x, y, of=log_odds)[1]
    found = input_gradients(stacked, stacked.arrange(x), y, of=log_odds)[1]
    assert torch.allclose(found, torch.stack([stacked.arrange(g) for g in expected]), atol=1e-5)
