"""Square: random search by squares of changed pixels, without any gradient."""

import math
from functools import cache
from typing import Unpack

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trs_explorer.attacks.ball import Ball, per_image
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.checks import check_images, check_labels, check_number
from trs_explorer.attacks.noise import draw_seeds, uniform
from trs_explorer.attacks.objective import loss_and_success
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.remaining import places, places_if_fewer
from trs_explorer.attacks.sequence import MARGIN
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.to_device import to_device

# Of 10,000 queries: there the squares' area is halved. With fewer queries in all, linf halves it earlier in proportion, as the
# source does; L2 does not, as AutoAttack (mnist-trs, 1,000 queries, right of 60 at eps .25: 49 instead of 51; at 2.5 in L2: 39
# instead of 44).
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
CHECK_EVERY = 20  # queries; images that are fooled leave the batch then
TILE = 5  # side of the bumps at the start (l2)
Numbers = Float[Tensor, "batch number"]  # uniform in [0, 1)


def square(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    queries: int = 5000,
    share: float = 0.8,
    **options: Unpack[CommonOptions],
) -> Images:
    """The image of largest margin among all that fool the model and were tried; x where none does.

    Starts from vertical stripes of +-eps (linf) or a grid of bumps (l2). Every query changes a random square, by a random +-eps
    for each channel (linf) or by moving the change of another square there (l2); a change stays if it raises the margin.

    - queries: images that the model is shown, the start included.
    - share: of the pixels that a square covers at first; halved nine times on the way.

    Source: Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial attack via random
    search", ECCV 2020, Algorithms 1 to 3; 5,000 queries and a share of .8 as in AutoAttack. Ours: each image has its own squares.
    """
    settings = AttackOptions(eps=eps, steps=queries, **options)
    norm, targeted = settings.norm, settings.targeted
    check_number("share", share, positive=True)
    check_images(x, y)
    if eps == 0 or not len(x):
        return x.detach().clone()
    y, channels, width = y.long(), x.shape[1], x.shape[3]
    at_start, per_query = channels * max(width, x.shape[2]), 5 + channels
    numbers = uniform(draw_seeds(len(x), 1, settings.generator), (at_start + queries * per_query,))
    numbers = to_device(numbers, x.device)
    first, numbers = numbers[:, :at_start], numbers[:, at_start:].view(len(x), queries, per_query)
    rows, ball = torch.arange(len(x), device=x.device), Ball(x, eps, norm)
    change = _change_in_l2 if norm == "l2" else _change_in_linf
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        best = Best(x, *loss_and_success(model, x, y, targeted=targeted, objective=MARGIN), for_transfer=settings.for_transfer)
        if settings.drops_fooled:
            rows = places(best.not_yet_fooled(rows))
            ball, numbers, first = ball[rows], numbers[rows], first[rows]
        point, highest = _start(ball, first), torch.full((len(rows),), -torch.inf, device=x.device)
        candidate, labels = point, y[rows]
        for query in range(queries):
            if not len(rows):
                break
            if query:
                side = _side(share, query / (queries if norm == "linf" else 10_000), x.shape[2:])
                candidate = ball.project(change(point, ball, numbers[:, query], side))
            images = ball.as_images(candidate)
            value, fooled = loss_and_success(model, images, labels, targeted=targeted, objective=MARGIN)
            best.update(rows, images, value, fooled)
            better = value > highest
            point, highest = candidate.where(per_image(better, point), point), value.where(better, highest)
            if not settings.drops_fooled or query % CHECK_EVERY:
                continue
            if (stay := places_if_fewer(best.not_yet_fooled(rows))) is not None:
                rows, labels, ball, numbers = rows[stay], labels[stay], ball[stay], numbers[stay]
                point, highest = point[stay], highest[stay]
    return best.result()


def _side(share: float, progress: float, size: tuple[int, ...]) -> int:
    """The side of the squares, in pixels, after that part of 10,000 queries."""
    halvings = sum(10_000 * progress > query for query in HALVED_AFTER)
    return min(max(1, round(math.sqrt(share / 2**halvings * math.prod(size)))), *size)


def _window(
    number: Numbers, side: int, size: tuple[int, ...]
) -> tuple[Bool[Tensor, "batch 1 height width"], Int[Tensor, "batch 2"]]:
    """Squares of that side at random places: which pixels they cover, and their first row and column. number: [batch, 2]."""
    corner = torch.stack([number[:, axis] * (extent - side + 1) for axis, extent in enumerate(size)], 1).long()
    row, column = (torch.arange(extent, device=number.device) for extent in size)
    first = corner[:, :, None].unbind(1)  # a list as an index would be copied to the device, and waited for
    inside = [(pixel >= start) & (pixel < start + side) for pixel, start in zip((row, column), first, strict=True)]
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None], corner


