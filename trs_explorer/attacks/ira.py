"""IRA, the interaction-reduced attack: no part of a perturbation should need the others, as another model may undo some."""

from typing import Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images, check_number
from trs_explorer.attacks.losses import Outputs, PerExample, loss_named
from trs_explorer.attacks.noise import draw_seeds, uniform
from trs_explorer.attacks.objective import loss_gradient
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.pgd import fixed_step, projected_ascent
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.stacked import at_least_float32
from trs_explorer.models.to_device import to_device

IMAGES_PER_PASS = 1024  # 56 attacked images with 8 samples each: memory does not grow with the batch


def ira(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    interaction_weight: float = 1.0,
    samples: int = 8,
    grid: int = 7,
    loss: str = "margin",
    **options: Unpack[CommonOptions],
) -> Images:
    """The iterate of highest cross-entropy among all that fool the model; x where none does.

    Steps begin at x. They increase the loss minus interaction_weight times the `interaction` of `samples` random parts of the
    perturbation, drawn anew for each image and step. A part is an eighth of the cells of a grid of grid x grid, or one cell,
    with replacement. An image has no more cells than pixels, in either direction.
    Cost: 2 samples + 3 forward and 2 samples + 2 backward passes a step, 19 and 18 with 8 samples.

    Args:
        model, x, y, eps, steps, options: as for `pgd`.
        step_size: None is eps/10.
        interaction_weight: of the interaction beside the loss.
        samples: random parts per image and step.
        grid: cells in each direction.
        loss: "margin", "ce" (the source's) or "dlr". Where a model is confident, cross-entropy has hardly a slope beside that
            of the interaction, which is made of margins, and the attack gets nowhere: with eps .25, 20 steps, 8 samples and
            for_transfer, the other members of a standard ensemble (MNIST, 36 epochs) had 10 % of 200 images wrong, with the
            margin 81 %; after PGD on it 73 %.

    Raises: ValueError as `pgd`; for samples or a grid below 1, a weight that is negative or not finite.
    Source: Wang et al., "A unified approach to interpreting and boosting adversarial transferability", ICLR 2021; the weight
    and the eighth: its authors' code. Our choice: the loss; 8 samples for their 32, which transferred as often in 4 times the
    time; 7 x 7 cells, on MNIST 4 x 4 pixels each, where they have 16 x 16 for 224 x 224 pixels; parts of each image's own;
    targeted, what is gained is the negated margin of the wanted class.
    """
    if samples < 1 or grid < 1:
        raise ValueError(f"samples and grid must be >= 1, got {samples} and {grid}")
    check_number("interaction_weight", interaction_weight)
    check_images(x, y)
    settings = AttackOptions(eps=eps, steps=steps, step_size=step_size, **options)
    down, across = (min(grid, side) for side in x.shape[2:])
    draws = uniform(draw_seeds(len(x), 1, settings.generator), (steps, samples, max(1, down * across // 8)))
    draws = to_device(draws, x.device)
    y, loss_of = y.long(), loss_named(loss)

    def gradient_of(some: Images, rows: Tensor, step: int) -> Images:
        def reduced(model: nn.Module, images: Images, labels: Labels) -> tuple[PerExample, Outputs]:
            part = cells((draws[rows, step] * (down * across)).long(), (down, across), images)
            whole = torch.ones_like(part[:, :1])
            masks = torch.cat([whole, 0 * whole, part, 1 - part], 1)[:, :, None]
            clean = x[rows][:, None]
            outputs = at_least_float32(model((clean + masks * (images[:, None] - clean)).flatten(0, 1)))
            outputs = outputs.unflatten(0, (len(images), -1))
            return loss_of(outputs[:, 0], labels) - interaction_weight * interaction(outputs, labels), outputs[:, 0]

        return loss_gradient(model, some, y[rows], targeted=settings.targeted, objective=reduced)[0]

    def gradient_at(images: Images, rows: Tensor, step: int) -> Images:
        size = max(1, IMAGES_PER_PASS // (2 * samples + 2))
        groups = zip(images.split(size), rows.split(size), strict=True)
        return torch.cat([gradient_of(some, those, step) for some, those in groups])

    return projected_ascent(model, x, y, settings, fixed_step(settings), gradient_at=gradient_at)


def interaction(outputs: Float[Tensor, "batch part class"], y: Labels) -> PerExample:
    """Mean over parts S of v(all) - v(all but S) - v(S) + v(none): what S and the rest gain together beyond each alone.

    outputs: of the image with the whole perturbation, with none of it, with each part alone, and with all but each part, in that
    order. v: the margin, over y, of the largest other class under the whole perturbation: the same class throughout.
    Source: Wang et al. 2021, for sets of cells in the place of single units, without the constant 1/(n - 1) of n units; the
    class as in its authors' code (in the text, each part's own: that transferred as often here).
    """
    rival = outputs[:, 0].scatter(1, y[:, None], -torch.inf).argmax(1)
    at = torch.stack([rival, y], 1)[:, None].expand(-1, outputs.shape[1], -1)
    v_rival, v_y = outputs.gather(2, at).unbind(2)
    v = v_rival - v_y
    both = v[:, 2:].unflatten(1, (2, -1)).sum(1)
    gain: Tensor = v[:, 0] + v[:, 1] - both.mean(1)
    return gain


def cells(
    chosen: Int[Tensor, "batch sample pick"], grid: tuple[int, int], images: Images
) -> Float[Tensor, "batch sample height width"]:
    """1 in the pixels of each sample's cells, 0 elsewhere; the cells of a grid (down, across) are numbered row by row."""
    (down, across), (height, width) = grid, images.shape[2:]
    row = torch.arange(height, device=chosen.device) * down // height
    column = torch.arange(width, device=chosen.device) * across // width
    on = images.new_zeros(*chosen.shape[:2], down * across).scatter(2, chosen, 1)
    return on[:, :, row[:, None] * across + column]
