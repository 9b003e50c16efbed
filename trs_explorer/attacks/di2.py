"""DI2-FGSM: steps whose gradients are taken through randomly shrunk and shifted images, so that they fit other models too."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.attacks.common import CROSS_ENTROPY, check_images, check_steps, climb, draw_seeds, judge, uniform
from trs_explorer.attacks.losses import Outputs, PerExample
from trs_explorer.attacks.mim import accumulating
from trs_explorer.attacks.steps import ascend
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stacked import at_least_float32

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
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """The iterate of highest loss among all visited that fool the model; x where none does.

    Shapes, units, early_stop, for_others, errors: as for `pgd`; steps begin at x itself. At each step every image is replaced,
    with that probability, by a version of its own: resized to r times its side, r in [1, 1.125), put at a random place on a
    black square of 1.125 sides, and resized back. The gradient of the loss there is what the step follows; which iterate is
    best, and whether it fools, the image itself decides: two forward passes and one backward a step.
    momentum: 0 follows each gradient alone, 1 accumulates them as `mim` does.
    generator: one draw for each example, as for `pgd`.
    Raises: ValueError as `pgd`; for a probability outside [0, 1] or a momentum that is negative or not finite.
    Source: Xie et al., "Improving transferability of adversarial examples with input diversity", CVPR 2019, section 3. Our
    choice: both resizes as one bilinear map (there nearest neighbours), sizes and places not rounded to pixels, so that small
    images change too; the resize back, as models of one size need it; one draw per image instead of one per batch.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1], got {probability}")
    size = eps / 10 if step_size is None else step_size
    check_images(x, y)
    check_steps(eps, steps, size, 1, False, norm)
    move = accumulating(momentum, size, norm)
    drawn = uniform(draw_seeds(len(x), 1, generator), (steps, 4)).to(at_least_float32(x))
    y = y.long()

    def slope(point: Images, rows: Tensor, step: int) -> tuple[Images, PerExample, Tensor]:
        def elsewhere(model: nn.Module, images: Images, labels: Labels) -> tuple[PerExample, Outputs]:
            chance, r, *place = drawn[rows, step].unbind(1)
            changed = shrunk(at_least_float32(images), CANVAS / (1 + (CANVAS - 1) * r), 2 * torch.stack(place, 1) - 1)
            changed = changed.to(images.dtype)
            return CROSS_ENTROPY(model, torch.where((chance < probability).view(-1, 1, 1, 1), changed, images), labels)

        gradient, _, _ = climb(model, point, y[rows], targeted=targeted, objective=elsewhere)
        return gradient, *judge(model, point, y[rows], targeted=targeted)

    return ascend(
        model,
        x,
        y,
        move,
        eps=eps,
        steps=steps,
        step_size=size,
        restarts=1,
        random_start=False,
        norm=norm,
        targeted=targeted,
        early_stop=early_stop,
        generator=None,
        slope=slope,
        for_others=for_others,
    )


def mdi2(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """`di2` with momentum 1: the source's M-DI2-FGSM."""
    own = {"norm": norm, "targeted": targeted, "early_stop": early_stop, "for_others": for_others, "generator": generator}
    return di2(model, x, y, eps=eps, steps=steps, step_size=step_size, momentum=1.0, **own)


def shrunk(images: Images, factor: Float[Tensor, " batch"], place: Float[Tensor, "batch 2"]) -> Images:
    """Each image in a 1/factor of its height and width on black, bilinearly; place (0, 0) is the middle, (-1, -1) top left.

    factor >= 1; place: down and right, in [-1, 1], where the image touches an edge.
    """
    # grid_sample asks where in the image, whose edges are -1 and 1, the pixel at u of the result comes from: factor * u - offset.
    offset = (factor - 1)[:, None] * place
    zero = torch.zeros_like(factor)
    rows = (factor, zero, -offset[:, 1], zero, factor, -offset[:, 0])
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
