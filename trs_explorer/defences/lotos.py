"""LOTOS: what a layer of one member stretches most, the same layer of the other members must not."""

import torch
from torch import Tensor

from trs_explorer.batch_noise import shared
from trs_explorer.defences.terms import with_total
from trs_explorer.gradients import Images, Labels, member_losses
from trs_explorer.models.affine import SameLayer, affine_layers, lengths, linear_map
from trs_explorer.models.ensemble import Ensemble

RANK_DECREMENT = 0.01  # by which each further singular vector weighs less (authors' code)


def lotos(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    lambda_lotos: float,
    mal: float,
    spectral_clip: float,
    top_k: int,
    power_steps: int,
    generator: torch.Generator,
    x_ce: Images,
) -> dict[str, Tensor]:
    """Return mean cross-entropy + lambda_lotos * mean `overlap` over the affine layers. The norms are clipped by `clip_norms`.

    Every convolution and linear layer counts; members must be alike. Batch norm and other layers are left as they are.

    lambda_lotos: the weight of the overlap.
    mal: a length up to this share of spectral_clip costs nothing: the paper's "maximum allowed length", for its clip of 1.
    spectral_clip: to which the layers' spectral norms are clipped, see `clip_norms`.
    top_k: the number of singular vectors of each layer.
    power_steps: of the iteration that finds them anew in each step, see `top_vectors`.
    generator: of its start, the same for all parts of a batch.
    x_ce: the images for cross-entropy.
    Source: Ebrahimpour-Boroojeny, Sundaram and Chandrasekaran, "LOTOS: layer-wise orthogonalization for training robust
    ensembles" (arXiv:2410.05136; ICLR 2025 as "Training robust ensembles requires rethinking Lipschitz continuity"), and their
    code. It differs in that vectors start at random in each step (theirs go on from the last step's), in that linear layers
    count too (theirs: convolutions), and in that the sum over members, pairs and layers is a mean (with cross-entropies summed
    over N members, their weight of .05 per pair and layer is a lambda_lotos of .05 * (N - 1) * number of layers here).
    """
    layers = affine_layers(ensemble, x)
    stack = ensemble.stacked()
    ce = member_losses(stack.member_logits(stack.arrange(x_ce)), y).mean()
    noise = shared(generator)
    overlaps = [overlap(layer, mal * spectral_clip, top_k=top_k, steps=power_steps, generator=noise) for layer in layers]
    return with_total({"ce": ce, "overlap": lambda_lotos * torch.stack(overlaps).mean()})


def overlap(layer: SameLayer, allowed: float, *, top_k: int, steps: int, generator: torch.Generator) -> Tensor:
    """Return by how much a layer of one member stretches another member's top singular vectors beyond `allowed`, or 0.

    The mean over ordered pairs of members, and over the vectors with weights 1, .99, .98 and so on.
    """
    owners = layer.top_vectors(top=top_k, steps=steps, generator=generator)
    vectors, members = torch.cat(owners), len(layer.layers)
    excess = torch.stack([(lengths(linear_map(one, vectors)) - allowed).relu() for one in layer.layers])
    excess = excess.unflatten(1, (members, top_k))  # [member, owner of the vectors, vector]
    weights = 1 - RANK_DECREMENT * torch.arange(top_k, device=excess.device, dtype=excess.dtype)
    of_pairs: Tensor = excess @ (weights / weights.sum())
    return of_pairs.flatten()[1:].view(members - 1, members + 1)[:, :-1].mean()  # without the diagonal


def clip_norms(ensemble: Ensemble, x: Images, *, spectral_clip: float, power_steps: int, generator: torch.Generator) -> None:
    """Clip every affine layer's spectral norm, after each step of the optimiser.

    Of each layer one vector is found that it stretches most. If its length s exceeds the clip, the weights get the smallest
    change (in their Euclidean length) after which it stretches this vector to the clip: for a linear layer A and the vector v it
    is A - (s - clip) u v^T with u = A v / s. Directions that a layer stretches less keep their lengths; scaling the whole layer
    would shorten all.

    One vector per step does not always find all that are too long: norms end up to some per cent above the clip.

    x: images, for the shapes.
    spectral_clip: the largest norm.
    power_steps: of the iteration that finds the vector.
    generator: of its start.
    Source: Ebrahimpour-Boroojeny, Telgarsky and Sundaram, "Spectrum extraction and clipping for implicitly linear layers",
    AISTATS 2024 ("FastClip"), as LOTOS uses it. Ours: a step of exact size instead of their gradient steps of a fixed one, after
    every step instead of every 100.
    """
    for same in affine_layers(ensemble, x):
        vectors = same.top_vectors(top=1, steps=power_steps, generator=generator)
        for layer, vector in zip(same.layers, vectors, strict=True):
            length = lengths(linear_map(layer, vector))[0]
            (direction,) = torch.autograd.grad(length, layer.weight)
            excess = (length.detach() - spectral_clip).relu()
            with torch.no_grad():
                layer.weight.sub_(direction * (excess / direction.square().sum()))
