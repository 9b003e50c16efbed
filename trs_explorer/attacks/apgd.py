"""APGD: PGD whose step sizes follow the loss, on cross-entropy or on the difference of logits ratio."""

import torch
from torch import nn

from trs_explorer.attacks.ball import Ball
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.common import (
    check_images,
    check_labels,
    check_steps,
    climb,
    climbing,
    direction,
    draw_seeds,
    eval_mode,
    judge,
    per_image,
)
from trs_explorer.attacks.losses import loss_named
from trs_explorer.gradients import Images, Labels

MOMENTUM, RHO = 0.75, 0.75


def apgd(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    loss: str = "ce",
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """The iterate of highest loss among all visited that fool the model, over all restarts; x where none does.

    Shapes, units, generator: as for `pgd`. The step is 2 eps at first. At checkpoints, which come more and more often, an
    example halves its step and goes back to its best point if the loss rose in fewer than 3 of 4 steps since the last one, or
    has found no new best at the same step. Steps carry a quarter of the step before.
    loss: "ce", "margin" or "dlr". early_stop: images that are fooled leave at the next checkpoint. for_others: as
    for `pgd`.
    Raises: ValueError as `pgd`; for "dlr" with fewer than three classes.
    Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
    ICML 2020, Algorithm 1. Its targeted DLR takes the true class too; ours is the untargeted one of the wanted class, negated.
    """
    objective = climbing(loss_named(loss))
    check_images(x, y)
    check_steps(eps, steps, eps, restarts, True, norm)
    if eps == 0 or not len(x):
        return x.detach().clone()
    y = y.long()
    early_stop = early_stop and not for_others
    everyone, ball, looks = torch.arange(len(x), device=x.device), Ball(x, eps, norm), checkpoints(steps)
    seeds = draw_seeds(len(x), restarts, generator)
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        value, fooled = judge(model, x, y, targeted=targeted, objective=objective)
        best = Best(x, value, fooled, for_others=for_others)
        for restart in range(restarts):
            rows = everyone[best.stands(everyone)] if early_stop else everyone
            if not len(rows):
                break
            around, labels = ball[rows], y[rows]
            point = before = around.start([seeds[i][restart] for i in rows.tolist()])
            gradient, value, fooled = climb(model, shown := around.shown(point), labels, targeted=targeted, objective=objective)
            best.offer(rows, shown, value, fooled)
            gradient = gradient.to(point.dtype)
            # per example: the best point with its gradient and loss, the step, and what happened since the last checkpoint
            top, top_gradient, top_value = point, gradient, value
            size, rises = torch.full_like(value, 2 * eps), torch.zeros_like(value)
            halved, top_then = torch.ones_like(fooled), top_value
            for step in range(steps):
                straight = around.project(point + per_image(size, point) * direction(gradient, norm))
                share = MOMENTUM if step else 1.0
                point, before = around.project(point + share * (straight - point) + (1 - share) * (point - before)), point
                value_before = value
                gradient, value, fooled = climb(
                    model, shown := around.shown(point), labels, targeted=targeted, objective=objective
                )
                best.offer(rows, shown, value, fooled)
                gradient = gradient.to(point.dtype)
                rises += value > value_before
                better = value > top_value
                top = point.where(per_image(better, point), top)
                top_gradient = gradient.where(per_image(better, point), top_gradient)
                top_value = value.where(better, top_value)
                if step + 1 not in looks:
                    continue
                stuck = (rises < RHO * looks[step + 1]) | (~halved & (top_value <= top_then))
                size = torch.where(stuck, size / 2, size)
                point, gradient = top.where(per_image(stuck, point), point), top_gradient.where(per_image(stuck, point), gradient)
                value = top_value.where(stuck, value)
                rises, halved, top_then = torch.zeros_like(rises), stuck, top_value
                if early_stop and not (stay := best.stands(rows)).all():
                    rows, labels, around, point, before, gradient, value = (
                        part[stay] for part in (rows, labels, around, point, before, gradient, value)
                    )
                    top, top_gradient, top_value, size, rises, halved, top_then = (
                        part[stay] for part in (top, top_gradient, top_value, size, rises, halved, top_then)
                    )
                    if not len(rows):
                        break
    return best.result()


def apgd_dlr(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """`apgd` on the difference of logits ratio, whose gradients do not fade where a model is sure."""
    own = {"norm": norm, "targeted": targeted, "early_stop": early_stop, "for_others": for_others, "generator": generator}
    return apgd(model, x, y, eps=eps, steps=steps, restarts=restarts, loss="dlr", **own)


def checkpoints(steps: int) -> dict[int, int]:
    """The steps after which APGD looks back, each with how many steps lie between it and the look before.

    The first after 22 % of all steps, then after 3 % fewer each time, but 6 % at least, rounded down as in the authors' code.
    Rounded as section 3.1 of the source has it, the looks at 50 steps come elsewhere, and 15 to 20 more of 1,000 images
    stayed right with DLR on a cos-only ensemble (MNIST, 36 epochs) at eps .1.
    """
    window, least, shrink = (max(1, int(share * steps)) for share in (0.22, 0.06, 0.03))
    found, now = {}, window
    while now <= steps:
        found[now] = window
        window = max(window - shrink, least)
        now += window
    return found
