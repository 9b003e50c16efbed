"""PGD (projected gradient descent in an eps-ball, maximum norm or L2) with the loop that MIM, DI2, ILA and IRA share; and BIM."""

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor, nn

from trs_explorer.attacks.ball import Ball, direction
from trs_explorer.attacks.best import Best
from trs_explorer.attacks.checks import check_images, check_labels
from trs_explorer.attacks.losses import loss_named
from trs_explorer.attacks.noise import draw_seeds
from trs_explorer.attacks.objective import CROSS_ENTROPY, Objective, loss_and_success, loss_gradient, objective_of
from trs_explorer.attacks.options import AttackOptions, CommonOptions
from trs_explorer.attacks.remaining import CHECK_EVERY, numbers, places, places_if_fewer
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode

# A step before its projection: (gradient, memory, step number from 0) -> (step, memory for the next call). All are shaped like x,
# in float32 at least; the memory begins with zeros.
Update = Callable[[Images, Tensor, int], tuple[Images, Tensor]]
# The gradient to follow: (images, rows, step) -> gradient. rows: the images' places in x.
GradientAt = Callable[[Images, Tensor, int], Images]


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
    **options: Unpack[CommonOptions],
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
        options: norm, targeted, early_stop, for_transfer, generator (`CommonOptions`).

    Returns: images of the shape and type of x.
    Raises: ValueError for pixels outside [0, 1] or NaN, labels that are none of the model's classes, options out of range;
    TypeError for anything but tensors, and for a model that returns something else.
    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, section 2.1; 50 steps of
    eps/10: the TRS paper's evaluation as its authors' code runs it.
    """
    settings = AttackOptions(eps=eps, steps=steps, step_size=step_size, restarts=restarts, random_start=random_start, **options)
    return projected_ascent(model, x, y, settings, fixed_step(settings), objective=objective_of(loss_named(loss)))


def bim(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    **options: Unpack[CommonOptions],
) -> Images:
    """PGD from x itself, in smaller steps: step_size None is eps / steps, so that the last step just reaches the ball's edge.

    Everything else is as for `pgd`. It draws no noise.
    Source: Kurakin, Goodfellow, Bengio, "Adversarial examples in the physical world", ICLR 2017; the step: the TRS authors' code.
    """
    size = eps / max(steps, 1) if step_size is None else step_size
    return pgd(model, x, y, eps=eps, steps=steps, step_size=size, random_start=False, **options)


def fixed_step(settings: AttackOptions) -> Update:
    """Steps of length step_size along the gradient's direction."""

    def update(gradient: Images, memory: Tensor, step: int) -> tuple[Images, Tensor]:
        return direction(gradient, settings.norm).mul_(settings.step_length), memory

    return update


def projected_ascent(
    model: nn.Module,
    x: Images,
    y: Labels,
    settings: AttackOptions,
    update: Update,
    *,
    objective: Objective = CROSS_ENTROPY,
    gradient_at: GradientAt | None = None,
) -> Images:
    """Maximise the objective in a ball by projected steps: the loop of PGD, and of all attacks that change only its steps.

    Args:
        model, x, y: as for `pgd`.
        settings: radius, number of steps and restarts, norm, and the rest of `AttackOptions`.
        update: turns a gradient into a step.
        objective: what is maximised, and what the best iterate is chosen by.
        gradient_at: (images, rows, step) -> the gradient to follow there in place of the objective's. rows: the images' places
            in x.

    Returns: the iterate of highest objective among all that fool the model, x itself included; x where none does.
    """
    check_images(x, y)
    if settings.eps == 0 or not len(x):
        return x.detach().clone()
    y, targeted = y.long(), settings.targeted
    all_rows, whole_ball = torch.arange(len(x), device=x.device), Ball(x, settings.eps, settings.norm)
    seeds = draw_seeds(len(x), settings.restarts, settings.generator) if settings.random_start else []
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        value, fooled = loss_and_success(model, x, y, targeted=targeted, objective=objective)
        best = Best(x, value, fooled, for_transfer=settings.for_transfer)
        for restart in range(settings.restarts):
            rows = places(best.not_yet_fooled(all_rows)) if settings.drops_fooled else all_rows
            if not len(rows):
                break
            ball, labels = (whole_ball, y) if rows is all_rows else (whole_ball[rows], y[rows])
            point = ball.random_point([seeds[i][restart] for i in numbers(rows)]) if settings.random_start else ball.x.clone()
            memory = torch.zeros_like(point)
            for step in range(settings.steps):
                images = ball.as_images(point)
                if gradient_at is None:
                    gradient, value, fooled = loss_gradient(model, images, labels, targeted=targeted, objective=objective)
                else:
                    gradient = gradient_at(images, rows, step)
                    value, fooled = loss_and_success(model, images, labels, targeted=targeted, objective=objective)
                best.update(rows, images, value, fooled)
                if settings.drops_fooled and step % CHECK_EVERY == 0:
                    stay = places_if_fewer(best.not_yet_fooled(rows))
                    if stay is not None:
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
