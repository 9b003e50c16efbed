"""The best iterate so far, per image: what an attack returns."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trs_explorer.attacks.ball import per_image
from trs_explorer.attacks.losses import PerExample
from trs_explorer.gradients import Images


class Best:
    """Per image, the iterate of highest loss among all that fool the model; x where none does.

    for_transfer: where no iterate fools the model, the iterate of highest loss instead of x.
    """

    def __init__(self, x: Images, loss: PerExample, fooled: Bool[Tensor, " batch"], *, for_transfer: bool) -> None:
        """Start from x itself, its loss, and whether it fools the model."""
        self.images, self.loss = x.detach().clone(), loss.where(fooled, -torch.inf)
        # the iterate of highest loss, whether or not it fools the model
        self.highest = (self.images.clone(), torch.full_like(self.loss, -torch.inf)) if for_transfer else None

    def update(
        self,
        rows: Int[Tensor, " rows"],
        candidate: Float[Tensor, "rows channel height width"],
        loss: Float[Tensor, " rows"],
        fooled: Bool[Tensor, " rows"],
    ) -> None:
        """Keep those candidates for the images at rows that are better than all before."""
        keep_best(self.images, self.loss, rows, candidate, loss, fooled)
        if self.highest:
            keep_best(*self.highest, rows, candidate, loss, torch.ones_like(fooled))

    def not_yet_fooled(self, rows: Int[Tensor, " rows"]) -> Bool[Tensor, " rows"]:
        """Mask of rows without an adversarial example so far."""
        return self.loss[rows].isneginf()

    def result(self) -> Images:
        """The images to return."""
        if not self.highest:
            return self.images
        images, loss = self.highest
        return images.where(per_image(self.loss.isneginf() & ~loss.isneginf(), images), self.images)


def keep_best(
    best: Images,
    best_loss: PerExample,
    rows: Int[Tensor, " rows"],
    candidate: Float[Tensor, "rows channel height width"],
    loss: Float[Tensor, " rows"],
    fooled: Bool[Tensor, " rows"],
) -> None:
    """Write candidates that fool the model, with a higher loss than the best so far, into best[rows]. In place.

    best_loss is -inf where no iterate has fooled the model yet: there any fooling candidate is better.
    """
    before = best_loss[rows]
    better = fooled & (loss > before)
    if best.device.type != "cpu":  # a check whether any is better would force a GPU sync
        best[rows] = torch.where(per_image(better, best), candidate, best[rows])
        best_loss[rows] = torch.where(better, loss, before)
    elif better.any():
        changed = rows[better]
        best[changed], best_loss[changed] = candidate[better], loss[better]
