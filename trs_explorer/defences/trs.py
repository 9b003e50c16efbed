"""TRS: orthogonal gradients and smooth members. Cos-only, Cos-l2 and smooth-only are this with a weight or radius of 0."""

from contextlib import nullcontext

import torch
from torch import Tensor

from trs_explorer.defences.beta import gradient_change
from trs_explorer.defences.support import batch_statistics_only, support_points
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, input_gradients, losses_of, norms, pair_mean, pairwise_cosine
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
) -> dict[str, Tensor]:
    """The TRS objective: cross-entropy + lambda_a * similarity + lambda_b * smoothness (paper, Eq. 1 and section 3.2).

    similarity: |cos| of the input gradients of per-example losses, mean over pairs and examples.
    smoothness: sum of two members' gradient norms at the support point, mean over pairs and examples; every member
    is in N-1 of the N(N-1)/2 pairs, so that is twice the mean over members.
    The last `support_fraction` of the batch moves to its support points, the rest stays clean (authors' code); both terms
    look at all of them, cross-entropy at x_ce only: the clean images, or adversarial ones. One support point serves all members.
    With batch norm, running averages take in the clean images of the half that moves, and no support point.
    delta grows linearly with progress in [0, 1], from delta_start (authors' code).
    Returns: "total" and its weighted terms, besides "cosine" (mean |cos| per pair) and "grad_norm" (the largest).
    """
    radius = delta_start + (delta - delta_start) * progress
    searching = lambda_b > 0 and radius > 0 and smoothness != "beta"
    moved = round(len(x) * support_fraction) if searching else 0
    kept = len(x) - moved
    members = ensemble.stacked()
    clean = members.arrange(x)
    points, clean_losses = clean, None
    if moved:
        moving = clean[kept:], y[kept:]
        support, clean_losses = support_points(members, *moving, delta=radius, steps=inner_steps, order=inner_order)
        points = torch.cat([clean[:kept], support])

    with batch_statistics_only(members) if moved else nullcontext():
        losses, gradients = input_gradients(members, points, y, create_graph=True)
    if x_ce is not x:
        ce = losses_of(members.member_logits(members.arrange(x_ce)), y).mean()
    else:
        ce = losses.mean() if clean_losses is None else torch.cat([losses[:, :kept], clean_losses], 1).mean()
    lengths = norms(gradients)
    cosine = pairwise_cosine(gradients if lambda_a else gradients.detach()).abs().mean(-1)
    terms = {"ce": ce, "similarity": lambda_a * pair_mean(cosine)}
    if lambda_b:
        if smoothness == "beta":
            roughness = gradient_change(ensemble, x, y, radius=radius, draws=inner_steps, generator=generator)
        else:
            roughness = lengths if smoothness == "norm" else lengths.square()
        terms["smoothness"] = lambda_b * 2 * roughness.mean()
    return {**with_total(terms), "cosine": cosine.detach(), "grad_norm": lengths.detach().max()}
