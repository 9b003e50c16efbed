"""Normalisation as a layer."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std, as a member's first layer.

    It belongs to the model, not to the data, so that an attack's eps and TRS's delta are in raw [0, 1] pixels for every data set.
    mean and std are buffers: they are moved and saved with the weights, but not trained.

    mean, std: one number for all channels, or one per channel.
    Raises: ValueError unless every std is positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))
        if not bool((self.std > 0).all()):
            raise ValueError(f"every std must be > 0, got {std}")

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Return the normalised images."""
        return (x - self.mean) / self.std
