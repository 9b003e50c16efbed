"""What several tests compute the slow way."""

import torch
import torch.nn.functional as F

from trs_explorer.models.ensemble import Ensemble


def plain_gradients(ensemble, x, y) -> list[torch.Tensor]:
    """Input gradients of the loss, one example and one member at a time."""
    found = []
    for one in ensemble.members:
        rows = []
        for image, label in zip(x, y, strict=True):
            leaf = image[None].clone().requires_grad_()
            rows.append(torch.autograd.grad(F.cross_entropy(one(leaf), label[None]), leaf)[0].flatten())
        found.append(torch.stack(rows))
    return found


def turned(ensemble: Ensemble) -> Ensemble:
    """The same members in another order."""
    return Ensemble([ensemble.members[i] for i in (2, 0, 3, 1)][: len(ensemble)])
