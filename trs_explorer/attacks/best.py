"""The best image so far, per example: what an attack returns."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trs_explorer.attacks.common import per_image
from trs_explorer.attacks.losses import PerExample
from trs_explorer.gradients import Images


class Best:
    """Per image the iterate of highest loss among all offered that fool the model; x where none does.

    for_others: where none fools it, the iterate of highest loss instead.
    """

    def __init__(self, x: Images, value: PerExample, fooled: Bool[Tensor, " batch"], *, for_others: bool) -> None:
        """Begin with x itself, its loss, and whether it fools."""
        self.images, self.value = x.detach().clone(), value.where(fooled, -torch.inf)
        self.anyway = (self.images.clone(), torch.full_like(self.value, -torch.inf)) if for_others else None

    def offer(
        self,
        rows: Int[Tensor, " rows"],
        candidate: Float[Tensor, "rows channel height width"],
        value: Float[Tensor, " rows"],
        fooled: Bool[Tensor, " rows"],
    ) -> None:
        """Keep those candidates for the images at rows that are better than all before."""
        keep_best(self.images, self.value, rows, candidate, value, fooled)
        if self.anyway:
            keep_best(*self.anyway, rows, candidate, value, torch.ones_like(fooled))

    def stands(self, rows: Int[Tensor, " rows"]) -> Bool[Tensor, " rows"]:
        """Which of the images at rows nothing has fooled the model on yet."""
        return self.value[rows].isneginf()

    def result(self) -> Images:
        """The images to return."""
        if not self.anyway:
            return self.images
        images, value = self.anyway
        return images.where(per_image(self.value.isneginf() & ~value.isneginf(), images), self.images)


def keep_best(
    best: Images,
    best_loss: PerExample,
    rows: Int[Tensor, " rows"],
    candidate: Float[Tensor, "rows channel height width"],
    loss: Float[Tensor, " rows"],
    fooled: Bool[Tensor, " rows"],
) -> None:
    """Write candidates that fool the model, with a higher loss than the best so far, into best[rows]. In place.

    best_loss is -inf where nothing has fooled the model yet: any fooling candidate wins there, and no other ever does.
    """
    before = best_loss[rows]
    better = fooled & (loss > before)
    if best.device.type != "cpu":  # a look would make a GPU wait
        best[rows] = torch.where(per_image(better, best), candidate, best[rows])
        best_loss[rows] = torch.where(better, loss, before)
    elif better.any():
        changed = rows[better]
        best[changed], best_loss[changed] = candidate[better], loss[better]