def _sign(number: Tensor) -> Tensor:
    return torch.where(number < 0.5, -1.0, 1.0)


def _start(ball: Ball, number: Numbers) -> Images:
    """Vertical stripes of +-eps (linf), or bumps whose signs are random (l2)."""
    batch, channels, height, width = ball.x.shape
    if ball.norm == "linf":
        stripes = _sign(number[:, : channels * width]).view(batch, channels, 1, width)
        return ball.project(ball.x + ball.eps * stripes)
    tiles = torch.zeros_like(ball.x)
    side = min(TILE, height, width)
    bump, place = _bump(side, ball.x.device).to(ball.x.dtype), 0
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            signs = _sign(torch.stack([number[:, (place + channel) % number.shape[1]] for channel in range(channels)], 1))
            tiles[:, :, top : top + side, left : left + side] = signs[:, :, None, None] * bump
            place += channels
    return ball.project(ball.x + per_image(ball.eps / _norm(tiles).clamp_min(1e-12), tiles) * tiles)


def _change_in_linf(point: Images, ball: Ball, number: Numbers, side: int) -> Images:
    """A random square of +-eps, one sign for each channel."""
    covered, _ = _window(number[:, :2], side, point.shape[2:])
    return torch.where(covered, ball.x + ball.eps * _sign(number[:, 5:])[:, :, None, None], point)


def _change_in_l2(point: Images, ball: Ball, number: Numbers, side: int) -> Images:
    """The change of one random square given up, and spent on another, where it is mixed with a bump.

    What length the whole change has not used yet is spent there too. Each channel has its own share of it. In the end the change
    is scaled to eps, as in the authors' code: pixels at 0 or 1 have cost some of its length.
    """
    batch, channels, size = *point.shape[:2], tuple(point.shape[2:])
    side = min(max(3, side + 1 - side % 2), *size)
    spent, corner = _window(number[:, :2], side, size)
    given, _ = _window(number[:, 2:4], side, size)
    shift = point - ball.x
    unused = (ball.eps**2 - (shift**2).sum((1, 2, 3))).clamp_min(0)
    available = ((shift**2 * (spent | given)).sum((2, 3)) + unused[:, None] / channels).sqrt()
    template = _bump(side, point.device).to(point.dtype)
    turned = torch.where((number[:, 4] < 0.5)[:, None, None], template, template.T)
    bumps = torch.zeros(batch, *size, dtype=point.dtype, device=point.device)
    places = (corner[:, 0, None, None] + torch.arange(side, device=point.device)[:, None]) * size[1] + (
        corner[:, 1, None, None] + torch.arange(side, device=point.device)
    )
    bumps.view(batch, -1).scatter_(1, places.flatten(1), turned.flatten(1))
    old = shift * spent
    length = old.flatten(2).norm(dim=-1)[..., None, None]
    mixed = old / length.clamp_min(1e-12) + bumps[:, None] * _sign(number[:, 5:])[:, :, None, None]
    length = mixed.flatten(2).norm(dim=-1)[..., None, None]
    change = torch.where(spent, mixed * (available[..., None, None] / length.clamp_min(1e-12)), shift * ~given)
    return ball.x + per_image(ball.eps / _norm(change).clamp_min(1e-12), change) * change


@cache
def _bump(side: int, device: torch.device | str = "cpu") -> Float[Tensor, "side side"]:
    """Two hills of opposite signs beside each other, of length 1 together. Copied to a device once."""

    def hill(height: int, width: int) -> Tensor:
        half = height // 2
        row = (torch.arange(height) - half).abs()[:, None]
        column = (torch.arange(width) - width // 2).abs()[None]
        level = half - torch.maximum(row, column)
        heights = torch.cumsum(torch.tensor([1 / (half + 1 - k) ** 2 for k in range(half + 1)]), 0)
        return heights[level.clamp_min(0)] * (level >= 0)

    both = torch.cat([hill(side, side // 2), -hill(side, side - side // 2)], 1)
    return (both / _norm(both[None]).clamp_min(1e-12)).to(device)


def _norm(change: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(change.flatten(1), dim=-1)
    return norm
