"""The inner maximum of Eq. (1): support points near x that serve all members, and a batch's losses and gradients there."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.gradients import (
    Images,
    Labels,
    MemberGradients,
    MemberLosses,
    Members,
    gradient_norms,
    input_gradients,
    member_losses,
)
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.linear_piece import LinearPiece
from trs_explorer.models.stacked import Stacked


def losses_and_gradients(
    ensemble: Ensemble, x: Images, y: Labels, *, x_ce: Images, radius: float, moved: int, steps: int, order: str
) -> tuple[MemberLosses, Float[Tensor, "member batch ..."]]:
    """Return the members' losses at x_ce, and their input gradients at the images of which the last ones are moved.

    Both have a graph to the weights. All that makes the step fast is in here: members run as one network where they can, and
    the forward pass at the clean images that the search for support points needs is also the one for their losses. With batch
    norm, running averages include the clean images of the moved part, but no support points. The gradients' pixels are in the
    order of `Stacked.arrange`, which norms and angles do not depend on.

    x, y: the images and their labels.
    x_ce: the images for the losses: x itself, or adversarial images.
    radius, steps, order: of the search, as delta, steps and order of `support_points`.
    moved: the number of images, at the end of x, that are replaced by their support points; 0: none.
    """
    members, kept = ensemble.stacked(), len(x) - moved
    points, clean_losses = (clean := members.arrange(x)), None
    if moved:
        support, clean_losses = support_points(members, clean[kept:], y[kept:], delta=radius, steps=steps, order=order)
        points = torch.cat([clean[:kept], support])
    with batch_statistics_only(members) if moved else nullcontext():
        losses, gradients = input_gradients(members, points, y, create_graph=True)
    if x_ce is not x:
        losses = member_losses(members.member_logits(members.arrange(x_ce)), y)
    elif clean_losses is not None:
        losses = torch.cat([losses[:, :kept], clean_losses], 1)
    return losses, gradients


def support_points(
    members: Members, x: Images, y: Labels, *, delta: float, steps: int, order: str
) -> tuple[Images, Float[Tensor, "member batch"]]:
    """Search the l-inf ball of radius delta around x for points with large input gradients; also return the losses at x.

    Sign steps of size 2 delta / steps, starting at x, projected on the ball and on [0, 1]. There is no random start: the forward
    pass of the first step then also gives the losses at x (with their graph), which cross-entropy needs.

    delta: the radius, in [0, 1] pixels.
    steps: the number of steps.
    order: the function to ascend:
        "second": the sum of the members' gradient norms, Eq. (1) as published.
        "first": the sum of their losses, at half the cost; the two directions nearly agree on nets without batch norm.
        "weighted": the losses again, with each member's gradient weighted as in the norm's gradient if only two classes matter;
            costs as little as "first" and finds larger norms. Our choice, and the default.
    """
    losses, direction = _ascent_direction(members, x, y, order)
    size, radius = (torch.full((), value, dtype=x.dtype, device=x.device) for value in (2 * delta / steps, delta))
    point = _moved(x, direction, x, size, radius)
    following = _compiled(x.device.type) if members.compiled else _next_point
    with batch_statistics_only(members):
        for _ in range(steps - 1):
            point = following(members, point, x, y, size, radius, order)
    return point, losses


@functools.cache
def _compiled(device: str) -> Callable[..., Images]:
    """Return `_next_point` as one graph: on a GPU a CUDA graph, whose result the next call overwrites, so that it is copied."""
    if device != "cuda":
        return torch.compile(_next_point, fullgraph=True, dynamic=False)
    graph = torch.compile(_next_point, fullgraph=True, dynamic=False, mode="reduce-overhead")
    return lambda *args: graph(*args).clone()


def _next_point(members: Members, point: Images, x: Images, y: Labels, size: Tensor, radius: Tensor, order: str) -> Images:
    """Take a step of the search from a point."""
    _, direction = _ascent_direction(members, point, y, order, keep_graph=False)
    return _moved(point, direction, x, size, radius)


def _moved(point: Images, direction: Tensor, x: Images, size: Tensor, radius: Tensor) -> Images:
    """Move a point by `size` in each pixel, along the direction's sign; within `radius` of x, and in [0, 1]."""
    change = (point + size * direction.sign() - x).clamp(-radius, radius)
    return (x + change).clamp(0, 1)


def _ascent_direction(members: Members, x: Images, y: Labels, order: str, *, keep_graph: bool = True) -> tuple[Tensor, Tensor]:
    """Return the members' losses at x, and the gradient of what the search ascends."""
    if isinstance(members, Stacked):
        return _ascent_direction_stacked(members, x, y, order, keep_graph=keep_graph)
    copies = [x.detach().clone().requires_grad_() for _ in range(len(members))]
    losses = member_losses(members.member_logits(copies), y)
    second = order == "second"
    gradients = torch.stack(torch.autograd.grad(losses.sum(), copies, create_graph=second, retain_graph=keep_graph or second))
    if second:
        of_norms = torch.autograd.grad(gradient_norms(gradients).sum(), copies, retain_graph=keep_graph)
        return losses, torch.stack(of_norms).sum(0)
    return losses, _weighted_sum(gradients, losses, order)


def _ascent_direction_stacked(members: Stacked, x: Images, y: Labels, order: str, *, keep_graph: bool) -> tuple[Tensor, Tensor]:
    """Do the same for piecewise linear nets, whose Jacobian J is locally constant: g = J^T (p - y).

    The gradient of |g| is then J^T H J g / |g| with H = diag p - p p^T.
    """
    piece = LinearPiece(members, x)
    losses, gradients = piece.losses_and_gradients(y) if keep_graph else piece.values(y, {})[:2]
    gradients = gradients.detach()
    if order != "second":
        return losses, _weighted_sum(gradients, losses, order)
    p = piece.logits.softmax(-1)
    change = piece.jvp(gradients / gradient_norms(gradients)[..., None, None, None])
    return losses, piece.vjp(p * (change - (p * change).sum(-1, keepdim=True))).sum(0)


def _weighted_sum(gradients: MemberGradients, losses: MemberLosses, order: str) -> Tensor:
    """Sum the members' gradients; for "weighted", with a weight for each.

    With two classes g = (1 - p) a, where a is the gradient of the logits' difference; the gradient of |g| is p |g| / (1 - p) g.
    """
    if order == "first":
        return gradients.sum(0)
    right, wrong = (-losses.detach()).exp(), -torch.expm1(-losses.detach())
    weights = right * gradient_norms(gradients) / wrong.clamp_min(1e-6)
    return (weights[..., None, None, None] * gradients).sum(0)


@contextmanager
def batch_statistics_only(members: Members) -> Iterator[None]:
    """Do not update batch norm's running averages inside the block: support points are not data."""
    modules = [module for member in members.members for module in member.modules()]
    layers = [m for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
