"""The plane of a slice: along the loss gradients of an ensemble's models, or through images; and the models' names."""

import torch
from jaxtyping import Float
from torch import Tensor

from trs_explorer.explore.planes import Image, Plane, along_gradient, loss_directions, three_images, two_gradients
from trs_explorer.models.ensemble import Ensemble


def model_names(members: int) -> list[str]:
    """Return the names of an ensemble's models in the order of their numbers: F1, F2, ... and the ensemble."""
    return [*(f"F{i + 1}" for i in range(members)), "ensemble"]


def the(model: str) -> str:
    """Return a model's name as it appears within a sentence."""
    return "the ensemble" if model == "ensemble" else model


def loss_name(model: str) -> str:
    """Return the name of a model's loss, for an axis along its gradient."""
    return f"the loss of {the(model)}"


def gradient_plane(ensemble: Ensemble, x: Image, y: int, *, first: int, second: int | None = None, seed: int = 0) -> Plane:
    """Return the plane through x along the loss gradient of one model, and of a second one or a random direction.

    - x, y: the image, on the ensemble's device, and its class.
    - first, second: numbers of models, len(ensemble) for the ensemble itself. second None: a random direction.
    - seed: of random directions.
    """
    names = [loss_name(name) for name in model_names(len(ensemble))]
    gradients = loss_directions(ensemble, x[None], torch.tensor([y], device=x.device))
    if second is None:
        return along_gradient(gradients[first], x, name=names[first], seed=seed)
    return two_gradients(gradients[first], gradients[second], x, names=(names[first], names[second]), seed=seed)


def plane_of_images(
    x: Image, others: Float[Tensor, "2 channel height width"], *, names: tuple[str, str, str], seed: int = 0
) -> tuple[Plane, Float[Tensor, "3 2"]]:
    """Return the plane through x and two other images, and the places of the three in it, on the CPU."""
    plane = three_images(x, *others, names=names, seed=seed)
    return plane, plane.coordinates(torch.cat([x[None], others])).cpu()
