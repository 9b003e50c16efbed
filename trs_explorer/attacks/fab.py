"""FAB, targeted: the nearest point on the other side of a boundary, by steps onto its linear approximation."""

from functools import partial
from typing import Unpack

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trs_explorer.attacks.ball import Ball, per_image
from trs_explorer.attacks.losses import PerExample, towards
from trs_explorer.attacks.objective import loss_gradient, objective_of
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.remaining import CHECK_EVERY, places_if_fewer
from trs_explorer.attacks.sequence import RowsAttack, towards_each
from trs_explorer.gradients import Images, Labels

OVERSHOOT = 1.05  # a step goes so much farther than the linear boundary (the source's eta)
LARGEST_PULL = 0.1  # share of the step that is taken from x, at most (alpha_max)
BACKWARD = 0.9  # of the way from x that is left after a point that fools (beta)
TINY = 1e-30
FINAL_SEARCH = 3  # points on the way back to x that are tried in the end


def fab_t(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    targets: int = 9,
    **options: Unpack[CommonOptions],
) -> Images:
    """The image of largest margin among all that fool the model within eps, over the wrong classes aimed at; x where none does.

    For each of the `targets` wrong classes that are likeliest at x: steps onto the linear approximation of the boundary to it,
    from the current point and, for a share, from x; after each point that fools the model, back towards x. It has no random
    start, so no noise, and looks for the nearest point; with early_stop, an image is done once such a point lies within eps.

    - targeted: y is then the only class aimed at, from the likeliest other class at x.
    - for_transfer: where no point within eps fools the model, the nearest that does is pulled into the ball.
    Source: Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020, Algorithm
    1, with its constants; towards one class at a time as in AutoAttack, which takes 9 targets and 100 steps.
    """
    settings = AttackOptions(eps=eps, steps=steps, **options)
    targeted = settings.targeted

    def towards_class(number: int, others: Tensor) -> RowsAttack:
        def attack(rows: Tensor, generator: torch.Generator) -> Images:
            # the boundary between the class that is left and the class that is aimed at
            left, aim = (others[rows, 0], y[rows]) if targeted else (y[rows], others[rows, number])
            return _nearest(model, x[rows], left, aim, settings)

        return attack

    return towards_each(model, x, y, settings, 1 if targeted else targets, towards_class)


def _nearest(model: nn.Module, x: Images, left: Labels, aim: Labels, settings: AttackOptions) -> Images:
    """The nearest point that fools the model for each image, if it lies within eps; x where none does.

    left, aim: the class that is left and the one that is aimed at.
    """
    norm, whole_ball = settings.norm, Ball(x, settings.eps, settings.norm)
    nearest_point = whole_ball.x.clone()
    nearest = torch.full_like(whole_ball.x[:, 0, 0, 0], torch.inf)

    def fools(ball: Ball, candidate: Images, left: Labels, aim: Labels) -> Bool[Tensor, " rows"]:
        outputs = model(ball.as_images(candidate))
        answer = outputs.argmax(-1)
        success: Bool[Tensor, " rows"] = (answer == aim) if settings.targeted else (answer != left)
        return success.logical_and(~outputs.isnan().any(-1))

    rows, ball, point, here, there = torch.arange(len(x), device=x.device), whole_ball, whole_ball.x.clone(), left, aim
    for number in range(settings.steps):
        slope, difference = _difference(model, ball, point, here, there)
        offset = difference - (slope * point.flatten(1)).sum(-1)  # of the linear approximation <slope, z> + offset
        step, step_from_x = (_onto_boundary(start, slope, offset, norm) for start in (point, ball.x))
        length, length_from_x = _length(step, norm), _length(step_from_x, norm)
        pull = per_image((length / (length + length_from_x).clamp_min(TINY)).clamp_max(LARGEST_PULL), x)
        point = ((1 - pull) * (point + OVERSHOOT * step) + pull * (ball.x + OVERSHOOT * step_from_x)).clamp(0, 1)
        fooled, distance = fools(ball, point, here, there), _length(point - ball.x, norm)
        before = nearest[rows]
        better = fooled & (distance < before)
        nearest[rows] = distance.where(better, before)
        nearest_point[rows] = point.where(per_image(better, point), nearest_point[rows])
        point = torch.where(per_image(fooled, point), ball.x + BACKWARD * (point - ball.x), point)
        if settings.drops_fooled and number % CHECK_EVERY == 0:
            if (stay := places_if_fewer(nearest[rows] > settings.eps)) is not None:
                rows, ball, point, here, there = rows[stay], ball[stay], point[stay], here[stay], there[stay]
            if not len(rows):
                break
    # where nothing fools the model, the last point
    nearest_point[rows] = point.where(per_image(nearest[rows].isinf(), point), nearest_point[rows])
    low, high = torch.zeros_like(nearest), torch.ones_like(nearest)
    for _ in range(FINAL_SEARCH):  # halve the part of the way from x in which the boundary lies
        middle = (low + high) / 2
        candidate = whole_ball.x + per_image(middle, x) * (nearest_point - whole_ball.x)
        fooled = fools(whole_ball, candidate, left, aim)
        low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
    candidate = whole_ball.project(whole_ball.x + per_image(high, x) * (nearest_point - whole_ball.x))
    if settings.for_transfer:
        return whole_ball.as_images(candidate)
    found = per_image(fools(whole_ball, candidate, left, aim), x)
    return torch.where(found, whole_ball.as_images(candidate), x)


def _difference(
    model: nn.Module, ball: Ball, point: Images, left: Labels, aim: Labels
) -> tuple[Float[Tensor, "batch pixel"], PerExample]:
    """The gradient of z_aim - z_left at the points, and its value."""
    images = ball.as_images(point)
    gradient, value, _ = loss_gradient(model, images, left, targeted=False, objective=objective_of(partial(towards, target=aim)))
    return gradient.to(point.dtype).flatten(1), value.to(point.dtype)


def _length(step: Images, norm: str) -> PerExample:
    length: PerExample = torch.linalg.vector_norm(step.flatten(1), torch.inf if norm == "linf" else 2, dim=-1)
    return length


def _onto_boundary(
    point: Images, slope: Float[Tensor, "batch pixel"], offset: Float[Tensor, " batch"], norm: str, *, rounds: int = 8
) -> Images:
    """The shortest step, in the norm, from points to the plane <slope, z> + offset = 0, within [0, 1].

    Where no image in [0, 1] lies on the plane, the step goes as near to it as it can. Along the steepest direction, pixels stop
    at 0 or 1; what is left of the distance falls with the step's length along a concave curve, whose root Newton's method finds
    from below.
    """
    flat = point.flatten(1)
    value = (slope * flat).sum(-1) + offset
    steepest = slope.sign() if norm == "linf" else slope / slope.abs().amax(-1, keepdim=True).clamp_min(TINY)
    direction = -value.sign()[:, None] * steepest
    speed = direction.abs()
    room = torch.where(direction > 0, 1 - flat, flat) / speed.clamp_min(TINY)  # how long until the pixel stops
    gain = slope.abs() * speed
    need, time = value.abs(), torch.zeros_like(value)
    for _ in range(rounds):
        reached = (gain * room.clamp_max(time[:, None])).sum(-1)
        rate = (gain * (room > time[:, None])).sum(-1)
        time = torch.where(rate > 0, time + (need - reached).clamp_min(0) / rate.clamp_min(TINY), time)
    return (direction * room.clamp_max(time[:, None])).view_as(point)
