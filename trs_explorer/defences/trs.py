"""TRS: orthogonal gradients and smooth members. Cos-only, Cos-l2 and smooth-only are this with a weight or radius of 0."""

import math

import torch
from jaxtyping import Int
from torch import Tensor

from trs_explorer.defences.beta import gradient_change
from trs_explorer.defences.support_search import losses_and_gradients
from trs_explorer.defences.terms import COSINE, GRAD_NORM, with_total
from trs_explorer.gradients import Images, Labels, gradient_norms, pair_mean, pairwise_cosine
from trs_explorer.models.ensemble import Ensemble


def trs(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    lambda_a: float,
    lambda_b: float,
    delta: float,
    delta_start: float,
    inner_steps: int,
    inner_order: str,
    smoothness: str,
    support_fraction: float,
    progress: float,
    generator: torch.Generator,
    x_ce: Images,
    places: range | None = None,
) -> dict[str, Tensor]:
    """The TRS objective: cross-entropy + lambda_a * similarity + lambda_b * smoothness (paper, Eq. 1 and section 3.2).

    similarity: |cos| of the members' input gradients of per-example losses, mean over pairs and examples.
    smoothness: the sum of two members' gradient norms at the support point, mean over pairs and examples. Every member is in
    N-1 of the N(N-1)/2 pairs, so this is twice the mean over members.

    lambda_a, lambda_b: the weights of similarity and smoothness.
    delta, delta_start: the radius of Eq. (1) in [0, 1] pixels grows linearly from delta_start to delta (authors' code).
    inner_steps, inner_order: the search for support points, see `support_points`. One support point serves all members.
    smoothness: "norm" of the gradients, "squared-norm", or "beta", see `gradient_change`.
    support_fraction: this share of the batch moves to its support points, see `moved_last`; the rest stays clean (authors'
        code). Similarity and smoothness are over the whole batch.
    progress: of the training, in [0, 1].
    generator: random numbers of the step.
    x_ce: the images for cross-entropy: the clean images x, or adversarial ones.
    places: of the images in the batch, of which they may be a part; None: they are the whole batch.
    Returns: "total" and its weighted terms, with the diagnostics COSINE and GRAD_NORM.
    """
    radius = delta_start + (delta - delta_start) * progress
    searching = lambda_b > 0 and radius > 0 and smoothness != "beta"
    moved = 0
    if searching:
        order, moved = moved_last(places or range(len(x)), support_fraction, x.device)
        clean, y = x[order], y[order]
        x, x_ce = clean, clean if x_ce is x else x_ce[order]
    losses, gradients = losses_and_gradients(
        ensemble, x, y, x_ce=x_ce, radius=radius, moved=moved, steps=inner_steps, order=inner_order
    )
    ce = losses.mean()
    norms = gradient_norms(gradients)
    cosine = pairwise_cosine(gradients if lambda_a else gradients.detach()).abs().mean(-1)
    terms = {"ce": ce, "similarity": lambda_a * pair_mean(cosine)}
    if lambda_b:
        if smoothness == "beta":
            roughness = gradient_change(ensemble, x, y, radius=radius, draws=inner_steps, generator=generator)
        else:
            roughness = norms if smoothness == "norm" else norms.square()
        terms["smoothness"] = lambda_b * 2 * roughness.mean()
    return {**with_total(terms), COSINE: cosine.detach(), GRAD_NORM: norms.detach().max()}


def moved_last(places: range, fraction: float, device: torch.device) -> tuple[Int[Tensor, " batch"], int]:
    """Return an order of a part's images in which those that move to their support points are the last ones, and their number.

    The image at place i of the batch moves if floor((i + 1) fraction) > floor(i fraction): every second one for 1/2. So any
    first n places have floor(n fraction) that move, and which ones does not depend on the parts of the batch.

    places: of the part's images in the batch.
    fraction: of the images that move.
    Source: our choice; in the authors' code the second half of the batch moves.
    """
    place = torch.arange(places.start, places.stop, device=device, dtype=torch.float64)
    moves = ((place + 1) * fraction).floor() > (place * fraction).floor()
    number = math.floor(places.stop * fraction) - math.floor(places.start * fraction)
    return moves.int().argsort(stable=True), number
