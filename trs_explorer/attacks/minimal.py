"""What attacks share that look for the smallest change: the best image so far, and the search for the weight c."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.attacks.common import per_image
from trs_explorer.attacks.steps import LOOK_EVERY
from trs_explorer.gradients import Images

PerExample = Float[Tensor, " rows"]
MOST = 1e10  # c beyond it says nothing


def hinge(gap: PerExample, confidence: float) -> PerExample:
    """How much is missing until the model is wrong by `confidence`."""
    return (confidence - gap).clamp_min(0)


class Search:
    """The nearest image that fools the model, per example, over several values of c.

    x_adv: that image; x where there is none.  weight: each example's c.
    """

    def __init__(self, x: Images, *, c: float, steps: int, searches: int, confidence: float, lr: float, early_stop: bool) -> None:
        """Raises ValueError for options out of range."""
        for name, value, least in (("c", c, 0), ("lr", lr, 0), ("confidence", confidence, -math.ulp(0.0))):
            if not math.isfinite(value) or value <= least:
                raise ValueError(f"{name} must be finite and {'>' if least == 0 else '>='} 0, got {value}")
        for name, count in (("steps", steps), ("searches", searches)):
            if count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
        self.early_stop = early_stop
        self.everyone = torch.arange(len(x), device=x.device)
        self.x_adv = x.detach().clone()
        self.distance = torch.full((len(x),), torch.inf, device=x.device)
        self.weight = torch.full((len(x),), float(c), device=x.device)
        self.low, self.high = torch.zeros_like(self.weight), torch.full_like(self.weight, torch.inf)
        self.fell = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def begin(self) -> Int[Tensor, " rows"]:
        """Those for whom this value of c is to be tried."""
        self.fell.zero_()
        return self.everyone[self.distance.isinf()] if self.early_stop else self.everyone

    def offer(self, rows: Tensor, images: Images, gap: PerExample, distance: PerExample) -> None:
        """Keep images that fool the model (gap > 0) and are nearer than all before. An output with NaN fools nobody."""
        fools = gap > 0
        self.fell[rows] |= fools
        before = self.distance[rows]
        nearer = fools & (distance < before)
        self.x_adv[rows] = images.where(per_image(nearer, images), self.x_adv[rows])
        self.distance[rows] = distance.where(nearer, before)

    def leave(self, rows: Tensor, step: int, *parts: Tensor) -> tuple[Tensor, ...]:
        """Rows and parts, every few steps without those that may leave because something fools the model."""
        if not self.early_stop or step % LOOK_EVERY:
            return rows, *parts
        stay = self.distance[rows].isinf()
        return tuple(part[stay] for part in (rows, *parts))

    def end(self) -> None:
        """The next c: ten times as much until something fools, then halfway from the most that did not to the least that did."""
        self.high = self.weight.where(self.fell & (self.weight < self.high), self.high)
        self.low = self.weight.where(~self.fell & (self.weight > self.low), self.low)
        self.weight = torch.where(self.high.isinf(), (self.weight * 10).clamp_max(MOST), (self.low + self.high) / 2)
