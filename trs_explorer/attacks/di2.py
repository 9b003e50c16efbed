"""DI2-FGSM: steps whose gradients are taken through randomly resized and shifted images, so that they suit other models too."""

from typing import Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images
from trs_explorer.attacks.losses import Outputs, PerExample
from trs_explorer.attacks.mim import momentum_step
from trs_explorer.attacks.noise import draw_seeds, uniform
from trs_explorer.attacks.objective import CROSS_ENTROPY, loss_gradient
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.pgd import projected_ascent
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stacked import at_least_float32
from trs_explorer.models.to_device import to_device

CANVAS = 1.125  # the padded image's side in sides of the image: 32 -> 36 pixels; the source pads 299 to 330


def di2(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    probability: float = 0.5,
    momentum: float = 0.0,
    **options: Unpack[CommonOptions],
) -> Images:
    """The iterate of highest loss among all that fool the model; x where none does.

    Steps begin at x. At each step every image is replaced, with that probability, by a version of its own: resized to r times
    its side, r in [1, 1.125), put at a random place on a black square of 1.125 sides, and resized back. The step follows the
    gradient of the loss there. Which iterate is best, and whether it fools the model, is decided on the image itself: two
    forward passes and one backward a step.

    Args:
        model, x, y, eps, steps, options: as for `pgd`.
        step_size: None is eps/10.
        probability: of a changed version, in [0, 1].
        momentum: 0 follows each gradient alone, 1 accumulates them as `mim` does.

    Raises: ValueError as `pgd`; for a probability outside [0, 1] or a momentum that is negative or not finite.
    Source: Xie et al., "Improving transferability of adversarial examples with input diversity", CVPR 2019, section 3. Our
    choice: both resizes as one bilinear map (there nearest neighbours), sizes and places not rounded to pixels, so that small
    images change too; the resize back, as models of one size need it; one draw per image instead of one per batch.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1], got {probability}")
    check_images(x, y)
    settings = AttackOptions(eps=eps, steps=steps, step_size=step_size, **options)
    update = momentum_step(momentum, settings)
    draws = to_device(uniform(draw_seeds(len(x), 1, settings.generator), (steps, 4)), x.device).to(at_least_float32(x).dtype)
    y = y.long()

    def gradient_at(images: Images, rows: Tensor, step: int) -> Images:
        def diverse(model: nn.Module, images: Images, labels: Labels) -> tuple[PerExample, Outputs]:
            chance, r, *place = draws[rows, step].unbind(1)
            changed = shrunk(at_least_float32(images), CANVAS / (1 + (CANVAS - 1) * r), 2 * torch.stack(place, 1) - 1)
            changed = changed.to(images.dtype)
            return CROSS_ENTROPY(model, torch.where((chance < probability).view(-1, 1, 1, 1), changed, images), labels)

        return loss_gradient(model, images, y[rows], targeted=settings.targeted, objective=diverse)[0]

    return projected_ascent(model, x, y, settings, update, gradient_at=gradient_at)


def mdi2(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    **options: Unpack[CommonOptions],
) -> Images:
    """`di2` with momentum 1: the source's M-DI2-FGSM."""
    return di2(model, x, y, eps=eps, steps=steps, step_size=step_size, momentum=1.0, **options)


def shrunk(images: Images, factor: Float[Tensor, " batch"], place: Float[Tensor, "batch 2"]) -> Images:
    """Each image resized bilinearly to 1/factor of its height and width, on black.

    factor: at least 1. place: (down, right) in [-1, 1]; (0, 0) is the middle, at -1 and 1 the image touches an edge.
    """
    # grid_sample needs, for a pixel at u of the result, its source in an image with edges -1 and 1: factor * u - offset.
    offset = (factor - 1)[:, None] * place
    zero = torch.zeros_like(factor)
    rows = (factor, zero, -offset[:, 1], zero, factor, -offset[:, 0])
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
