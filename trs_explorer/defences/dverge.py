"""DVERGE: each member is trained on images distilled from the other members, to be robust to their features."""

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.defences.feature_search import drawn_layer, feature_gradient
from trs_explorer.defences.support_search import batch_statistics_only
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, member_losses
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stacked import Stacked


def dverge(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    distill_eps: float,
    distill_steps: int,
    other: tuple[Images, Labels],
    epoch_generator: torch.Generator,
    x_ce: Images,
) -> dict[str, Tensor]:
    """Return the sum over members of their cross-entropy on the images distilled from each other member, mean over images.

    A member's loss depends on its own weights only. The feature layer is drawn once per epoch from those that the model declares
    (before their ReLU, as in the source, except for resnets, whose stages end with one).

    x, y: the source images, which distilled images resemble and whose labels they keep.
    distill_eps, distill_steps: the l-inf radius and the number of steps of the distillation.
    other: independently drawn images, whose features distilled images have, with their labels.
    epoch_generator: random numbers of the epoch.
    x_ce: with adversarial training, each member is also trained on these images; otherwise x.
    Source: Yang et al., "DVERGE: diversifying vulnerabilities for enhanced robust generation of ensembles", NeurIPS 2020,
    algorithm 1.
    """
    layer = drawn_layer(ensemble, epoch_generator)
    images = distilled(ensemble, x, other[0], layer=layer, eps=distill_eps, steps=distill_steps)
    members = len(ensemble)
    arranged = (stack := ensemble.stacked()).arrange(images.flatten(0, 1)).unflatten(0, (members, -1))
    batches = [
        [arranged[k + (k >= i)] for i in range(members)] for k in range(members - 1)
    ]  # for each member, images of its k-th other member
    if isinstance(stack, Stacked):  # all at once: no batch norm, which must not mix them
        batches = [[torch.cat(others) for others in zip(*batches, strict=True)]]
    losses = torch.cat([member_losses(stack.member_logits(batch), y.repeat(len(batch[0]) // len(y))) for batch in batches], 1)
    terms = {"diversity": losses.mean() * members * (members - 1)}
    if x_ce is not x:
        terms["ce"] = member_losses(stack.member_logits(stack.arrange(x_ce)), y).mean(-1).sum()
    return with_total(terms)


def distilled(
    ensemble: Ensemble, source: Images, target: Images, *, layer: str, eps: float, steps: int
) -> Float[Tensor, "member batch channel height width"]:
    """Return, for every member, images near `source` whose features at a layer are close to those of `target`.

    `steps` sign steps of size eps / steps that decrease the squared distance of the features, starting at source, with momentum 1
    on gradients scaled to L1 length 1. Running averages of batch norm do not include these images.

    source, target: two batches of the same size.
    layer: the feature layer.
    eps: the l-inf radius around source; results are in [0, 1].
    Source: Yang et al. 2020 and their code.
    """
    members = ensemble.stacked()
    source, target = members.arrange(source), members.arrange(target)
    with batch_statistics_only(ensemble), ensemble.arithmetic(source.device):
        gradient_at = feature_gradient(members, target, layer)
        point = source.expand(len(ensemble), *source.shape)
        momentum = torch.zeros_like(point)
        for _ in range(steps):
            gradient = gradient_at(point)
            l1_norm = gradient.flatten(2).abs().sum(-1).clamp_min(torch.finfo(gradient.dtype).tiny)
            momentum = momentum + gradient / l1_norm[..., None, None, None]
            shift = (point - eps / steps * momentum.sign() - source).clamp(-eps, eps)
            point = (source + shift).clamp(0, 1)
    return members.restore(point)
