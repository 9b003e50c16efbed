"""A TRS step in the published way, the baseline of `trs bench step`. Not used for training.

It loops over members. The inner maximisation takes gradients of gradient norms through `backward`, which computes the weights'
gradients too. The gradients at the support points are computed again, and the clean images' forward pass is not reused.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble


def published_trs(
    ensemble: Ensemble, x: Images, y: Labels, *, lambda_a: float, lambda_b: float, delta: float, inner_steps: int
) -> Tensor:
    """The TRS loss of a batch whose second half moves to its support points.

    The objective is that of `defences.trs` (per-example gradients, plain norms, mean cross-entropy, start at x), so that the
    losses can be compared. Only the arithmetic is the published one.
    """
    members, half = list(ensemble.members), len(x) // 2
    ce = sum(F.cross_entropy(member(x).float(), y) for member in members) / len(members)

    support, start = x[half:].clone(), x[half:]
    for _ in range(inner_steps):
        support = support.detach().requires_grad_()
        total = sum(_norm(_gradient(member, support, y[half:])).sum() for member in members)
        ensemble.zero_grad(set_to_none=True)
        total.backward()
        assert support.grad is not None
        moved = support.detach() + 2 * delta / inner_steps * support.grad.sign()
        support = (start + (moved - start).clamp(-delta, delta)).clamp(0, 1)
    ensemble.zero_grad(set_to_none=True)

    points = torch.cat([x[:half], support.detach()]).requires_grad_()
    gradients = [_gradient(member, points, y).flatten(1) for member in members]
    pairs = [(i, j) for i in range(len(members)) for j in range(i)]
    similarity = sum(F.cosine_similarity(gradients[i], gradients[j]).abs().mean() for i, j in pairs) / len(pairs)
    smoothness = sum((_norm(gradients[i]) + _norm(gradients[j])).mean() for i, j in pairs) / len(pairs)
    return ce + lambda_a * similarity + lambda_b * smoothness


def _gradient(member: torch.nn.Module, x: Tensor, y: Labels) -> Tensor:
    loss = F.cross_entropy(member(x).float(), y, reduction="sum")
    return torch.autograd.grad(loss, x, create_graph=True)[0]


def _norm(gradient: Tensor) -> Tensor:
    return (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()
