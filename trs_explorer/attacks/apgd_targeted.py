"""Targeted APGD: towards each of the likeliest wrong classes in turn."""

from dataclasses import replace
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from trs_explorer.attacks.apgd import adaptive_ascent, apgd
from trs_explorer.attacks.losses import dlr_towards, towards
from trs_explorer.attacks.objective import Objective, objective_of
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.sequence import RowsAttack, towards_each
from trs_explorer.gradients import Images, Labels

TARGETED_LOSSES = {"dlr": dlr_towards, "margin": towards}


def apgd_t(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    restarts: int = 1,
    targets: int = 9,
    loss: str = "dlr",
    **options: Unpack[CommonOptions],
) -> Images:
    """The image of largest margin among all that fool the model, over the wrong classes aimed at; x where none does.

    Runs `apgd` on the difference of a wrong class's output and the true one's, for each of the `targets` wrong classes that are
    likeliest at x (all of them, where there are fewer). Any wrong answer counts, not only the one that is aimed at.

    - loss: "dlr", the difference divided by the spread of the outputs, or "margin", the difference itself. With two classes,
      where DLR is not defined, always the difference.
    - targeted: y is then the only class aimed at, and `loss` is the margin.

    Everything else is as for `apgd`.
    Source: Croce and Hein 2020, section 4; 9 targets as in AutoAttack, which takes 100 steps.
    """
    if loss not in TARGETED_LOSSES:
        raise ValueError(f"loss must be one of {', '.join(TARGETED_LOSSES)}, got {loss!r}")
    settings = AttackOptions(eps=eps, steps=steps, step_size=eps, restarts=restarts, random_start=True, **options)
    if settings.targeted:
        return apgd(model, x, y, eps=eps, steps=steps, restarts=restarts, loss="margin", **options)

    def towards_class(number: int, others: Tensor) -> RowsAttack:
        def attack(rows: Tensor, generator: torch.Generator) -> Images:
            target = others[rows, number]
            difference = TARGETED_LOSSES[loss if others.shape[1] > 1 else "margin"]

            def objective_at(places: Tensor) -> Objective:
                return objective_of(partial(difference, target=target[places]))

            return adaptive_ascent(model, x[rows], y[rows], replace(settings, generator=generator), objective_at)

        return attack

    return towards_each(model, x, y, settings, targets, towards_class)
