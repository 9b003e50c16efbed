"""AdaBoost (SAMME): members are trained one after another, with more weight on images that earlier members misclassify."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trs_explorer.data import Dataset
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, member_losses
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stacked import at_least_float32


def adaboost(
    ensemble: Ensemble, x: Images, y: Labels, *, member: int, weights: Float[Tensor, " batch"], x_ce: Images
) -> dict[str, Tensor]:
    """Return the weighted cross-entropy of the member in training.

    member: its number.
    weights: of the images; 1 on average over the whole data set.
    x_ce: the images for cross-entropy, clean or adversarial.
    Source: Hastie, Rosset, Zhu and Zou, "Multi-class AdaBoost", 2009, algorithm 2. Our choice: the members vote with their
    softmax instead of their class, so that the vote is differentiable.
    """
    del x
    with ensemble.arithmetic(x_ce.device):
        logits = ensemble.members[member](x_ce)
    ce = (weights * member_losses(at_least_float32(logits)[None], y)[0]).mean()
    return with_total({"ce": ce})


def boost(ensemble: Ensemble, images: Dataset, *, done: int, training: bool) -> Float[Tensor, " n"]:
    """Set the vote weights of the finished members, and return the image weights, of mean 1, for the next one.

    Errors are on clean images, in adversarial training too. If all finished members are no better than chance, the one with the
    fewest errors votes. The ensemble should be in eval mode.

    ensemble, images: the members, and the training images.
    done: the number of finished members.
    training: whether the next member is in training: it then votes with the mean weight of the earlier ones, or 1, because its
        error is not known yet.
    """
    missed = [misclassified(ensemble, images, member) for member in range(done)]
    votes, weights = samme(missed, images.classes)
    if training:
        votes.append(sum(votes) / done if any(votes) else 1.0)
    elif not any(votes):
        votes[min(range(done), key=lambda member: int(missed[member].sum()))] = 1.0
    ensemble.vote_weights.copy_(torch.tensor(votes + [0.0] * (len(ensemble) - len(votes))))
    return weights.float() if done else torch.ones(len(images), device=images.y.device)


def samme(missed: Sequence[Bool[Tensor, " n"]], classes: int) -> tuple[list[float], Tensor]:
    """Return the members' vote weights ln((1 - err) / err) + ln(K - 1), and the examples' weights after them, of mean 1.

    err is the weighted share of misclassified examples, at least 1 / (2 n), because a net may have no error. A member no better
    than chance, err >= 1 - 1/K, gets weight 0 and does not change the examples' weights.

    missed: which examples each member misclassifies, in order of training.
    classes: the number of classes, K.
    Source: Hastie et al. 2009, algorithm 2.
    """
    weights, votes = torch.tensor(1.0, dtype=torch.float64), []
    for errors in missed:
        weights = weights.expand(len(errors)).to(errors.device)
        error = float(weights[errors].sum() / len(errors))
        if error >= 1 - 1 / classes:
            votes.append(0.0)
            continue
        error = max(error, 1 / (2 * len(errors)))
        votes.append(math.log((1 - error) / error) + math.log(classes - 1))
        weights = weights * torch.where(errors, votes[-1], 0.0).exp()
        weights = weights / weights.mean()
    return votes, weights


@torch.no_grad()
def misclassified(ensemble: Ensemble, images: Dataset, member: int, *, batch_size: int = 1000) -> Bool[Tensor, " n"]:
    """Return which images of a whole data set a member misclassifies."""
    net = ensemble.members[member]
    batches = torch.arange(len(images), device=images.y.device).split(batch_size)
    return torch.cat([net(images.images(chosen)).argmax(-1) != images.y[chosen] for chosen in batches])
