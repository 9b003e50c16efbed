"""DVERGE: members that learn each other's features of one image, put into another, as harmless."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.defences.support import batch_statistics_only
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, Members, losses_of
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.features import feature_layers, features
from trs_explorer.models.stacked import Stacked, at_least_float32


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
    """Sum over members of their loss: cross-entropy on what is distilled from each other member, mean over images.

    x, y: the sources, from which the distilled images hardly differ and whose labels they keep. other: independently drawn
    images, whose features at a layer they have; the layer is drawn from those that the model declares, once an epoch (before
    their ReLU as there, but for resnets, whose stages end with one).
    A member's loss touches its own weights only. Where x_ce is not x (adversarial training) each also learns these.
    Source: Yang et al., "DVERGE: diversifying vulnerabilities for enhanced robust generation of ensembles", NeurIPS 2020,
    algorithm 1.
    """
    layers = feature_layers(ensemble)
    layer = layers[int(torch.randint(len(layers), (), generator=epoch_generator))]
    images = distilled(ensemble, x, other[0], layer=layer, eps=distill_eps, steps=distill_steps)
    members = len(ensemble)
    arranged = (stack := ensemble.stacked()).arrange(images.flatten(0, 1)).unflatten(0, (members, -1))
    turns = [[arranged[k + (k >= i)] for i in range(members)] for k in range(members - 1)]  # to each its k-th other's
    if isinstance(stack, Stacked):  # without batch norm, which must not mix them, all at once
        turns = [[torch.cat(others) for others in zip(*turns, strict=True)]]
    losses = torch.cat([losses_of(stack.member_logits(shown), y.repeat(len(shown[0]) // len(y))) for shown in turns], 1)
    terms = {"diversity": losses.mean() * members * (members - 1)}
    if x_ce is not x:
        terms["ce"] = losses_of(stack.member_logits(stack.arrange(x_ce)), y).mean(-1).sum()
    return with_total(terms)


def distilled(
    ensemble: Ensemble, source: Images, target: Images, *, layer: str, eps: float, steps: int
) -> Float[Tensor, "member batch channel height width"]:
    """For every member images within l-inf distance eps of source that it sees, at a layer, much as it sees target.

    steps sign steps of eps / steps down the squared distance of the features, with momentum 1 of gradients of L1 length 1,
    from source itself; in [0, 1]. Running averages of batch norm do not take them in.
    Source: Yang et al. 2020 and their code.
    """
    members = ensemble.stacked()
    source, target = members.arrange(source), members.arrange(target)
    with batch_statistics_only(ensemble), ensemble.arithmetic(source.device):
        slope = _slope(members, target, layer)
        point = source.expand(len(ensemble), *source.shape)
        momentum = torch.zeros_like(point)
        for _ in range(steps):
            gradient = slope(point)
            length = gradient.flatten(2).abs().sum(-1).clamp_min(torch.finfo(gradient.dtype).tiny)
            momentum = momentum + gradient / length[..., None, None, None]
            shift = (point - eps / steps * momentum.sign() - source).clamp(-eps, eps)
            point = (source + shift).clamp(0, 1)
    return members.restore(point)


def _slope(members: Members, target: Images, layer: str) -> Callable[[Tensor], Tensor]:
    """How the squared distance of each member's features from those of target changes with its own images, up to a factor."""
    if isinstance(members, Stacked):  # all but (leaky) ReLUs is linear: no graph is needed
        front = members.front(layer)
        with torch.no_grad():
            goal = front.linearize(target).logits

        def by_hand(point: Tensor) -> Tensor:
            with torch.no_grad():
                piece = front.linearize(list(point))
            return piece.backward(piece.logits - goal)

        return by_hand
    with torch.no_grad():
        wanted = [at_least_float32(features(member, target, layer)) for member in members.members]

    def by_graph(point: Tensor) -> Tensor:
        leaf = point.detach().requires_grad_()
        seen = zip(members.members, leaf, wanted, strict=True)
        apart = torch.stack([(at_least_float32(features(member, x, layer)) - goal).square().sum() for member, x, goal in seen])
        return torch.autograd.grad(apart.sum(), leaf)[0]

    return by_graph
