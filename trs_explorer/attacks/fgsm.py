"""FGSM: the fast gradient sign method."""

import torch
from torch import nn

from trs_explorer.attacks.ball import Ball
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.common import (
    check_images,
    check_labels,
    check_steps,
    climb,
    direction,
    eval_mode,
    judge,
)
from trs_explorer.gradients import Images, Labels


def fgsm(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    norm: str = "linf",
    targeted: bool = False,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """One step x + eps * sign(gradient) (l2: its unit vector), cut to [0, 1], where that fools the model; x elsewhere.

    Shapes: x_adv as x. Units: eps in [0, 1] pixels, the radius in `norm`. Where x and the step both fool the model, the
    one with the higher loss is returned; with for_others, the step also where neither does. Nothing is random: `generator` is
    there because all attacks are called alike.
    Raises: ValueError for pixels outside [0, 1] or NaN, labels that are none of the model's classes, a bad eps.
    Source: Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015, section 4.
    """
    check_images(x, y)
    check_steps(eps, 1, eps, 1, False, norm)
    if eps == 0 or not len(x):
        return x.detach().clone()
    y = y.long()
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        gradient, loss, fooled = climb(model, x, y, targeted=targeted)
        best = Best(x, loss, fooled, for_others=for_others)
        ball = Ball(x, eps, norm)
        step = ball.shown(ball.project(ball.x + eps * direction(gradient.to(ball.x.dtype), norm)))
        best.offer(torch.arange(len(x), device=x.device), step, *judge(model, step, y, targeted=targeted))
    return best.result()
