"""PGD on the margin of each member of an ensemble in turn: where one member decides, its gradient is the clearest."""

from collections.abc import Callable
from dataclasses import replace
from typing import Unpack, cast

import torch
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
    `member_logits` counts as an ensemble of one. Where the most confident member answers, a member's margin is the smaller of
    its own and its lead in confidence: only a member that is wrong and chosen fools the ensemble. Everything else is as for
    `pgd`.
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
        if getattr(model, "voting", "") == "confident":  # the vote's gradient does not see the choice; here it can be attacked
            sure = log_confidences(logits)
            others = sure.index_fill(0, torch.tensor(number, device=sure.device), -torch.inf).amax(0)
            lead = sure[number] - others
            value = torch.maximum(value, -lead) if targeted else torch.minimum(value, lead)
        return value, voters.vote(logits)

    return objective
