"""AdaBoost: members one after another, each on images weighed by what those before have wrong (SAMME)."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trs_explorer.data import Dataset
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, losses_of
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stacked import at_least_float32


def adaboost(
    ensemble: Ensemble, x: Images, y: Labels, *, member: int, weights: Float[Tensor, " batch"], x_ce: Images
) -> dict[str, Tensor]:
    """The weighted cross-entropy of the member in training: weights are 1 on average over the whole data set.

    Source: Hastie, Rosset, Zhu and Zou, "Multi-class AdaBoost", 2009, algorithm 2. Our choice: the members vote with their
    softmax instead of their class, so that the vote has a slope.
    """
    del x
    with ensemble.arithmetic(x_ce.device):
        logits = ensemble.members[member](x_ce)
    ce = (weights * losses_of(at_least_float32(logits)[None], y)[0]).mean()
    return with_total({"ce": ce})


def boost(ensemble: Ensemble, images: Dataset, *, done: int, training: bool) -> Float[Tensor, " n"]:
    """Weigh the votes of the members that are done, and return the weights of the images for the next; their mean is 1.

    While the next is in training, it votes with the mean weight of those before, or 1: its error is not known yet. Where all
    that are done are no better than chance, the one with the fewest errors votes. Errors are on the images as they are, in
    adversarial training too. The ensemble should be in eval mode.
    """
    missed = [wrong(ensemble, images, member) for member in range(done)]
    votes, weights = samme(missed, images.classes)
    if training:
        votes.append(sum(votes) / done if any(votes) else 1.0)
    elif not any(votes):
        votes[min(range(done), key=lambda member: int(missed[member].sum()))] = 1.0
    ensemble.vote_weights.copy_(torch.tensor(votes + [0.0] * (len(ensemble) - len(votes))))
    return weights.float() if done else torch.ones(len(images), device=images.y.device)


def samme(missed: Sequence[Bool[Tensor, " n"]], classes: int) -> tuple[list[float], Tensor]:
    """The members' vote weights ln((1 - err) / err) + ln(K - 1), and the examples' weights after them, of mean 1.

    missed: which examples each member has wrong, in order of training. err is the weighted share of them, cut from below at
    1 / (2 n): a net may have none wrong. A member no better than chance, err >= 1 - 1/K, has weight 0 and changes none.
    Source: Hastie et al. 2009, algorithm 2.
    """
    weights, votes = torch.tensor(1.0, dtype=torch.float64), []
    for wrong_ones in missed:
        weights = weights.expand(len(wrong_ones)).to(wrong_ones.device)
        error = float(weights[wrong_ones].sum() / len(wrong_ones))
        if error >= 1 - 1 / classes:
            votes.append(0.0)
            continue
        error = max(error, 1 / (2 * len(wrong_ones)))
        votes.append(math.log((1 - error) / error) + math.log(classes - 1))
        weights = weights * torch.where(wrong_ones, votes[-1], 0.0).exp()
        weights = weights / weights.mean()
    return votes, weights


@torch.no_grad()
def wrong(ensemble: Ensemble, images: Dataset, member: int, *, batch_size: int = 1000) -> Bool[Tensor, " n"]:
    """Which images of a whole data set a member has wrong."""
    net = ensemble.members[member]
    batches = torch.arange(len(images), device=images.y.device).split(batch_size)
    return torch.cat([net(images.images(chosen)).argmax(-1) != images.y[chosen] for chosen in batches])
