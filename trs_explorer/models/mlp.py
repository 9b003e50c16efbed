"""A small sine network for data in the plane."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.models.normalize import Normalize


class Sine(nn.Module):
    """sin(scale x), element by element."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Float[Tensor, "batch unit"]) -> Float[Tensor, "batch unit"]:
        """Return the sine, of the same shape."""
        return torch.sin(self.scale * x)


def mlp(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build two layers of 64 units with sine activations, the first as sin(3 (W x + b)); takes images of any shape, flattened.

    Its normalisation maps [0, 1] to [-2, 2], the coordinates of the plane.
    Source: our choice. Sines make the input gradient smooth, so its change (beta) can be trained; the gradient of a ReLU net is
    piecewise constant. The scale 3 lets a boundary bend within the data's window.
    """
    layers = nn.Sequential()
    layers.add_module("normalize", Normalize(0.5, 0.25))
    layers.add_module("flatten", nn.Flatten())
    layers.add_module("fc1", nn.Linear(math.prod(shape), 64))
    layers.add_module("sine1", Sine(3.0))
    layers.add_module("fc2", nn.Linear(64, 64))
    layers.add_module("sine2", Sine())
    layers.add_module("fc3", nn.Linear(64, classes))
    layers.feature_layers = ("fc1", "fc2")  # type: ignore[assignment]  # torch only knows tensors and modules
    return layers
