"""The options that attacks with a radius share, declared and checked once. The loop that they steer: pgd.py."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict, Unpack

import torch
from torch import Tensor

from trs_explorer.attack_catalogue import NORMS
from trs_explorer.attacks.checks import check_number, check_radius


class CommonOptions(TypedDict, total=False):
    """Keyword arguments of every iterated attack with a radius. `AttackOptions` has the defaults.

    norm: of the ball and of the steps, "linf" (default) or "l2".
    targeted: y is the class to be reached, not the one to be left. Default: False.
    early_stop: drop images that are fooled, x itself included, within 5 steps. This does not change how many are fooled. Turn
        it off where the images are for *another* model: images of higher loss transfer more often. Default: True.
    for_transfer: run to the last step, and return the iterate of highest loss also where no iterate fools this model: another
        model may be fooled. Default: False.
    generator: source of the noise. Each example takes one draw from it, in order, from which the seeds of all its starts
        derive. So its noise depends on its place in the call, not on the other images, and its first start does not depend on
        how many follow. None (default) draws from PyTorch's global generator. Attacks without noise ignore it.
    """

    norm: str
    targeted: bool
    early_stop: bool
    for_transfer: bool
    generator: torch.Generator | None


@dataclass(frozen=True)
class AttackOptions:
    """All options of an attack in a ball: its radius, the steps, and the `CommonOptions`.

    eps: the radius, in [0, 1] pixels, measured in `norm`.
    step_size: the length of a step, measured in the same way; None is eps / 10.
    random_start: each restart begins at a random point of the ball, otherwise at x.
    Raises: ValueError for options out of range.
    """

    eps: float
    steps: int
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = False
    norm: str = "linf"
    targeted: bool = False
    early_stop: bool = True
    for_transfer: bool = False
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        check_radius(self.eps)
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {self.norm!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")
        if self.restarts < 1:
            raise ValueError(f"restarts must be >= 1, got {self.restarts}")
        if self.restarts > 1 and not self.random_start:
            count = self.restarts
            raise ValueError(f"{count} restarts without a random start are the same attack {count} times: set restarts=1")
        check_number("step_size", self.step_length, positive=self.eps > 0)

    @property
    def step_length(self) -> float:
        """The length of a step."""
        return self.eps / 10 if self.step_size is None else self.step_size

    @property
    def drops_fooled(self) -> bool:
        """Whether images leave the batch once they are fooled."""
        return self.early_stop and not self.for_transfer


def keywords(attack: Callable[..., Tensor]) -> frozenset[str]:
    """The names of all arguments of an attack, those of `CommonOptions` included where it takes them."""
    parameters = inspect.signature(attack).parameters.values()
    names = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    if any(p.kind is p.VAR_KEYWORD and p.annotation == Unpack[CommonOptions] for p in parameters):
        names |= CommonOptions.__annotations__.keys()
    return frozenset(names)


def transfer_kwargs(attack: Callable[..., Tensor], *, for_transfer: bool = False) -> dict[str, bool]:
    """The arguments that keep an attack going on images that are fooled already; none for attacks that always do.

    Use them for images that are shown to *other* models: an image that barely fools one model transfers less often, which would
    make members look more diverse. With for_transfer, an attack that can also returns the highest loss where nothing fools the
    model that it attacks.
    """
    names = keywords(attack)
    if for_transfer and "for_transfer" in names:
        return {"for_transfer": True}
    return {"early_stop": False} if "early_stop" in names else {}
