"""What the sanity checks compute, in batches that fit into memory, and how many images they can afford."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trs_explorer.attacks.noise import seeded
from trs_explorer.evaluation.accuracy import batches, correct
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import fitting_batch

HEAVY_N = 16  # images at least, of a model of which a pass takes few


def affordable(model: nn.Module, x: Images, n: int) -> slice:
    """The first n images for the checks; of a heavy model twice as many as a pass takes, and HEAVY_N at least."""
    fits = fitting_batch(model, x, most=n)
    return slice(0, n if fits == n else min(n, max(HEAVY_N, 2 * fits)))


def attacked(attack: Callable[..., Tensor], model: nn.Module, x: Images, y: Labels, *, seed: int) -> Images:
    """The images under an attack, made in batches that fit into memory."""
    generator = seeded(seed)
    parts = batches(model, x, y, fitting_batch(model, x))
    return torch.cat([attack(model, images, labels, generator=generator) for images, labels in parts])


def right_in_batches(model: nn.Module, x: Images, y: Labels) -> Bool[Tensor, " batch"]:
    """Which images the model classifies correctly, on the CPU; in batches that fit into memory."""
    return torch.cat([correct(model, images, labels).cpu() for images, labels in batches(model, x, y, fitting_batch(model, x))])


def outputs_of(model: nn.Module, x: Images, y: Labels) -> Float[Tensor, "batch class"]:
    """The model's outputs in float32, in the mode in which it is."""
    return torch.cat([model(images).float() for images, _ in batches(model, x, y, fitting_batch(model, x))])
