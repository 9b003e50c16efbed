"""The inner maximum of Eq. (1): one support point near x that serves all members."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.gradients import Images, Labels, MemberGradients, MemberLosses, Members, losses_of, norms
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
    losses, direction = _climb(members, x, y, order)
    point = x
    with batch_statistics_only(members):
        for step in range(steps):
            if step:
                _, direction = _climb(members, point, y, order, keep_graph=False)
            change = (point + 2 * delta / steps * direction.sign() - x).clamp(-delta, delta)
            point = (x + change).clamp(0, 1)
    return point, losses


def _climb(members: Members, x: Images, y: Labels, order: str, *, keep_graph: bool = True) -> tuple[Tensor, Tensor]:
    """The members' losses at x, and the direction that climbs."""
    if isinstance(members, Stacked):
        return _climb_by_hand(members, x, y, order, keep_graph=keep_graph)
    copies = [x.detach().clone().requires_grad_() for _ in range(len(members))]
    losses = losses_of(members.member_logits(copies), y)
    second = order == "second"
    gradients = torch.stack(torch.autograd.grad(losses.sum(), copies, create_graph=second, retain_graph=keep_graph or second))
    if second:
        climbs = torch.autograd.grad(norms(gradients).sum(), copies, retain_graph=keep_graph)
        return losses, torch.stack(climbs).sum(0)
    return losses, _weigh(gradients, losses, order)


def _climb_by_hand(members: Stacked, x: Images, y: Labels, order: str, *, keep_graph: bool) -> tuple[Tensor, Tensor]:
    """The same for nets of linear pieces, whose slope J does not change nearby: g = J^T (p - y).

    The slope of |g| is then J^T H J g / |g|, H = diag p - p p^T, which costs two passes less than to differentiate g.
    """
    with torch.set_grad_enabled(keep_graph):
        piece = members.linearize(x)
        losses = losses_of(piece.logits, y)
    p = piece.logits.detach().softmax(-1)
    gradients = piece.backward(p - F.one_hot(y, p.shape[-1]))
    if order == "second":
        change = piece.forward(gradients / norms(gradients)[..., None, None, None])
        return losses, piece.backward(p * (change - (p * change).sum(-1, keepdim=True))).sum(0)
    return losses, _weigh(gradients, losses, order)


def _weigh(gradients: MemberGradients, losses: MemberLosses, order: str) -> Tensor:
    """The sum of the members' gradients, for "weighted" each by what it counts.

    With two classes g = (1 - p) a, a the slope of the logits' difference; the slope of |g| is then p |g| / (1 - p) g.
    """
    if order == "first":
        return gradients.sum(0)
    right, wrong = (-losses.detach()).exp(), -torch.expm1(-losses.detach())
    weights = right * norms(gradients) / wrong.clamp_min(1e-6)
    return (weights[..., None, None, None] * gradients).sum(0)


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
