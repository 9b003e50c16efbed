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


def released_trs(
    ensemble: Ensemble, x: Images, y: Labels, *, lambda_a: float, lambda_b: float, delta: float, inner_steps: int
) -> Tensor:
    """The loss of a batch as the authors' released trainer computes it, with all that its step does besides, in their order.

    It differs from `published_trs` in what a step does: similarity at the clean images of the whole batch, and smoothness with a
    pass of its own; a search from a random start whose gradient buffer is never cleared, so that it steps along the sum of all
    gradients so far; the ensemble's outputs for the running accuracy. And in the objective: gradients of mean losses, squared
    norms, summed cross-entropies. So its loss cannot be compared with ours, its time can.
    Source: TRS_Trainer and PGD of the authors' repository, read and written anew.
    """
    members, half = list(ensemble.members), len(x) // 2
    images = x.clone().requires_grad_()
    losses, gradients = zip(*(_loss_and_gradient(member, images, y) for member in members), strict=True)
    pairs = [(i, j) for i in range(len(members)) for j in range(i)]
    cosines = [F.cosine_similarity(gradients[i], gradients[j]).abs().mean() for i, j in pairs]

    start = x[half:]
    support = (start + delta * (2 * torch.rand_like(start) - 1)).clamp(0, 1).requires_grad_()
    for _ in range(inner_steps):
        searched = [_loss_and_gradient(member, support, y[half:])[1] for member in members]
        torch.stack([_squared_norm(gradient) for gradient in searched]).mean().backward()
        with torch.no_grad():
            assert support.grad is not None
            moved = support + 2 * delta / inner_steps * support.grad.sign()
            support.copy_((start + (moved - start).clamp(-delta, delta)).clamp(0, 1))

    points = torch.cat([x[:half], support.detach()]).requires_grad_()
    norms = [_squared_norm(_loss_and_gradient(member, points, y)[1]) for member in members]
    total: Tensor = sum(losses) + lambda_a * sum(cosines) / len(pairs) + lambda_b * sum(norms) / len(members)
    torch.stack([member(images).softmax(-1) for member in members]).mean(0).argmax(-1).eq(y).float().mean().item()
    ensemble.zero_grad(set_to_none=True)
    return total


def _loss_and_gradient(member: torch.nn.Module, x: Tensor, y: Labels) -> tuple[Tensor, Tensor]:
    loss = F.cross_entropy(member(x).float(), y)
    return loss, torch.autograd.grad(loss, x, create_graph=True)[0].flatten(1)


def _squared_norm(gradient: Tensor) -> Tensor:
    return gradient.square().sum(1).mean()
