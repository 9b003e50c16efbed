"""The smoothness beta of the theorems, for data in the plane, where the gradient norm is a poor substitute for it."""

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.batch_noise import rand
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble


def gradient_change(
    ensemble: Ensemble, x: Images, y: Labels, *, radius: float, draws: int, generator: torch.Generator
) -> Float[Tensor, "member batch"]:
    """Return the mean over draws of |grad m(x + d) - grad m(x)|^2 / |d|^2 for the logit margin m, d uniform in the l-inf ball.

    A lower estimate of beta^2 (paper, Def. 5), for the margin instead of the loss, which saturates. x + d may leave [0, 1].

    radius: of the ball, in [0, 1] pixels.
    draws: the number of offsets d per image.
    generator: of the offsets.
    Source: our choice, by measurement: with it, trainings in the plane agree with the theorems.
    """
    here = _margin_gradients(ensemble, x, y)
    total = torch.zeros(here.shape[:2], device=x.device)
    for _ in range(draws):
        step = (rand(x.shape, generator=generator, device=x.device) * 2 - 1) * radius
        change = (_margin_gradients(ensemble, x + step, y) - here).flatten(2).square().sum(-1)
        total = total + change / step.flatten(1).square().sum(-1).clamp_min(1e-12)
    return total / draws


def _margin_gradients(ensemble: Ensemble, x: Images, y: Labels) -> Tensor:
    copies = [x.detach().clone().requires_grad_() for _ in ensemble.members]
    logits = ensemble.member_logits(copies)
    true = y.expand(len(logits), -1)[..., None]
    margins = logits.gather(-1, true).sum() - logits.scatter(-1, true, -torch.inf).amax(-1).sum()
    return torch.stack(torch.autograd.grad(margins, copies, create_graph=True))
