"""GAL: members whose input gradients point in different directions."""

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.batch_noise import rand, randn
from trs_explorer.defences.terms import COSINE, GRAD_NORM, with_total
from trs_explorer.gradients import Images, Labels, gradient_norms, input_gradients, member_losses, pairwise_cosine
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
    """Return mean cross-entropy + lambda_gal * mean over images of log sum over pairs of exp(cos of their gradients).

    The gradients are those of per-example losses. Members need leaky ReLUs: gradients of plain ReLU nets are too often 0.

    lambda_gal: the weight of the alignment term.
    noise: the standard deviation of the normal noise on images, clipped to [0, 1], in both terms.
    noise_share: the probability that an image gets noise.
    generator: random numbers of the step.
    x_ce: the images for cross-entropy; adversarial images get no noise.
    Returns: "total" and its terms, with the diagnostics COSINE and GRAD_NORM.
    Source: Kariyappa and Qureshi, "Improving adversarial robustness of ensembles with diversity training", 2019
    (arXiv:1901.09981). Our choice: noise image by image.
    """
    shift = noise * randn(x.shape, generator=generator, device=x.device)
    noisy = rand((len(x), 1, 1, 1), generator=generator, device=x.device) < noise_share
    members, adversarial = ensemble.stacked(), x_ce is not x
    losses, gradients = input_gradients(members, members.arrange((x + shift * noisy).clamp(0, 1)), y, create_graph=True)
    ce = member_losses(members.member_logits(members.arrange(x_ce)), y) if adversarial else losses
    cosine = pairwise_cosine(gradients)
    terms = {"ce": ce.mean(), "alignment": lambda_gal * coherence(cosine).mean()}
    norms = gradient_norms(gradients.detach())
    return {**with_total(terms), COSINE: cosine.detach().abs().mean(-1), GRAD_NORM: norms.max()}


def coherence(cosine: Float[Tensor, "member member batch"]) -> Float[Tensor, " batch"]:
    """Return the log of the sum over pairs i < j of exp(cos_ij): a smooth maximum of the pairs' cosines."""
    i, j = torch.triu_indices(len(cosine), len(cosine), offset=1, device=cosine.device)
    return cosine[i, j].logsumexp(0)
