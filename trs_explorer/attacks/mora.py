"""MORA: follows the gradients of those members of an ensemble whose answers can still be changed."""

from functools import partial
from typing import Unpack, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.attacks.ball import direction
from trs_explorer.attacks.losses import Outputs, PerExample, cross_entropy, margin
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.pgd import projected_ascent
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stacked import at_least_float32

MOMENTUM = 0.75  # share of a step that is new; the rest is the step before
LARGEST_LEAD = 10.0  # a larger lead of a member's answer is scaled down to it: beyond, its softmax hardly has a slope
TINY = 1e-12


def mora(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    loss: str = "ce",
    members_share: float = 0.5,
    **options: Unpack[CommonOptions],
) -> Images:
    """The iterate that fools the ensemble by the largest margin among all visited, over all restarts; x where none does.

    Maximises a loss of a weighted sum of the members' logits. A member's weight is how much its logit of the strongest
    wrong class changes the ensemble's log-odds: little for members that are confident, and 0 for members that are wrong already.
    (For a boosted sum of logits it maximises the loss of the ensemble's logits itself.) A model without `member_logits` counts
    as an ensemble of one. The step falls from 2 eps to 0; a quarter of the step before is added to it.

    - loss: "ce", the cross-entropy, or "margin".
    - members_share: share of the members' sum in what is maximised; the rest are the ensemble's outputs, divided by their lead.
      .9 is the authors'; with cross-entropy .5 and .2 fool far more (mnist-dverge at eps .15, 200 images, 100 steps, one start:
      108 remain correct at .9, 66 at .5, 64 at .2; mnist-adp 70, 43 and 5).

    Everything else is as for `pgd`.
    Source: Yu, Gao, Xu, "MORA: improving ensemble robustness evaluation with model-reweighing attack", NeurIPS 2022; our
    reading for mean-softmax ensembles.
    """
    if loss not in MORA_LOSSES:
        raise ValueError(f"loss must be one of {', '.join(MORA_LOSSES)}, got {loss!r}")
    if not 0 <= members_share <= 1:
        raise ValueError(f"members_share must lie in [0, 1], got {members_share}")
    settings = AttackOptions(eps=eps, steps=steps, step_size=eps, restarts=restarts, random_start=True, **options)

    def update(gradient: Images, step_before: Images, step: int) -> tuple[Images, Images]:
        size = 2 * eps * (1 - step / steps)
        new = MOMENTUM if step else 1.0
        shift = new * size * direction(gradient, settings.norm) + (1 - new) * step_before
        return shift, shift

    return projected_ascent(model, x, y, settings, update, objective=partial(MORA_LOSSES[loss], members_share=members_share))


def reweighed_margin(model: nn.Module, x: Images, y: Labels, *, members_share: float = 0.9) -> tuple[PerExample, Outputs]:
    """The margin of the members' weighted sum plus a share of the ensemble's own margin; and the ensemble's outputs."""
    members, ensemble, outputs = _reweighed(model, x, y)
    if members is None:
        return margin(outputs, y), outputs
    return members_share * margin(members, y) + (1 - members_share) * margin(ensemble, y), outputs


def reweighed_cross_entropy(model: nn.Module, x: Images, y: Labels, *, members_share: float = 0.9) -> tuple[PerExample, Outputs]:
    """The cross-entropy of the members' weighted sum and a share of the ensemble's outputs; and the ensemble's outputs."""
    members, ensemble, outputs = _reweighed(model, x, y)
    mixed = ensemble if members is None else members_share * members + (1 - members_share) * ensemble
    return cross_entropy(mixed, y), outputs


def _reweighed(model: nn.Module, x: Images, y: Labels) -> tuple[Outputs | None, Outputs, Outputs]:
    """The members' weighted sum (None for a sum of logits), the ensemble's outputs divided by their lead, and the outputs."""
    if hasattr(model, "member_logits"):
        voters = cast(Ensemble, model)
        logits = at_least_float32(voters.member_logits(x))
        outputs = voters.vote(logits)
    else:
        outputs = at_least_float32(model(x))
        logits = outputs[None]
    ensemble = outputs / lead(outputs.detach()).clamp_min(TINY)[:, None]
    if getattr(model, "voting", "") == "sum":  # of logits: confident or wrong members keep their gradients
        return None, ensemble, outputs
    with torch.no_grad():
        largest = lead(logits).amax(0)
        scale = (largest / LARGEST_LEAD).clamp_min(1)[:, None]
        weight = weights((logits / scale).softmax(-1), y, getattr(model, "vote_weights", None))
    return (weight[..., None] * logits / scale).sum(0), ensemble, outputs


MORA_LOSSES = {"margin": reweighed_margin, "ce": reweighed_cross_entropy}


def weights(
    p: Float[Tensor, "member batch class"], y: Labels, votes: Float[Tensor, " member"] | None = None
) -> Float[Tensor, "member batch"]:
    """Each member's weight: the slope of log P_j - log P_y in its logit of j, scaled to sum to 1.

    P is the members' mean probability, j its largest class but y. The weight is 0 for members whose answer is not y, unless
    that is so for all of them.

    p: the members' probabilities. votes: the members' weights in the mean, if they are not equal (boosted ensembles); a member
    without a vote has weight 0.
    """
    share = None if votes is None else (votes / votes.sum())[:, None]
    mean = p.mean(0) if share is None else (share[..., None] * p).sum(0)
    j = mean.scatter(1, y[:, None], -1.0).argmax(-1)

    def at(q: Tensor, c: Tensor) -> Tensor:
        return q.gather(-1, c.expand(q.shape[:-1])[..., None])[..., 0]

    p_j, p_y = at(p, j), at(p, y)
    slope = p_j * ((1 - p_j) / at(mean, j).clamp_min(TINY) + p_y / at(mean, y).clamp_min(TINY)) + TINY
    slope = slope if share is None else share * slope
    right = p.argmax(-1) == y
    right = right if share is None else right & (share > 0)
    slope = slope * (right | ~right.any(0))
    return slope / slope.sum(0)


def lead(outputs: Float[Tensor, "*any batch class"]) -> Float[Tensor, "*any batch"]:
    """The largest output minus the second largest."""
    top = outputs.topk(2, dim=-1).values
    return top[..., 0] - top[..., 1]
