"""Gradient boosting: members are trained one after another, each on the residual of the sum of the earlier ones."""

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
    """Return the squared distance of the member's logits from the residual, summed over classes, mean over images.

    The residual is onehot(y) - softmax(F), where F is the sum of the earlier members' logits (0 for the first member): the
    direction in which cross-entropy decreases fastest.
    Source: Friedman, "Greedy function approximation: a gradient boosting machine", 2001, algorithm 6, with nets for trees, a
    least-squares fit and step length 1.
    """
    del x
    with ensemble.arithmetic(x_ce.device):
        logits = at_least_float32(ensemble.members[member](x_ce))
        with torch.no_grad():
            earlier = [at_least_float32(net(x_ce)) for net in ensemble.members[:member]]
    total = torch.stack([torch.zeros_like(logits), *earlier]).sum(0)
    residual = F.one_hot(y, logits.shape[-1]) - total.softmax(-1)
    fit = (logits - residual).square().sum(-1).mean()
    return with_total({"residual": fit})


def boost(ensemble: Ensemble, images: Dataset, *, done: int, training: bool) -> Float[Tensor, " n"]:
    """Let the finished members vote, and the next one if it is in training; all images have weight 1."""
    ensemble.vote_weights.copy_((torch.arange(len(ensemble)) < done + training).float())
    return torch.ones(len(images), device=images.y.device)
