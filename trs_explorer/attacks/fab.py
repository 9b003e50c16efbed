"""FAB, targeted: the nearest point on the other side of a boundary, by steps onto its linear approximation."""

from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trs_explorer.attacks.ball import Ball, per_image
from trs_explorer.attacks.losses import PerExample, towards
from trs_explorer.attacks.objective import loss_gradient, objective_of
from trs_explorer.attacks.options import AttackOptions
from trs_explorer.attacks.sequence import RowsAttack, towards_each
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stacked import at_least_float32

OVERSHOOT = 1.05  # a step goes so much farther than the linear boundary (the source's eta)
LARGEST_PULL = 0.1  # share of the step that is taken from x, at most (alpha_max)
BACKWARD = 0.9  # of the way from x that is left after a point that fools (beta)
FINAL_SEARCH = 3  # points on the way back to x that are tried in the end


def fab_t(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 100,
    targets: int = 9,
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    generator: torch.Generator | None = None,
) -> Images:
    """The image of largest margin among all that fool the model within eps, over the wrong classes aimed at; x where none does.

    For each of the `targets` wrong classes that are likeliest at x: steps onto the linear approximation of the boundary to it,
    from the current point and, for a share, from x; after each point that fools the model, back towards x. It has no random
    start, and needs no eps to find the nearest point; with early_stop, an image is done once such a point lies within eps.

    - targeted: y is then the only class aimed at, from the class that the model answers at x.
    - generator: not used.
    Source: Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020, Algorithm
    1, with its constants; towards one class at a time as in AutoAttack, 9 targets and 100 steps.
    """
    settings = AttackOptions(eps=eps, steps=steps, norm=norm, targeted=targeted, early_stop=early_stop, generator=generator)

    def towards_class(number: int, others: Tensor) -> RowsAttack:
        def attack(rows: Tensor, generator: torch.Generator) -> Images:
            # the boundary between the class that is left and the class that is aimed at
            left, aim = (others[rows, 0], y[rows]) if targeted else (y[rows], others[rows, number])
            return _nearest(model, x[rows], left, aim, settings)

        return attack

    return towards_each(model, x, y, settings, 1 if targeted else targets, towards_class)


def _nearest(model: nn.Module, x: Images, left: Labels, aim: Labels, settings: AttackOptions) -> Images:
    """The nearest point that fools the model for each image, if it lies within eps; x where none does."""
    norm = settings.norm
    whole_ball = Ball(x, settings.eps, norm)
    result = at_least_float32(x).clone()
    nearest, nearest_point = torch.full((len(x),), torch.inf, device=x.device), result.clone()
    rows = torch.arange(len(x), device=x.device)
    point = result.clone()

    def fools(candidate: Images, rows: Tensor) -> Bool[Tensor, " rows"]:
        outputs = model(whole_ball[rows].as_images(candidate))
        answer = outputs.argmax(-1)
        return ((answer == aim[rows]) if settings.targeted else (answer != left[rows])) & ~outputs.isnan().any(-1)

    for _ in range(settings.steps):
        start = whole_ball.x[rows]
        gradient, difference = _difference(model, whole_ball[rows], point, left[rows], aim[rows])
        here = gradient.flatten(1)
        offset = difference - (here * point.flatten(1)).sum(-1)  # of the linear approximation <here, z> + offset
        step = _onto_boundary(point, here, offset, norm)
        step_from_x = _onto_boundary(start, here, offset, norm)
        length, length_from_x = _length(step, norm), _length(step_from_x, norm)
        pull = per_image((length / (length + length_from_x).clamp_min(1e-12)).clamp_max(LARGEST_PULL), x)
        point = ((1 - pull) * (point + OVERSHOOT * step) + pull * (start + OVERSHOOT * step_from_x)).clamp(0, 1)
        fooled = fools(point, rows)
        distance = _length(point - start, norm)
        better = fooled & (distance < nearest[rows])
        nearest[rows[better]], nearest_point[rows[better]] = distance[better], point[better]
        point = torch.where(per_image(fooled, point), start + BACKWARD * (point - start), point)
        if settings.drops_fooled and bool((done := nearest[rows] <= settings.eps).any()):
            rows, point = rows[~done], point[~done]
            if not len(rows):
                break
    every = torch.arange(len(x), device=x.device)
    low, high = torch.zeros(len(x), device=x.device), torch.ones(len(x), device=x.device)
    for _ in range(FINAL_SEARCH):  # halve the part of the way from x in which the boundary lies
        middle = (low + high) / 2
        candidate = result + per_image(middle, x) * (nearest_point - result)
        fooled = fools(candidate, every)
        low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
    candidate = whole_ball.project(result + per_image(high, x) * (nearest_point - result))
    return whole_ball.as_images(torch.where(per_image(fools(candidate, every), x), candidate, result))


def _difference(model: nn.Module, ball: Ball, point: Images, left: Labels, aim: Labels) -> tuple[Images, PerExample]:
    """The gradient of z_aim - z_left at the points, and its value."""
    images = ball.as_images(point)
    gradient, value, _ = loss_gradient(model, images, left, targeted=False, objective=objective_of(partial(towards, target=aim)))
    return gradient.to(point.dtype), value.to(point.dtype)


def _length(step: Images, norm: str) -> PerExample:
    return torch.linalg.vector_norm(step.flatten(1), torch.inf if norm == "linf" else 2, dim=-1)


def _onto_boundary(
    point: Images, slope: Float[Tensor, "batch pixel"], offset: Float[Tensor, " batch"], norm: str, *, rounds: int = 12
) -> Images:
    """The shortest step, in the norm, from points to the plane <slope, z> + offset = 0, within [0, 1].

    Where no image in [0, 1] lies on the plane, the step goes as near to it as it can. Along the steepest direction, pixels stop
    at 0 or 1; what is left of the distance falls with the step's length along a concave curve, whose root Newton's method finds
    from below.
    """
    flat = point.flatten(1)
    value = (slope * flat).sum(-1) + offset
    direction = -value.sign()[:, None] * (slope.sign() if norm == "linf" else slope / slope.abs().amax(-1, keepdim=True).clamp_min(1e-30))
    speed = direction.abs()
    room = torch.where(direction > 0, 1 - flat, flat) / speed.clamp_min(1e-30)  # how long until the pixel stops
    gain = slope.abs() * speed
    need, time = value.abs(), torch.zeros_like(value)
    for _ in range(rounds):
        reached = (gain * room.clamp_max(time[:, None])).sum(-1)
        rate = (gain * (room > time[:, None])).sum(-1)
        time = torch.where(rate > 0, time + (need - reached).clamp_min(0) / rate.clamp_min(1e-30), time)
    return (direction * room.clamp_max(time[:, None])).view_as(point)
