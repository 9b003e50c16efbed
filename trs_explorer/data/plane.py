"""Two-class sets in the plane, whose decision regions can be drawn as a whole. Computed, without files.

Points of the square [-2, 2] x [-2, 2] are scaled to the unit square, because every model takes [0, 1]: a distance of 1 in
the plane is 0.25 in pixels. Labels alternate, so the first n examples of any set are balanced.
"""

import math

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

HALF_SIDE = 2.0  # the square is [-HALF_SIDE, HALF_SIDE] in both directions
SIZES = {True: 300, False: 400}  # number of training examples; of test examples

Points = Float32[Tensor, "n 2"]
Plane = Float32[Tensor, "n 1 1 2"]
Split = tuple[Plane, Int64[Tensor, " n"]]


def to_unit(points: Points) -> Plane:
    """Points of the plane as images of 1 x 1 x 2 pixels in [0, 1]: u = (p + 2) / 4, clamped."""
    return ((points + HALF_SIDE) / (2 * HALF_SIDE)).clamp(0, 1).view(-1, 1, 1, 2)


def to_plane(x: Plane) -> Points:
    """The inverse of `to_unit`, for points inside the square."""
    return x.view(-1, 2) * (2 * HALF_SIDE) - HALF_SIDE


def bars(train: bool, data_dir: str, seed: int) -> Split:
    """Two vertical bars: (-0.9 or 0.9, plus 0.12 n; uniform in [-0.55, 0.55]), n standard normal; label 1 on the right.

    data_dir is not used. Our choice: the gap is wide, so many classifiers fit it, whose gradients may differ.
    """
    y, generator = _labels(train, seed)
    across = (2 * y - 1) * 0.9 + 0.12 * torch.randn(len(y), generator=generator)
    along = 0.55 * (2 * torch.rand(len(y), generator=generator) - 1)
    return to_unit(torch.stack([across, along], dim=1)), y


def moons(train: bool, data_dir: str, seed: int) -> Split:
    """Two interleaved half circles of radius 1, with normal noise of 0.1 in both directions; label 1 is the lower one.

    data_dir is not used. Our choice of centres, (-0.5, -0.25) and (0.5, 0.25): the set is symmetric about the origin.
    """
    y, generator = _labels(train, seed)
    angle = math.pi * torch.rand(len(y), generator=generator)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    points = torch.where(y[:, None] == 1, -upper, upper)
    return to_unit(points + 0.1 * torch.randn(points.shape, generator=generator)), y


def circles(train: bool, data_dir: str, seed: int) -> Split:
    """A disc of radius 0.6 (label 0) inside a ring of radii 1.2 to 1.6 (label 1), each uniform in area, no noise.

    data_dir is not used. Our choice: the classes are 0.6 apart, and every direction leads from some point to the other class.
    """
    y, generator = _labels(train, seed)
    angle = 2 * math.pi * torch.rand(len(y), generator=generator)
    share = torch.rand(len(y), generator=generator)
    radius = torch.where(y == 1, (1.2**2 + share * (1.6**2 - 1.2**2)).sqrt(), 0.6 * share.sqrt())
    return to_unit(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)), y


def _labels(train: bool, seed: int) -> tuple[Int64[Tensor, " n"], torch.Generator]:
    """Alternating labels, and the split's generator: training and test points are independent."""
    return torch.arange(SIZES[train]) % 2, torch.Generator().manual_seed(2 * seed + (0 if train else 1))
