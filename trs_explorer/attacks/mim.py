"""MIM: the momentum iterative method."""

import torch
from torch import nn

from trs_explorer.attacks.common import check_number, direction, per_image
from trs_explorer.attacks.steps import Move, ascend
from trs_explorer.gradients import Images, Labels

LARGE = 1e30


def mim(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    momentum: float = 1.0,
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """The iterate of highest loss among all visited that fool the model; x where none does.

    Shapes, units, early_stop, for_others, errors: as for `pgd`. Steps follow the accumulated direction g <- momentum * g +
    gradient / |gradient|_1, from x itself; an image whose gradient is 0 adds nothing. step_size None is eps/10.
    Source: Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, Algorithm 1 (untargeted and l-inf there, L2
    in its section 3.3); momentum 1 and eps/10: the TRS paper's evaluation as its authors' code runs it.
    """
    size = eps / 10 if step_size is None else step_size
    return ascend(
        model,
        x,
        y,
        accumulating(momentum, size, norm),
        eps=eps,
        steps=steps,
        step_size=size,
        restarts=1,
        random_start=False,
        norm=norm,
        targeted=targeted,
        early_stop=early_stop,
        generator=generator,
        for_others=for_others,
    )


def accumulating(momentum: float, size: float, norm: str) -> Move:
    """Steps of that size along momentum * (what was followed before) + the normalized gradient.

    Raises: ValueError for a momentum that is negative or too large.
    """
    check_number("momentum", momentum)

    def move(gradient: Images, memory: Images, step: int) -> tuple[Images, Images]:
        memory = momentum * memory + normalized(gradient)
        if momentum > 1:  # it may grow beyond what float32 can hold
            memory = memory.clamp(-LARGE, LARGE)
        return size * direction(memory, norm), memory

    return move


def normalized(gradient: Images) -> Images:
    """Divided by its L1 norm, by its largest entry first: tiny gradients keep their direction, and 0 stays 0."""
    flat = gradient.flatten(1)
    tiny = torch.finfo(flat.dtype).tiny
    gradient = gradient / per_image(flat.abs().amax(-1).clamp_min(tiny), gradient)
    return gradient / per_image(gradient.flatten(1).abs().sum(-1).clamp_min(tiny), gradient)
