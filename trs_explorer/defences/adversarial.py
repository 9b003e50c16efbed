"""Adversarial training, on top of any method: the adversarial images for cross-entropy."""

import torch
import torch.nn.functional as F

from trs_explorer.batch_noise import rand
from trs_explorer.defences.support_search import batch_statistics_only
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble


def adversarial_images(ensemble: Ensemble, x: Images, y: Labels, *, eps: float, steps: int, generator: torch.Generator) -> Images:
    """Run PGD on the ensemble: `steps` sign steps of size 2.5 eps / steps on its loss, from a uniform start in the l-inf ball.

    Returns the last iterate, in [0, 1]; training does not need the bookkeeping of `attacks.pgd`. Of a boosted ensemble, the
    members that vote so far are attacked. Running averages of batch norm do not include these images.
    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.
    """
    members = ensemble.stacked()
    point = (x + eps * (2 * rand(x.shape, generator=generator, device=x.device) - 1)).clamp(0, 1)
    with batch_statistics_only(members):
        for _ in range(steps):
            point = point.detach().requires_grad_()
            loss = F.nll_loss(ensemble.vote(members.member_logits(members.arrange(point))), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, point)
            shift = (point.detach() + 2.5 * eps / steps * gradient.sign() - x).clamp(-eps, eps)
            point = (x + shift).clamp(0, 1)
    return point.detach()
