"""FGSM: the fast gradient sign method."""

import torch
from torch import nn

from trs_explorer.attacks.ball import Ball, direction
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.checks import check_images, check_labels
from trs_explorer.attacks.objective import loss_and_success, loss_gradient
from trs_explorer.attacks.options import AttackOptions
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode


def fgsm(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    norm: str = "linf",
    targeted: bool = False,
    for_transfer: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """One step x + eps * sign(gradient) (l2: its unit vector), clipped to [0, 1], where that fools the model; x elsewhere.

    Where x and the step both fool the model, the one of higher loss is returned.

    Args:
        model, x, y: as for `pgd`.
        eps: length of the step, in [0, 1] pixels, measured in `norm`.
        norm: "linf" or "l2".
        targeted: y is the class to be reached.
        for_transfer: return the step also where neither it nor x fools the model.
        generator: ignored, there is no noise; it is there because all attacks are called alike.

    Returns: images of the shape and type of x.
    Raises: as `pgd`.
    Source: Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015, section 4.
    """
    check_images(x, y)
    AttackOptions(eps=eps, steps=1, step_size=eps, norm=norm)  # checks eps and norm
    if eps == 0 or not len(x):
        return x.detach().clone()
    y = y.long()
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        gradient, loss, fooled = loss_gradient(model, x, y, targeted=targeted)
        best = Best(x, loss, fooled, for_transfer=for_transfer)
        ball = Ball(x, eps, norm)
        step = ball.as_images(ball.project(ball.x + eps * direction(gradient.to(ball.x.dtype), norm)))
        best.update(torch.arange(len(x), device=x.device), step, *loss_and_success(model, step, y, targeted=targeted))
    return best.result()
