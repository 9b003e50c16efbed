"""APGD: PGD whose step sizes follow the loss, on cross-entropy or on the difference of logits ratio."""

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor, nn

from trs_explorer.attacks.ball import Ball, direction, per_image
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.checks import check_images, check_labels
from trs_explorer.attacks.losses import loss_named
from trs_explorer.attacks.noise import draw_seeds
from trs_explorer.attacks.objective import Objective, loss_and_success, loss_gradient, objective_of
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.remaining import numbers, places, places_if_fewer
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode

MOMENTUM = 0.75  # share of a step that is new; the rest is the step before (the source's alpha)
RHO = 0.75  # share of steps in which the loss must rise, or the step is halved


def apgd(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    loss: str = "ce",
    **options: Unpack[CommonOptions],
) -> Images:
    """The iterate of highest loss among all that fool the model, over all restarts; x where none does.

    The step is 2 eps at first. At checkpoints, which come more and more often, an example halves its step and returns to its
    best point if the loss rose in fewer than 3 of 4 steps since the last checkpoint, or if neither the step nor the best point
    has changed since then. Each step carries a quarter of the step before. early_stop drops fooled images at checkpoints.
    loss: "ce", "margin" or "dlr". Everything else is as for `pgd`.
    Raises: ValueError as `pgd`; for "dlr" with fewer than three classes.
    Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
    ICML 2020, Algorithm 1. Its targeted DLR takes the true class too; ours is the untargeted one of the wanted class, negated.
    """
    objective = objective_of(loss_named(loss))
    settings = AttackOptions(eps=eps, steps=steps, step_size=eps, restarts=restarts, random_start=True, **options)
    return adaptive_ascent(model, x, y, settings, lambda rows: objective)


def adaptive_ascent(
    model: nn.Module, x: Images, y: Labels, settings: AttackOptions, objective_at: Callable[[Tensor], Objective]
) -> Images:
    """Maximise an objective by steps that adapt their sizes: the loop of `apgd` and `apgd_t`.

    objective_at: rows -> the objective of the images at those places in x, for attacks with a class to reach for each image.
    The rest, and what is returned, is as for `projected_ascent`.
    """
    check_images(x, y)
    eps, steps = settings.eps, settings.steps
    if eps == 0 or not len(x):
        return x.detach().clone()
    y = y.long()
    targeted = settings.targeted
    all_rows, whole_ball, windows = torch.arange(len(x), device=x.device), Ball(x, eps, settings.norm), checkpoints(steps)
    seeds = draw_seeds(len(x), settings.restarts, settings.generator)
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        value, fooled = loss_and_success(model, x, y, targeted=targeted, objective=objective_at(all_rows))
        best = Best(x, value, fooled, for_transfer=settings.for_transfer)
        for restart in range(settings.restarts):
            rows = places(best.not_yet_fooled(all_rows)) if settings.drops_fooled else all_rows
            if not len(rows):
                break
            ball, labels, objective = whole_ball[rows], y[rows], objective_at(rows)
            point = before = ball.random_point([seeds[i][restart] for i in numbers(rows)])
            images = ball.as_images(point)
            gradient, value, fooled = loss_gradient(model, images, labels, targeted=targeted, objective=objective)
            best.update(rows, images, value, fooled)
            gradient = gradient.to(point.dtype)
            # per example: the best point with its gradient and value, the step, and what happened since the last checkpoint
            top, top_gradient, top_value = point, gradient, value
            size, rises = torch.full_like(value, 2 * eps), torch.zeros_like(value)
            halved, top_at_checkpoint = torch.ones_like(fooled), top_value
            for step in range(steps):
                straight = ball.project(point + per_image(size, point) * direction(gradient, settings.norm))
                new = MOMENTUM if step else 1.0
                point, before = ball.project(point + new * (straight - point) + (1 - new) * (point - before)), point
                value_before, images = value, ball.as_images(point)
                gradient, value, fooled = loss_gradient(model, images, labels, targeted=targeted, objective=objective)
                best.update(rows, images, value, fooled)
                gradient = gradient.to(point.dtype)
                rises += value > value_before
                better = value > top_value
                top = point.where(per_image(better, point), top)
                top_gradient = gradient.where(per_image(better, point), top_gradient)
                top_value = value.where(better, top_value)
                if step + 1 not in windows:
                    continue
                stuck = (rises < RHO * windows[step + 1]) | (~halved & (top_value <= top_at_checkpoint))
                size = torch.where(stuck, size / 2, size)
                point, gradient = top.where(per_image(stuck, point), point), top_gradient.where(per_image(stuck, point), gradient)
                value = top_value.where(stuck, value)
                rises, halved, top_at_checkpoint = torch.zeros_like(rises), stuck, top_value
                if settings.drops_fooled and (stay := places_if_fewer(best.not_yet_fooled(rows))) is not None:
                    ball = ball[stay]
                    rows, labels, point, before, gradient, value = (
                        part[stay] for part in (rows, labels, point, before, gradient, value)
                    )
                    top, top_gradient, top_value, size, rises, halved, top_at_checkpoint = (
                        part[stay] for part in (top, top_gradient, top_value, size, rises, halved, top_at_checkpoint)
                    )
                    if not len(rows):
                        break
                    objective = objective_at(rows)
    return best.result()


def apgd_dlr(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    **options: Unpack[CommonOptions],
) -> Images:
    """`apgd` on the difference of logits ratio, whose gradients do not vanish where a model is confident."""
    return apgd(model, x, y, eps=eps, steps=steps, restarts=restarts, loss="dlr", **options)


def checkpoints(steps: int) -> dict[int, int]:
    """The steps after which APGD compares, each with the number of steps since the checkpoint before.

    The first comes after 22 % of all steps, each next interval is 3 % shorter, but 6 % at least; rounded down as in the authors'
    code. Rounded as section 3.1 of the source has it, the checkpoints of 50 steps come elsewhere, and 15 to 20 more of 1,000
    images remained correct with DLR on a cos-only ensemble (MNIST, 36 epochs) at eps .1.
    """
    window, least, shrink = (max(1, int(share * steps)) for share in (0.22, 0.06, 0.03))
    windows, step = {}, window
    while step <= steps:
        windows[step] = window
        window = max(window - shrink, least)
        step += window
    return windows
