"""MIM: the momentum iterative method."""

from typing import Unpack

import torch
from torch import Tensor, nn

from trs_explorer.attacks.ball import direction, per_image
from trs_explorer.attacks.checks import check_number
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.pgd import Update, projected_ascent
from trs_explorer.gradients import Images, Labels

LARGEST_MEMORY = 1e30


def mim(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    momentum: float = 1.0,
    **options: Unpack[CommonOptions],
) -> Images:
    """The iterate of highest loss among all that fool the model; x where none does.

    Steps begin at x and follow the accumulated direction g <- momentum * g + gradient / |gradient|_1. An image whose gradient is
    0 adds nothing. step_size None is eps/10. It draws no noise. Everything else is as for `pgd`.
    Raises: as `pgd`, and ValueError for a momentum that is negative or too large.
    Source: Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, Algorithm 1 (untargeted and l-inf there, L2
    in its section 3.3); momentum 1 and eps/10: the TRS paper's evaluation as its authors' code runs it.
    """
    settings = AttackOptions(eps=eps, steps=steps, step_size=step_size, **options)
    return projected_ascent(model, x, y, settings, momentum_step(momentum, settings))


def momentum_step(momentum: float, settings: AttackOptions) -> Update:
    """Steps of length step_size along momentum * (the direction before) + the normalized gradient.

    Raises: ValueError for a momentum that is negative or too large.
    """
    check_number("momentum", momentum)

    def update(gradient: Images, memory: Tensor, step: int) -> tuple[Images, Tensor]:
        memory = momentum * memory + normalized(gradient)
        if momentum > 1:  # it may grow beyond what float32 can hold
            memory = memory.clamp(-LARGEST_MEMORY, LARGEST_MEMORY)
        return settings.step_length * direction(memory, settings.norm), memory

    return update


def normalized(gradient: Images) -> Images:
    """Divided by its L1 norm, by its largest entry first: tiny gradients keep their direction, and 0 stays 0."""
    flat = gradient.flatten(1)
    tiny = torch.finfo(flat.dtype).tiny
    gradient = gradient / per_image(flat.abs().amax(-1).clamp_min(tiny), gradient)
    return gradient / per_image(gradient.flatten(1).abs().sum(-1).clamp_min(tiny), gradient)
