"""What the attacks without a radius share: the nearest adversarial image so far, and the search for the weight c."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trs_explorer.attacks.ball import per_image
from trs_explorer.attacks.checks import LARGEST, check_number
from trs_explorer.attacks.remaining import CHECK_EVERY, places, places_if_fewer
from trs_explorer.gradients import Images

PerExample = Float[Tensor, " rows"]


def hinge(gap: PerExample, confidence: float) -> PerExample:
    """How much is missing until the model is fooled by a margin of `confidence`."""
    return (confidence - gap).clamp_min(0)


class NearestSearch:
    """Per example, the nearest image that fools the model by the wanted confidence, over several values of c.

    x_adv: that image; where there is none, the one that fools by the largest margin; x where none fools.
    weight: each example's c, beside the distance in the loss.
    """

    def __init__(self, x: Images, *, c: float, steps: int, searches: int, confidence: float, lr: float, early_stop: bool) -> None:
        """Raise ValueError for options out of range."""
        check_number("c", c, positive=True)
        check_number("lr", lr, positive=True)
        check_number("confidence", confidence)
        for name, count in (("steps", steps), ("searches", searches)):
            if count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
        self.early_stop, self.confidence = early_stop, confidence
        self.all_rows = torch.arange(len(x), device=x.device)
        self.x_adv = x.detach().clone()
        # For images in float16, whose squares overflow or vanish, numbers are float32.
        numbers = torch.zeros(len(x), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        self.distance = torch.full_like(numbers, torch.inf)
        self.largest_gap = numbers
        self.weight = torch.full_like(numbers, float(c))
        self.low, self.high = torch.zeros_like(self.weight), torch.full_like(self.weight, torch.inf)
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)  # with this value of c

    def begin(self) -> Int[Tensor, " rows"]:
        """Start the next value of c; the rows to try it on."""
        self.fooled.zero_()
        return places(self.distance.isinf()) if self.early_stop else self.all_rows

    def update(self, rows: Tensor, images: Images, gap: PerExample, distance: PerExample) -> None:
        """Keep images that fool the model by the confidence (gap > 0 and >= confidence) and are nearer than all before.

        Until there is one, keep those that fool by more than all before. An output with NaN never counts as fooled.
        """
        enough = (gap > 0) & (gap >= self.confidence)
        self.fooled[rows] |= enough
        distance_before, gap_before = self.distance[rows], self.largest_gap[rows]
        nearer = enough & (distance < distance_before)
        surer = ~enough & distance_before.isinf() & (gap > gap_before)
        self.x_adv[rows] = images.where(per_image(nearer | surer, images), self.x_adv[rows])
        self.distance[rows] = distance.where(nearer, distance_before)
        self.largest_gap[rows] = gap.to(gap_before.dtype).where(surer, gap_before)

    def drop_fooled(self, rows: Tensor, step: int, *parts: Tensor) -> tuple[Tensor, ...]:
        """Rows and parts; with early_stop, every few steps without the rows that have a result of the wanted confidence."""
        if not self.early_stop or step % CHECK_EVERY:
            return rows, *parts
        stay = places_if_fewer(self.distance[rows].isinf())
        return (rows, *parts) if stay is None else tuple(part[stay] for part in (rows, *parts))

    def end(self) -> None:
        """Choose the next c: ten times as much until one succeeds, then halfway between the nearest failure and success."""
        self.high = self.weight.where(self.fooled & (self.weight < self.high), self.high)
        self.low = self.weight.where(~self.fooled & (self.weight > self.low), self.low)
        self.weight = torch.where(self.high.isinf(), (self.weight * 10).clamp_max(LARGEST), (self.low + self.high) / 2)
