"""Robust accuracies for pages, reported after every batch."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from trs_explorer.data import Dataset
from trs_explorer.evaluation.accuracy import Attack, Rate, empty_rates, measure
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.web.attack_paths import configured_attack
from trs_explorer.web.state import State

BATCH = 64  # images between two updates of the page


def first_images(data: Dataset, n: int) -> tuple[Tensor, Tensor]:
    """Return the first n images of a data set, or as many as there are, and their labels."""
    chosen = slice(0, min(n, len(data)))
    return data.images(chosen), data.y[chosen]


def evaluation_attack(state: State) -> Attack:
    """Return the state's attack in the form that `accuracy.measure` takes; it yields to interactive requests."""
    name, attack = configured_attack(state)
    attack = PROCESS_LOCK.yielding(attack)

    def run(model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator, **_: object) -> Tensor:
        return attack(model, x, y, generator=generator)

    return name, run, {"eps": state.eps, "norm": state.norm}


def robust_accuracies(model: nn.Module, x: Tensor, y: Tensor, attacks: Sequence[Attack], *, seed: int) -> Iterator[list[Rate]]:
    """Yield the clean accuracy and that under every attack, in order; all of them after each batch of one of them."""
    rates = empty_rates(attacks)
    for position, rate in measure(model, x, y, attacks=attacks, batch_size=BATCH, seed=seed):
        rates = [*rates[:position], rate, *rates[position + 1 :]]
        yield rates
