"""PGD on the margin of each member of an ensemble in turn: where one member decides, its gradient is the clearest."""

from collections.abc import Callable
from dataclasses import replace
from typing import Unpack, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.attacks.losses import Outputs, PerExample, margin
from trs_explorer.attacks.objective import Objective
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.pgd import fixed_step, projected_ascent
from trs_explorer.attacks.sequence import MARGIN, RowsAttack, in_sequence
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble, log_confidences
from trs_explorer.models.stacked import at_least_float32


def pgd_members(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    restarts: int = 1,
    **options: Unpack[CommonOptions],
) -> Images:
    """The image of largest margin among all that fool the ensemble, over its members; x where none does.

    Runs `pgd` on the margin of each member alone; what counts is whether an iterate fools the ensemble. A model without
    `member_logits` counts as an ensemble of one. Where the most confident member answers, a member that has become wrong must
    then get the largest confidence. Everything else is as for `pgd`.
    Source: ours. Check 16 of `evaluation.trust` compares with it what attacks on the ensemble leave.
    """
    settings = AttackOptions(eps=eps, steps=steps, step_size=step_size, restarts=restarts, random_start=True, **options)

    def on_member(objective: Objective) -> RowsAttack:
        def attack(rows: Tensor, generator: torch.Generator) -> Images:
            given = replace(settings, generator=generator)
            return projected_ascent(model, x[rows], y[rows], given, fixed_step(given), objective=objective)

        return attack

    members = len(cast(Ensemble, model).members) if hasattr(model, "member_logits") else 0
    objectives = [member_margin(number, targeted=settings.targeted) for number in range(members)] or [MARGIN]
    return in_sequence(model, x, y, settings, [on_member(objective) for objective in objectives])


def member_margin(number: int, *, targeted: bool = False) -> Callable[[nn.Module, Images, Labels], tuple[PerExample, Outputs]]:
    """The objective that is the margin of one member; the outputs are the ensemble's."""

    def objective(model: nn.Module, x: Images, y: Labels) -> tuple[PerExample, Outputs]:
        voters = cast(Ensemble, model)
        logits = at_least_float32(voters.member_logits(x))
        value = margin(logits[number], y)
        if getattr(model, "voting", "") == "confident":
            value = _then_chosen(-value, logits, number).neg() if targeted else _then_chosen(value, logits, number)
        return value, voters.vote(logits)

    return objective


def _then_chosen(value: PerExample, logits: Float[Tensor, "member batch class"], number: int) -> PerExample:
    """The value minus 1 up to 0, above it the smaller of it and the member's lead in confidence, scaled into (-1, 1).

    So it is above 0 if the member is wrong and answers, and below -1 if it is right.

    The vote's own gradient does not see the choice. Of one SoE ensemble (MNIST, 3 epochs, 200 images, 50 steps) this leaves 94.0
    and 86.0 % right at eps .15 and .2, members' margins alone 95.5 and 90.0, the smaller of margin and lead 96.0 and 91.5.
    """
    sure = log_confidences(logits)
    others = torch.cat([sure[:number], sure[number + 1 :], torch.full_like(sure[:1], -torch.inf)]).amax(0)
    return torch.where(value > 0, torch.minimum(value, 1 - 2 * torch.sigmoid(others - sure[number])), value - 1)
