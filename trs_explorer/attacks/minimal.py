"""What attacks share that look for the smallest change: the best image so far, and the search for the weight c."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.attacks.common import MOST, check_number, per_image
from trs_explorer.attacks.steps import LOOK_EVERY
from trs_explorer.gradients import Images

PerExample = Float[Tensor, " rows"]


def hinge(gap: PerExample, confidence: float) -> PerExample:
    """How much is missing until the model is wrong by `confidence`."""
    return (confidence - gap).clamp_min(0)


class Search:
    """The nearest image that fools the model by the confidence asked for, per example, over several values of c.

    x_adv: that image; where there is none, the one that fools by the most; x where none fools.  weight: each example's c.
    """

    def __init__(self, x: Images, *, c: float, steps: int, searches: int, confidence: float, lr: float, early_stop: bool) -> None:
        """Raises ValueError for options out of range."""
        check_number("c", c, positive=True)
        check_number("lr", lr, positive=True)
        check_number("confidence", confidence)
        for name, count in (("steps", steps), ("searches", searches)):
            if count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
        self.early_stop, self.confidence = early_stop, confidence
        self.everyone = torch.arange(len(x), device=x.device)
        self.x_adv = x.detach().clone()
        # Of images in float16, whose squares overflow or vanish, numbers are float32.
        numbers = {"device": x.device, "dtype": torch.promote_types(x.dtype, torch.float32)}
        self.distance = torch.full((len(x),), torch.inf, **numbers)
        self.most = torch.zeros(len(x), **numbers)
        self.weight = torch.full((len(x),), float(c), **numbers)
        self.low, self.high = torch.zeros_like(self.weight), torch.full_like(self.weight, torch.inf)
        self.fell = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def begin(self) -> Int[Tensor, " rows"]:
        """Those for whom this value of c is to be tried."""
        self.fell.zero_()
        return self.everyone[self.distance.isinf()] if self.early_stop else self.everyone

    def offer(self, rows: Tensor, images: Images, gap: PerExample, distance: PerExample) -> None:
        """Keep images that fool the model by the confidence (gap > 0 and >= confidence) and are nearer than all before.

        Until there is one, keep those that fool by more than all before. An output with NaN fools nobody.
        """
        enough = (gap > 0) & (gap >= self.confidence)
        self.fell[rows] |= enough
        before, most = self.distance[rows], self.most[rows]
        nearer = enough & (distance < before)
        surer = ~enough & before.isinf() & (gap > most)
        self.x_adv[rows] = images.where(per_image(nearer | surer, images), self.x_adv[rows])
        self.distance[rows] = distance.where(nearer, before)
        self.most[rows] = gap.to(most.dtype).where(surer, most)

    def leave(self, rows: Tensor, step: int, *parts: Tensor) -> tuple[Tensor, ...]:
        """Rows and parts, every few steps without those that may leave because something fools the model surely enough."""
        if not self.early_stop or step % LOOK_EVERY:
            return rows, *parts
        stay = self.distance[rows].isinf()
        return tuple(part[stay] for part in (rows, *parts))

    def end(self) -> None:
        """The next c: ten times as much until one succeeds, then halfway from the most that did not to the least that did."""
        self.high = self.weight.where(self.fell & (self.weight < self.high), self.high)
        self.low = self.weight.where(~self.fell & (self.weight > self.low), self.low)
        self.weight = torch.where(self.high.isinf(), (self.weight * 10).clamp_max(MOST), (self.low + self.high) / 2)
