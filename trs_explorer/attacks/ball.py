"""The images that an attack may visit: an eps-ball whose bounds no rounding crosses, and directions in its norm."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trs_explorer.attacks.noise import random_shift
from trs_explorer.gradients import Images
from trs_explorer.models.stacked import at_least_float32


class Ball:
    """The images within eps of each x, in the maximum norm or in L2, that lie in [0, 1].

    An attack computes its points in float32 at least, because points kept in bfloat16 would not move at all by steps below .002.
    The model and the caller get `as_images(point)`, in the images' own type. Neither rounding leaves the ball: |image - x| <= eps
    holds exactly, for example when computed in float64.
    """

    def __init__(self, x: Images, eps: float, norm: str) -> None:
        self.x, self.eps, self.norm, self.dtype = at_least_float32(x), eps, norm, x.dtype
        if norm == "linf":
            self.low, self.high = (at_least_float32(_bound(x, shift)) for shift in (-eps, eps))
        # L2 radius less what norms and sums may be off by: a few roundings of their own size, and half the distance of two
        # numbers below 1 for each pixel.
        pixel = torch.finfo(self.x.dtype).eps / 4
        self.safe_eps = max(0.0, eps * (1 - 2**-18) - math.sqrt(math.prod(x.shape[1:])) * pixel)

    def __getitem__(self, rows: Tensor) -> "Ball":
        """The ball around some of the images."""
        part = copy.copy(self)
        part.x = self.x[rows]
        if self.norm == "linf":
            part.low, part.high = self.low[rows], self.high[rows]
        return part

    def project(self, point: Images) -> Images:
        """The nearest point of the ball in its norm, then clipped to [0, 1].

        Clipping never leaves the ball: x itself lies in [0, 1], so each pixel only moves towards x.
        """
        if self.norm == "linf":
            return point.clamp(self.low, self.high)
        shift = point - self.x
        length = torch.linalg.vector_norm(shift.flatten(1), dim=-1)
        scale = (self.safe_eps / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        return (self.x + per_image(scale, shift) * shift).clamp(0, 1)

    def project_(self, point: Images) -> Images:
        """`project`, in place where possible: a loop that keeps allocating makes the system hand out the same memory again."""
        return point.clamp_(self.low, self.high) if self.norm == "linf" else self.project(point)

    def as_images(self, point: Images) -> Images:
        """The point in the images' own type, still in the ball: the same tensor unless that type is float16 or bfloat16."""
        if point.dtype == self.dtype:
            return point
        rounded = point.to(self.dtype)
        if self.norm == "linf":
            return rounded  # the bounds are numbers of that type: rounding does not cross them
        farther = (at_least_float32(rounded) - self.x).abs() > (point - self.x).abs()
        return torch.where(farther, torch.nextafter(rounded, self.x.to(self.dtype)), rounded)

    def random_point(self, seeds: list[int]) -> Images:
        """A point drawn uniformly from the ball, then clipped to [0, 1], for every image from its own seed."""
        return self.project(self.x + random_shift(self.x, seeds, eps=self.eps, norm=self.norm))


def _bound(x: Images, shift: float) -> Images:
    """The images x + shift, clipped to [0, 1] and rounded towards x: as real numbers no farther from x than |shift|."""
    exact = x.to("cpu" if x.device.type == "mps" else x.device, torch.float64)  # which Apple's GPUs do not have
    edge = (exact + shift).clamp(0, 1).to(x.dtype)
    farther = (edge.double() - exact).abs() > abs(shift)
    return torch.where(farther, torch.nextafter(edge, exact.to(x.dtype)), edge).to(x.device)


def direction(gradient: Images, norm: str) -> Images:
    """The step of length 1 along which a linear loss grows most: the sign (linf), or the unit vector (l2).

    A gradient of 0 gives 0. In l2 it is divided by its largest entry first: tiny gradients keep their direction.
    """
    if norm == "linf":
        return gradient.sign()
    flat = gradient.flatten(1)
    flat = flat / flat.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    return F.normalize(flat, dim=-1).view_as(gradient)


def per_image(value: Tensor, images: Tensor) -> Tensor:
    """One number per image, in a shape that broadcasts over images."""
    return value.view(-1, *[1] * (images.ndim - 1))
