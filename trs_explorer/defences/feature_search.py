"""What searches for images by their features share: the layer of the epoch, and the gradient of the distance of features."""

from collections.abc import Callable

import torch
from torch import Tensor

from trs_explorer.gradients import Images, Members
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.features import feature_layers, features
from trs_explorer.models.linear_piece import LinearPiece
from trs_explorer.models.stacked import Stacked, at_least_float32


def drawn_layer(ensemble: Ensemble, generator: torch.Generator) -> str:
    """Return one of the feature layers that all members declare, each with the same probability."""
    layers = feature_layers(ensemble)
    return layers[int(torch.randint(len(layers), (), generator=generator))]


def feature_gradient(members: Members, target: Images, layer: str) -> Callable[[Tensor], Tensor]:
    """Return a function: the gradient, up to a factor, of each member's squared feature distance from target, at its images."""
    if isinstance(members, Stacked):  # piecewise linear: no graph is needed
        front = members.front(layer)
        with torch.no_grad():
            goal = LinearPiece(front, target).logits

        def closed_form(point: Tensor) -> Tensor:
            with torch.no_grad():
                piece = LinearPiece(front, list(point))
            return piece.vjp(piece.logits - goal)

        return closed_form
    with torch.no_grad():
        goals = [at_least_float32(features(member, target, layer)) for member in members.members]

    def by_autograd(point: Tensor) -> Tensor:
        leaf = point.detach().requires_grad_()
        triples = zip(members.members, leaf, goals, strict=True)
        distances = [(at_least_float32(features(member, x, layer)) - goal).square().sum() for member, x, goal in triples]
        return torch.autograd.grad(torch.stack(distances).sum(), leaf)[0]

    return by_autograd
