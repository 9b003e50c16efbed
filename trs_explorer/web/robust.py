"""Robust accuracies as they fill, for pages that look on."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from trs_explorer.data import Dataset
from trs_explorer.evaluation.accuracy import Attack, Rate, blanks, measure
from trs_explorer.explore.live import polite
from trs_explorer.web.state import State
from trs_explorer.web.walks import attack_of

BATCH = 64  # images between two looks at the page


def first_images(data: Dataset, n: int) -> tuple[Tensor, Tensor]:
    """The first n images of a data set, or as many as there are, and their labels."""
    chosen = slice(0, min(n, len(data)))
    return data.images(chosen), data.y[chosen]


def attack_on(state: State) -> Attack:
    """The attack that a state asks for, as `accuracy.measure` takes it; requests of pages go first while it runs."""
    name, attack = attack_of(state)
    attack = polite(attack)

    def run(model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator, **_: object) -> Tensor:
        return attack(model, x, y, generator=generator)

    return name, run, {"eps": state.eps, "norm": state.norm}


def robust(model: nn.Module, x: Tensor, y: Tensor, attacks: Sequence[Attack], *, seed: int) -> Iterator[list[Rate]]:
    """The clean rate, then that under every attack, in their order; all of them again whenever one has grown by a batch."""
    found = blanks(attacks)
    for position, rate in measure(model, x, y, attacks=attacks, batch_size=BATCH, seed=seed):
        found = [*found[:position], rate, *found[position + 1 :]]
        yield found
