"""GAL: members whose input gradients point apart."""

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, input_gradients, losses_of, norms, pairwise_cosine
from trs_explorer.models.ensemble import Ensemble


def gal(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    lambda_gal: float,
    noise: float,
    noise_share: float,
    generator: torch.Generator,
    x_ce: Images,
) -> dict[str, Tensor]:
    """Mean cross-entropy + lambda_gal * mean over images of log sum over pairs of exp(cos of their gradients).

    Gradients of per-example losses. With probability noise_share an image gets normal noise of that standard deviation, cut to
    [0, 1], in both terms; adversarial images (x_ce) get none. The members need leaky ReLUs: the gradients of plain ones are
    too often 0.
    Returns besides: "cosine", mean |cos| per pair, and "grad_norm", the largest.
    Source: Kariyappa and Qureshi, "Improving adversarial robustness of ensembles with diversity training", 2019
    (arXiv:1901.09981). Our choice: noise image by image.
    """
    shift = noise * torch.randn(x.shape, generator=generator, device=x.device)
    noisy = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < noise_share
    members, adversarial = ensemble.stacked(), x_ce is not x
    losses, gradients = input_gradients(members, members.arrange((x + shift * noisy).clamp(0, 1)), y, create_graph=True)
    ce = losses_of(members.member_logits(members.arrange(x_ce)), y) if adversarial else losses
    cosine = pairwise_cosine(gradients)
    terms = {"ce": ce.mean(), "alignment": lambda_gal * coherence(cosine).mean()}
    lengths = norms(gradients.detach())
    return {**with_total(terms), "cosine": cosine.detach().abs().mean(-1), "grad_norm": lengths.max()}


def coherence(cosine: Float[Tensor, "member member batch"]) -> Float[Tensor, " batch"]:
    """Log of the sum over pairs i < j of exp(cos_ij): how aligned the most aligned pair is, smoothly."""
    i, j = torch.triu_indices(len(cosine), len(cosine), offset=1)
    return cosine[i, j].logsumexp(0)
