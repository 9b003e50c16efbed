"""Steps within a ball: the loop that BIM, PGD and MIM share."""

from collections.abc import Callable

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from trs_explorer.attacks.ball import Ball
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.common import (
    CROSS_ENTROPY,
    Objective,
    check_images,
    check_labels,
    check_steps,
    climb,
    draw_seeds,
    eval_mode,
    judge,
)
from trs_explorer.attacks.losses import PerExample
from trs_explorer.gradients import Images, Labels

# Steps between two looks at who is fooled already: a look makes a GPU wait, going on with a fooled image wastes its steps.
LOOK_EVERY = 5

Move = Callable[[Images, Tensor, int], tuple[Images, Tensor]]
# The gradient to follow at a point, the value and whether it fools: (point, rows, step) -> (gradient, value, fooled).
Slope = Callable[[Images, Tensor, int], tuple[Images, PerExample, Bool[Tensor, " batch"]]]


def ascend(
    model: nn.Module,
    x: Images,
    y: Labels,
    move: Move,
    *,
    eps: float,
    steps: int,
    step_size: float,
    restarts: int,
    random_start: bool,
    norm: str,
    targeted: bool,
    early_stop: bool,
    generator: torch.Generator | None,
    objective: Objective = CROSS_ENTROPY,
    slope: Slope | None = None,
    for_others: bool = False,
) -> Images:
    """The iterate of highest loss among all visited that fool the model, over all restarts; x where none does.

    move(gradient, memory, step) gives the shift of a step (0 is the first), before it is projected, and the memory that the next
    one gets; both are shaped like x, in float32 at least, and the memory begins with zeros.
    slope(point, rows, step): where another gradient than the objective's is followed; rows are the places of the points in x,
    whose type they have.
    The other options are those of `pgd`.
    """
    check_images(x, y)
    check_steps(eps, steps, step_size, restarts, random_start, norm)
    if eps == 0 or not len(x):
        return x.detach().clone()
    y = y.long()
    early_stop = early_stop and not for_others
    everyone, ball = torch.arange(len(x), device=x.device), Ball(x, eps, norm)
    seeds = draw_seeds(len(x), restarts, generator) if random_start else []
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        value, fooled = judge(model, x, y, targeted=targeted, objective=objective)
        best = Best(x, value, fooled, for_others=for_others)
        for restart in range(restarts):
            rows = everyone[best.stands(everyone)] if early_stop else everyone
            if not len(rows):
                break
            around, labels = (ball, y) if rows is everyone else (ball[rows], y[rows])
            point = around.start([seeds[i][restart] for i in rows.tolist()]) if random_start else around.x.clone()
            memory = torch.zeros_like(point)
            for step in range(steps):
                shown = around.shown(point)
                if slope is None:
                    gradient, value, fooled = climb(model, shown, labels, targeted=targeted, objective=objective)
                else:
                    gradient, value, fooled = slope(shown, rows, step)
                best.offer(rows, shown, value, fooled)
                if early_stop and step % LOOK_EVERY == 0:
                    stay = best.stands(rows)
                    if not stay.all():
                        rows, labels, around = rows[stay], labels[stay], around[stay]
                        point, gradient, memory = point[stay], gradient[stay], memory[stay]
                    if not len(rows):
                        break
                shift, memory = move(gradient.to(point.dtype), memory, step)
                point = around.project_(point.add_(shift))
                del gradient, shift  # their memory serves the next pass
            if len(rows):
                shown = around.shown(point)
                best.offer(rows, shown, *judge(model, shown, labels, targeted=targeted, objective=objective))
    return best.result()
