"""SoE: members that also learn how likely they are right, so that the most confident one can answer for all."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from trs_explorer.batch_noise import rand
from trs_explorer.defences.adversarial import adversarial_images
from trs_explorer.defences.support_search import batch_statistics_only
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, MemberLosses, member_losses
from trs_explorer.models.ensemble import Ensemble, confidence_logits

SUMS_TO_ONE = 1e-4  # how close to 1 the sums of probabilities are


def soe(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    lambda_confidence: float,
    soe_sigma: float,
    soe_eps: float,
    soe_steps: int,
    generator: torch.Generator,
    x_ce: Images,
) -> dict[str, Tensor]:
    """Return mean cross-entropy + `smooth_minimum` of the members' losses + lambda_confidence * mean `confidence_losses`.

    Cross-entropy is taken at x_ce and at images made on each member, for all members: each learns to withstand every member's
    attack. The minimum is taken at images made on the ensemble: one member that is right is enough there, if it is the most
    confident one. The confidence is learned at all of these images. The ensemble must vote "confident", see `Ensemble`.

    lambda_confidence: the weight of the confidence.
    soe_sigma: how smooth the minimum is.
    soe_eps, soe_steps: the l-inf radius and the number of steps of both kinds of images, see `adversarial_images`.
    generator: of their random starts.
    x_ce: the images for cross-entropy besides them: x itself, or adversarial images, and then no clean image remains.
    Source: Cui et al., "Synergy-of-experts: collaborate to improve adversarial robustness", NeurIPS 2022, and their code.
    **Our reading**, of the code: the paper's equations were not at hand. The code trains either on images of the members or on
    images of the ensemble, and holds three weights for a loss; here both are in each step, and the weights are those of the
    smooth minimum, softmax of -loss / sigma. soe_sigma and lambda_confidence are 1 there. The radius on MNIST (the code's are
    CIFAR-10's), the steps and the random start are our choice: those of `--adversarial`.
    """
    starts = rand((len(ensemble), *x.shape), generator=generator, dim=1, device=x.device)
    of_members = images_against_members(ensemble, x, y, starts=starts, eps=soe_eps, steps=soe_steps)
    of_ensemble = adversarial_images(ensemble, x, y, eps=soe_eps, steps=soe_steps, generator=generator)
    images, labels = torch.cat([x_ce, *of_members, of_ensemble]), y.repeat(len(ensemble) + 2)
    members = ensemble.stacked()
    logits = members.member_logits(members.arrange(images))
    losses = member_losses(logits, labels)
    terms = {
        "ce": losses[:, : -len(x)].mean(),
        "collaboration": smooth_minimum(losses[:, -len(x) :], soe_sigma).mean(),
        "confidence": lambda_confidence * confidence_losses(logits, labels).mean(),
    }
    return with_total(terms)


def images_against_members(
    ensemble: Ensemble, x: Images, y: Labels, *, starts: Float[Tensor, "member ..."], eps: float, steps: int
) -> Float[Tensor, "member batch channel height width"]:
    """Return images on which each member alone is attacked, as `adversarial_images` attacks the ensemble.

    starts: uniform numbers in [0, 1], like x for each member: where in the ball its attack begins.
    """
    members = ensemble.stacked()
    points = (x + eps * (2 * starts - 1)).clamp(0, 1)
    with batch_statistics_only(members):
        for _ in range(steps):
            points = points.detach().requires_grad_()
            losses = member_losses(members.member_logits([members.arrange(point) for point in points]), y)
            (gradient,) = torch.autograd.grad(losses.sum(), points)
            shift = (points.detach() + 2.5 * eps / steps * gradient.sign() - x).clamp(-eps, eps)
            points = (x + shift).clamp(0, 1)
    return points.detach()


def smooth_minimum(losses: MemberLosses, sigma: float) -> Float[Tensor, " batch"]:
    """Return -sigma log of the members' mean of exp(-loss / sigma): their minimum for sigma to 0, their mean for large sigma.

    Its gradient is the sum of the losses' gradients with weights softmax(-loss / sigma).
    """
    return sigma * (math.log(len(losses)) - (-losses / sigma).logsumexp(0))


def confidence_losses(logits: Float[Tensor, "member batch class"], y: Labels) -> MemberLosses:
    """Return the binary cross-entropy of each member's confidence, p_max sigmoid(g), against its probability of the true class.

    The latter counts as a constant, and so does p_max where a member is right. Where it is wrong, its p_max must fall too.
    Both logarithms are computed without a difference from 1, so that no confidence is too close to 0 or 1 for a gradient.
    """
    log_p = logits.log_softmax(-1)
    true_class = F.one_hot(y, logits.shape[-1]).bool()
    target = torch.where(true_class, log_p.detach(), 0).sum(-1).exp()
    right = log_p.argmax(-1, keepdim=True) == y[:, None]
    log_p = torch.where(right, log_p.detach(), log_p)
    answer = F.one_hot(log_p.argmax(-1), logits.shape[-1]).bool()
    top, others = torch.where(answer, log_p, 0).sum(-1), log_p.masked_fill(answer, -math.inf).logsumexp(-1)
    g = confidence_logits(logits)
    unsure = torch.logaddexp(others, top + F.logsigmoid(-g))  # log(1 - p_max sigmoid(g))
    return -(target * (top + F.logsigmoid(g)) + (1 - target) * unsure)


def free_shift(ensemble: Ensemble, x: Images) -> None:
    """Raise ValueError if a member returns (log-)probabilities: a confidence cannot be read from their sum."""
    logits = ensemble.member_logits(x)
    for number, outputs in enumerate(logits, start=1):
        if any((total - 1).abs().max() < SUMS_TO_ONE for total in (outputs.sum(-1), outputs.exp().sum(-1))):
            raise ValueError(f"member F{number} returns probabilities or their logarithms: it needs logits, whose mean is free")
