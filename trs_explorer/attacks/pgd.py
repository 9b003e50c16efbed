"""PGD (projected gradient descent in an eps-ball, maximum norm or L2) with the loop that MIM, DI2, ILA and IRA share; and BIM."""

from collections.abc import Callable
from typing import Unpack

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from trs_explorer.attacks.ball import Ball, direction
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.checks import check_images, check_labels
from trs_explorer.attacks.losses import PerExample, loss_named
from trs_explorer.attacks.model_state import eval_mode
from trs_explorer.attacks.noise import draw_seeds
from trs_explorer.attacks.objective import CROSS_ENTROPY, Objective, loss_and_success, loss_gradient, objective_of
from trs_explorer.attacks.search import Search, SearchOptions
from trs_explorer.gradients import Images, Labels

# Check for success every 5 steps: each check forces a GPU sync, and every further step on a fooled image is wasted.
CHECK_EVERY = 5

# A step before its projection: (gradient, memory, step number from 0) -> (step, memory for the next call). All are shaped like x,
# in float32 at least; the memory begins with zeros.
Update = Callable[[Images, Tensor, int], tuple[Images, Tensor]]
# The gradient to follow: (images in the type of x, their rows in x, step number) -> (gradient, value, fooled), the last two as
# `loss_and_success` gives them.
GradientAt = Callable[[Images, Tensor, int], tuple[Images, PerExample, Bool[Tensor, " batch"]]]


def pgd(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    loss: str = "ce",
    **options: Unpack[SearchOptions],
) -> Images:
    """The iterate of highest loss among all that fool the model, over all restarts; x where none does.

    Each restart begins at a point drawn uniformly from the ball, then takes `steps` steps along the gradient's sign (linf) or
    unit vector (l2). Each step is projected back into the ball and [0, 1].

    Args:
        model: images -> logits or log-probabilities [batch, class].
        x: images [batch, channel, height, width] in [0, 1].
        y: true classes [batch]; the wanted ones if targeted.
        eps: radius of the ball, in [0, 1] pixels, measured in `norm`.
        steps: steps of each restart.
        step_size: length of a step, in [0, 1] pixels, measured in `norm`; None is eps/10.
        restarts: random starts; the best iterate of all of them counts, image by image.
        random_start: False begins at x.
        loss: "ce", "margin" or "dlr" (`losses`).
        options: norm, targeted, early_stop, for_transfer, generator (`SearchOptions`).

    Returns: images of the shape and type of x.
    Raises: ValueError for pixels outside [0, 1] or NaN, labels that are none of the model's classes, options out of range;
    TypeError for anything but tensors, and for a model that returns something else.
    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, section 2.1; 50 steps of
    eps/10: the TRS paper's evaluation as its authors' code runs it.
    """
    size = eps / 10 if step_size is None else step_size
    search = Search(eps=eps, steps=steps, step_size=size, restarts=restarts, random_start=random_start, **options)
    return projected_ascent(model, x, y, search, fixed_step(search), objective=objective_of(loss_named(loss)))


def bim(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    **options: Unpack[SearchOptions],
) -> Images:
    """PGD from x itself, in smaller steps: step_size None is eps / steps, so that the last step just reaches the ball's edge.

    Everything else is as for `pgd`. It draws no noise.
    Source: Kurakin, Goodfellow, Bengio, "Adversarial examples in the physical world", ICLR 2017; the step: the TRS authors' code.
    """
    size = eps / max(steps, 1) if step_size is None else step_size
    return pgd(model, x, y, eps=eps, steps=steps, step_size=size, random_start=False, **options)


def fixed_step(search: Search) -> Update:
    """Steps of length step_size along the gradient's direction."""

    def update(gradient: Images, memory: Tensor, step: int) -> tuple[Images, Tensor]:
        return direction(gradient, search.norm).mul_(search.step_size), memory

    return update


def projected_ascent(
    model: nn.Module,
    x: Images,
    y: Labels,
    search: Search,
    update: Update,
    *,
    objective: Objective = CROSS_ENTROPY,
    gradient_at: GradientAt | None = None,
) -> Images:
    """Maximise the objective in a ball by projected steps: the loop of PGD, and of all attacks that change only its steps.

    Args:
        model, x, y: as for `pgd`.
        search: radius, number of steps and restarts, norm, and the rest of `Search`.
        update: turns a gradient into a step.
        objective: what is maximised, and what the best iterate is chosen by.
        gradient_at: gives another gradient to follow than the objective's.

    Returns: the iterate of highest objective among all that fool the model, x itself included; x where none does.
    """
    check_images(x, y)
    if search.eps == 0 or not len(x):
        return x.detach().clone()
    y, targeted = y.long(), search.targeted
    all_rows, whole_ball = torch.arange(len(x), device=x.device), Ball(x, search.eps, search.norm)
    seeds = draw_seeds(len(x), search.restarts, search.generator) if search.random_start else []
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        value, fooled = loss_and_success(model, x, y, targeted=targeted, objective=objective)
        best = Best(x, value, fooled, for_transfer=search.for_transfer)
        for restart in range(search.restarts):
            rows = all_rows[best.not_yet_fooled(all_rows)] if search.drops_fooled else all_rows
            if not len(rows):
                break
            ball, labels = (whole_ball, y) if rows is all_rows else (whole_ball[rows], y[rows])
            point = ball.random_point([seeds[i][restart] for i in rows.tolist()]) if search.random_start else ball.x.clone()
            memory = torch.zeros_like(point)
            for step in range(search.steps):
                images = ball.as_images(point)
                if gradient_at is None:
                    gradient, value, fooled = loss_gradient(model, images, labels, targeted=targeted, objective=objective)
                else:
                    gradient, value, fooled = gradient_at(images, rows, step)
                best.update(rows, images, value, fooled)
                if search.drops_fooled and step % CHECK_EVERY == 0:
                    stay = best.not_yet_fooled(rows)
                    if not stay.all():
                        rows, labels, ball = rows[stay], labels[stay], ball[stay]
                        point, gradient, memory = point[stay], gradient[stay], memory[stay]
                    if not len(rows):
                        break
                shift, memory = update(gradient.to(point.dtype), memory, step)
                point = ball.project_(point.add_(shift))
                del gradient, shift  # their memory serves the next pass
            if len(rows):
                images = ball.as_images(point)
                best.update(rows, images, *loss_and_success(model, images, labels, targeted=targeted, objective=objective))
    return best.result()
