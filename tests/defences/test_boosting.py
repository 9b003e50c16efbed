"""AdaBoost and gradient boosting: weights by hand, votes by formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.data import Dataset
from trs_explorer.defences import adaboost, gradient_boost
from trs_explorer.models.ensemble import Ensemble


class Answers(nn.Module):
    """Gives the image whose first pixel is k / 10 the class that stands at k, with a margin."""

    def __init__(self, classes: list[int], margin: float = 2.0):
        super().__init__()
        self.table = nn.Parameter(margin * F.one_hot(torch.tensor(classes), 3).float())

    def forward(self, x):
        return self.table[(x[:, 0, 0, 0] * 10).round().long()]


X = (torch.arange(10) / 10).view(10, 1, 1, 1)
Y = torch.zeros(10, dtype=torch.long)
DATA = Dataset("ten", X, Y, 3)


def missed(*numbers: int) -> list[int]:
    return [1 if k in numbers else 0 for k in range(10)]


def test_samme_by_hand():
    """Ten images, three classes; the first member misses 0 and 1, the second 2, 3 and 4, the third 0.

    1: err .2, vote ln 4 + ln 2 = ln 8; the missed weigh 8 and the others 1, in all 24.
    2: err 3/24, vote ln 7 + ln 2 = ln 14; weights 8, 8, 14, 14, 14, 1 x 5, in all 63.
    3: err 8/63, vote ln(55/8) + ln 2.
    """
    masks = [torch.tensor(missed(*numbers)).bool() for numbers in ((0, 1), (2, 3, 4), (0,))]
    votes, weights = adaboost.samme(masks[:2], 3)
    assert votes == pytest.approx([math.log(8), math.log(14)])
    assert (weights * 63 / 10).tolist() == pytest.approx([8, 8, 14, 14, 14, 1, 1, 1, 1, 1])
    assert adaboost.samme(masks, 3)[0][2] == pytest.approx(math.log(55 / 8) + math.log(2))


def test_a_member_without_errors_and_one_no_better_than_chance():
    none, most = torch.zeros(10).bool(), torch.tensor(missed(0, 1, 2, 3, 4, 5, 6)).bool()
    votes, weights = adaboost.samme([none, most], 3)
    assert votes == pytest.approx([math.log(19) + math.log(2), 0.0])
    assert weights.tolist() == pytest.approx([1.0] * 10)


def test_boost_weighs_images_and_votes():
    ensemble = Ensemble([Answers(missed(0, 1)), Answers(missed(2, 3, 4)), Answers(missed())], "weighted")
    assert ensemble.vote_weights.tolist() == [1, 0, 0]
    assert adaboost.boost(ensemble, DATA, done=0, training=True).tolist() == [1.0] * 10
    assert ensemble.vote_weights.tolist() == [1, 0, 0]
    weights = adaboost.boost(ensemble, DATA, done=1, training=True)
    assert (weights * 2.4).tolist() == pytest.approx([8, 8] + [1] * 8)
    assert ensemble.vote_weights.tolist() == pytest.approx([math.log(8), math.log(8), 0])
    adaboost.boost(ensemble, DATA, done=1, training=False)
    assert ensemble.vote_weights.tolist() == pytest.approx([math.log(8), 0, 0])
    adaboost.boost(ensemble, DATA, done=2, training=True)
    assert ensemble.vote_weights.tolist() == pytest.approx([math.log(8), math.log(14), math.log(8 * 14) / 2])
    adaboost.boost(ensemble, DATA, done=3, training=False)
    assert ensemble.vote_weights.tolist() == pytest.approx([math.log(8), math.log(14), math.log(19) + math.log(2)])


def test_where_all_are_no_better_than_chance_the_least_bad_votes():
    ensemble = Ensemble([Answers([1] * 10), Answers(missed(*range(8))), Answers([2] * 10)], "weighted")
    adaboost.boost(ensemble, DATA, done=3, training=False)
    assert ensemble.vote_weights.tolist() == [0, 1, 0]
    assert ensemble(X).isfinite().all()


def test_the_weighted_vote_is_the_weighted_mean_of_probabilities_and_has_a_slope():
    ensemble = Ensemble([Answers(missed(0, 1)), Answers(missed(0)), Answers(missed(0))], "weighted")
    ensemble.vote_weights.copy_(torch.tensor([1.0, 3.0, 0.0]))
    p = [one(X).softmax(-1) for one in ensemble.members]
    torch.testing.assert_close(ensemble(X), (p[0] / 4 + 3 * p[1] / 4).log())
    gradients = torch.autograd.grad(ensemble(X)[1, 0], list(ensemble.parameters()))
    assert gradients[0].abs().sum() > 0
    assert gradients[1].abs().sum() > gradients[0].abs().sum()
    assert gradients[2].abs().sum() == 0
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_sum_is_that_of_the_logits_of_those_who_vote():
    ensemble = Ensemble([Answers(missed(0, 1)), Answers(missed(0)), Answers(missed(3))], "sum")
    gradient_boost.boost(ensemble, DATA, done=1, training=True)
    logits = ensemble.member_logits(X)
    torch.testing.assert_close(ensemble(X), (logits[0] + logits[1]).log_softmax(-1))
    gradient_boost.boost(ensemble, DATA, done=3, training=False)
    torch.testing.assert_close(ensemble(X), logits.sum(0).log_softmax(-1))


def test_adaboost_is_the_weighted_cross_entropy_of_one_member():
    ensemble, weights = Ensemble([Answers(missed(0, 1)), Answers(missed(4))], "weighted"), torch.rand(10)
    terms = adaboost.adaboost(ensemble, X, Y, member=1, weights=weights, x_ce=X)
    expected = sum(w * F.cross_entropy(ensemble.members[1](x[None]), torch.tensor([0])) for w, x in zip(weights, X, strict=True))
    assert terms["total"].item() == pytest.approx(expected.item() / 10, rel=1e-5)


def test_gradient_boost_fits_the_slope_of_the_cross_entropy_of_the_sum_before():
    ensemble = Ensemble([Answers(missed(0, 1), 0.5), Answers(missed(4), 0.3), Answers(missed(), 0.2)], "sum")
    for member in range(3):
        sum_before = torch.zeros(10, 3) + sum(one(X).detach() for one in ensemble.members[:member])
        sum_before.requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(sum_before, Y, reduction="sum"), sum_before)
        expected = (ensemble.members[member](X) + slope).square().sum(-1).mean()
        found = gradient_boost.gradient_boost(ensemble, X, Y, member=member, x_ce=X)["total"]
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        own = torch.autograd.grad(found, list(ensemble.parameters()), allow_unused=True)
        assert [gradient is not None for gradient in own] == [i == member for i in range(3)]


def test_an_ensemble_votes_in_a_known_way():
    with pytest.raises(ValueError, match="voting must be one of mean, weighted, sum, confident, got 'loud'"):
        Ensemble([Answers(missed())], "loud")
