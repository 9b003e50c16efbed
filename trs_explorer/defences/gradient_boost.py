"""Gradient boosting: members one after another, each fits what the sum of those before leaves."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from trs_explorer.data import Dataset
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stacked import at_least_float32


def gradient_boost(ensemble: Ensemble, x: Images, y: Labels, *, member: int, x_ce: Images) -> dict[str, Tensor]:
    """Squared distance of the member's logits from the residual, summed over classes, mean over images.

    The residual is onehot(y) - softmax(F), where F is the sum of the logits of the members before: the direction in which
    cross-entropy falls fastest (0 before the first: then it is onehot(y) - 1/K).
    Source: Friedman, "Greedy function approximation: a gradient boosting machine", 2001, algorithm 6, with nets for trees, a
    least-squares fit and step length 1.
    """
    del x
    with ensemble.arithmetic(x_ce.device):
        logits = at_least_float32(ensemble.members[member](x_ce))
        with torch.no_grad():
            before = [at_least_float32(one(x_ce)) for one in ensemble.members[:member]]
    total = torch.stack([torch.zeros_like(logits), *before]).sum(0)
    residual = F.one_hot(y, logits.shape[-1]) - total.softmax(-1)
    fit = (logits - residual).square().sum(-1).mean()
    return with_total({"residual": fit})


def boost(ensemble: Ensemble, images: Dataset, *, done: int, training: bool) -> Float[Tensor, " n"]:
    """Let the members that are done vote, and the next while it is in training; all images weigh the same."""
    ensemble.vote_weights.copy_((torch.arange(len(ensemble)) < done + training).float())
    return torch.ones(len(images), device=images.y.device)
