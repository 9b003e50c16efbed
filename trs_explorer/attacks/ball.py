"""The images that an attack may visit: a ball whose bounds no rounding crosses."""

import copy
import math

import torch
from torch import Tensor

from trs_explorer.attacks.common import per_image, random_shift
from trs_explorer.gradients import Images
from trs_explorer.models.stacked import at_least_float32


class Ball:
    """The images within eps of each x, in the maximum norm or in L2, that lie in [0, 1].

    An attack computes its points in float32 at least and gives the model, and its caller, `shown(point)` in the images' own
    type. Points kept in bfloat16 would not move at all by steps below .002. Neither rounding leaves the ball: |shown - x| <= eps
    holds exactly, for example when computed in float64.
    """

    def __init__(self, x: Images, eps: float, norm: str) -> None:
        self.x, self.eps, self.norm, self.dtype = at_least_float32(x), eps, norm, x.dtype
        if norm == "linf":
            self.low, self.high = (at_least_float32(bound(x, shift)) for shift in (-eps, eps))
        # What norms and sums may be off by: a few roundings of their own size, and half the distance of two numbers below 1
        # for each pixel.
        pixel = torch.finfo(self.x.dtype).eps / 4
        self.reach = max(0.0, eps * (1 - 2**-18) - math.sqrt(math.prod(x.shape[1:])) * pixel)

    def __getitem__(self, rows: Tensor) -> "Ball":
        """The ball around some of the images."""
        part = copy.copy(self)
        part.x = self.x[rows]
        if self.norm == "linf":
            part.low, part.high = self.low[rows], self.high[rows]
        return part

    def project(self, point: Images) -> Images:
        """The nearest point of the ball of radius eps (in its norm), then cut to [0, 1].

        The cut never leaves the ball: x itself lies in [0, 1], so that each pixel only moves towards x.
        """
        if self.norm == "linf":
            return point.clamp(self.low, self.high)
        shift = point - self.x
        length = torch.linalg.vector_norm(shift.flatten(1), dim=-1)
        scale = (self.reach / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        return (self.x + per_image(scale, shift) * shift).clamp(0, 1)

    def project_(self, point: Images) -> Images:
        """`project`, in place where it can: a loop that keeps allocating makes the system hand out the same memory again."""
        return point.clamp_(self.low, self.high) if self.norm == "linf" else self.project(point)

    def shown(self, point: Images) -> Images:
        """The point of the ball in the images' own type: the same tensor, unless that is float16 or bfloat16."""
        if point.dtype == self.dtype:
            return point
        rounded = point.to(self.dtype)
        if self.norm == "linf":
            return rounded  # the bounds are numbers of that type: rounding does not cross them
        beyond = (at_least_float32(rounded) - self.x).abs() > (point - self.x).abs()
        return torch.where(beyond, torch.nextafter(rounded, self.x.to(self.dtype)), rounded)

    def start(self, seeds: list[int]) -> Images:
        """A point drawn uniformly from the ball, then cut to [0, 1], for every image from its own seed."""
        return self.project(self.x + random_shift(self.x, seeds, eps=self.eps, norm=self.norm))


def bound(x: Images, shift: float) -> Images:
    """The images x + shift, cut to [0, 1] and rounded towards x: as real numbers no farther from x than |shift|."""
    exact = x.to("cpu" if x.device.type == "mps" else x.device, torch.float64)  # which Apple's GPUs do not have
    edge = (exact + shift).clamp(0, 1).to(x.dtype)
    beyond = (edge.double() - exact).abs() > abs(shift)
    return torch.where(beyond, torch.nextafter(edge, exact.to(x.dtype)), edge).to(x.device)
