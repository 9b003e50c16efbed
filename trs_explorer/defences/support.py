"""The inner maximum of Eq. (1): one support point near x that serves all members."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.gradients import Images, Labels, Members, input_gradients, losses_of, norms
from trs_explorer.models.stacked import Stacked


def support_points(
    members: Members, x: Images, y: Labels, *, delta: float, steps: int, order: str
) -> tuple[Images, Float[Tensor, "member batch"]]:
    """Points within l-inf distance delta of x with large input gradients, and the members' losses at x itself.

    steps sign steps of 2 delta / steps from x, projected on the ball and on [0, 1]. What they climb, by order:
    "second": the sum of the members' gradient norms, Eq. (1) as published.
    "first": the sum of their losses, at half the cost; the two directions nearly agree on nets without batch norm.
    "weighted": the losses again, each member's gradient weighed as the norm's own slope does if only two classes matter;
    costs as little as "first" and finds larger norms. Our choice, and the default.
    No random start: the first step's forward pass is then the one that the cross-entropy at x needs, and is not done twice
    (the losses keep their graph).
    """
    climb = {"first": _climb_losses, "weighted": _climb_weighted, "second": _climb_norms}[order]
    losses, direction = climb(members, x, y, keep_graph=True)
    point = x
    with batch_statistics_only(members):
        for step in range(steps):
            if step:
                _, direction = climb(members, point, y, keep_graph=False)
            change = (point + 2 * delta / steps * direction.sign() - x).clamp(-delta, delta)
            point = (x + change).clamp(0, 1)
    return point, losses


def _climb_losses(members: Members, x: Images, y: Labels, *, keep_graph: bool) -> tuple[Tensor, Tensor]:
    point = x.detach().clone().requires_grad_()
    losses = losses_of(members.member_logits(point), y)
    (direction,) = torch.autograd.grad(losses.sum(), point, retain_graph=keep_graph)
    return losses, direction


def _climb_weighted(members: Members, x: Images, y: Labels, *, keep_graph: bool) -> tuple[Tensor, Tensor]:
    """With two classes g = (1 - p) a, a the slope of the logits' difference; the slope of |g| is then p |g| / (1 - p) g."""
    copies = [x.detach().clone().requires_grad_() for _ in range(len(members))]
    losses = losses_of(members.member_logits(copies), y)
    gradients = torch.stack(torch.autograd.grad(losses.sum(), copies, retain_graph=keep_graph))
    right, wrong = (-losses.detach()).exp(), -torch.expm1(-losses.detach())
    weights = right * norms(gradients) / wrong.clamp_min(1e-6)
    return losses, (weights[..., None, None, None] * gradients).sum(0)


def _climb_norms(members: Members, x: Images, y: Labels, *, keep_graph: bool) -> tuple[Tensor, Tensor]:
    if isinstance(members, Stacked):
        return _climb_norms_of_linear_pieces(members, x, y, keep_graph=keep_graph)
    point = x.detach().clone().requires_grad_()
    losses, gradients = input_gradients(members, point, y, create_graph=True)
    (direction,) = torch.autograd.grad(norms(gradients).sum(), point, retain_graph=keep_graph)
    return losses, direction


def _climb_norms_of_linear_pieces(members: Stacked, x: Images, y: Labels, *, keep_graph: bool) -> tuple[Tensor, Tensor]:
    """The same in closed form, for half the price: the slope of |g| is J^T H J g / |g|, H = diag p - p p^T, for g = J^T (p - y).

    J, the logits' slope, does not change with x within a linear piece.
    """
    copies, kept = [x.detach().clone().requires_grad_() for _ in members.members], []
    logits = members.member_logits(copies, kept)
    losses, p = losses_of(logits, y), logits.detach().softmax(-1)
    gradients = torch.stack(torch.autograd.grad(losses.sum(), copies, retain_graph=True))
    change = members.along(gradients / norms(gradients)[..., None, None, None], kept)
    pull = p * (change - (p * change).sum(-1, keepdim=True))
    return losses, torch.stack(torch.autograd.grad(logits, copies, pull, retain_graph=keep_graph)).sum(0)


@contextmanager
def batch_statistics_only(members: Members) -> Iterator[None]:
    """Keep batch norm's running averages out of what happens inside: support points are not data."""
    modules = [module for member in members.members for module in member.modules()]
    layers = [m for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
