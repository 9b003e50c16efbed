"""MORA: follows those members of an ensemble whose answers can still be moved."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.attacks.common import direction
from trs_explorer.attacks.losses import Outputs, PerExample, margin
from trs_explorer.attacks.steps import ascend
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stacked import at_least_float32

MOMENTUM = 0.75
MOST_SURE = 10.0  # a larger margin of a member is scaled down to it: beyond, its softmax hardly has a slope
SHARE = 0.9  # of the members' part; the rest is the ensemble's own margin
TINY = 1e-12


def mora(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """The iterate that fools the ensemble by the largest margin among all visited, over all restarts; x where none does.

    Shapes, units, generator, early_stop, for_others, errors: as for `pgd`. Climbs the margin of a weighted sum of the members'
    logits: the weights are how much each logit of the strongest wrong class moves the ensemble's log-odds, which is little for
    members that are sure; members that are wrong already get none. (Of a boosted sum of logits it climbs the margin itself.)
    The step falls from 2 eps to 0; a quarter of the step before is added to it. A model without `member_logits` counts as an
    ensemble of one.
    Source: Yu, Gao, Xu, "MORA: improving ensemble robustness evaluation with model-reweighing attack", NeurIPS 2022; our
    reading for mean-softmax ensembles, with the margin in place of its choice of losses.
    """

    def move(gradient: Images, memory: Images, step: int) -> tuple[Images, Images]:
        size = 2 * eps * (1 - step / steps)
        share = MOMENTUM if step else 1.0
        shift = share * size * direction(gradient, norm) + (1 - share) * memory
        return shift, shift

    return ascend(
        model,
        x,
        y,
        move,
        eps=eps,
        steps=steps,
        step_size=eps,
        restarts=restarts,
        random_start=True,
        norm=norm,
        targeted=targeted,
        early_stop=early_stop,
        generator=generator,
        objective=reweighed,
        for_others=for_others,
    )


def reweighed(model: nn.Module, x: Images, y: Labels) -> tuple[PerExample, Outputs]:
    """The margin of the members' weighted sum, with a share of the ensemble's own; and the ensemble's outputs."""
    if hasattr(model, "member_logits"):
        logits = at_least_float32(model.member_logits(x))
        outputs = model.vote(logits)
        if getattr(model, "voting", "") == "sum":  # of logits: then no member is faint for being sure, or mute for being wrong
            return margin(outputs, y), outputs
    else:
        outputs = at_least_float32(model(x))
        logits = outputs[None]
    with torch.no_grad():
        sure = lead(logits).amax(0)
        scale = (sure / MOST_SURE).clamp_min(1)[:, None]
        weight = weights((logits / scale).softmax(-1), y, getattr(model, "vote_weights", None))
    members = (weight[..., None] * logits / scale).sum(0)
    own = outputs / lead(outputs.detach()).clamp_min(TINY)[:, None]
    return SHARE * margin(members, y) + (1 - SHARE) * margin(own, y), outputs


def weights(
    p: Float[Tensor, "member batch class"], y: Labels, votes: Float[Tensor, " member"] | None = None
) -> Float[Tensor, "member batch"]:
    """How fast log P_j - log P_y grows with each member's logit of j, adding up to 1; P is the mean, j its largest but y.

    0 for members whose answer is not y, unless that is so for all. votes: the members' weights in the mean, if they are not
    the same (boosted ensembles); a member without a vote has weight 0.
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
    """How far the largest output is before the second."""
    top = outputs.topk(2, dim=-1).values
    return top[..., 0] - top[..., 1]
