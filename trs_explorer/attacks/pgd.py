"""PGD: projected gradient descent, in the maximum norm or in L2."""

import math

import torch
from torch import nn

from trs_explorer.attacks import common
from trs_explorer.gradients import Images, Labels

# Steps between two looks at who is fooled already: a look makes a GPU wait, going on with a fooled image wastes its steps.
LOOK_EVERY = 5


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
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    generator: torch.Generator | None = None,
) -> Images:
    """The iterate of highest loss among all visited that fool the model, over all restarts; x where none does.

    Shapes: x_adv as x. Units: eps and step_size in [0, 1] pixels, measured in `norm` ("linf" or "l2"); step_size None is eps/10.
    Each restart begins at a point drawn uniformly from the ball, then takes `steps` steps along the gradient's sign (linf) or
    direction (l2), each projected back into the ball and [0, 1].

    early_stop: images that are fooled (x itself included) leave within 5 steps. It does not change how many are fooled. Turn it
    off where the images are for *another* model: going on to the highest loss is what makes them transfer.
    generator: each example takes `restarts` draws from it, in order, as seeds of its own noise. So its noise depends on its place
    in the call, not on who stands beside it or leaves. None draws from PyTorch's global generator.
    Raises: ValueError for pixels outside [0, 1] or NaN, labels that are none of the model's classes, options out of range.
    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, section 2.1; 50 steps of
    eps/10: the TRS paper's evaluation as its authors' code runs it.
    """
    common.check_images(x, y)
    common.check_radius(eps)
    step_size = eps / 10 if step_size is None else step_size
    _check_options(eps, steps, step_size, restarts, random_start, norm)
    if eps == 0 or not len(x):
        return x.detach().clone()
    y = y.long()
    everyone = torch.arange(len(x), device=x.device)
    seeds = common.draw_seeds(len(x), restarts, generator) if random_start else []
    with common.eval_mode(model), torch.no_grad():
        common.check_labels(model, x, y)
        loss, fooled = common.judge(model, x, y, targeted=targeted)
        x_adv, best_loss = x.detach().clone(), loss.where(fooled, -torch.inf)
        for restart in range(restarts):
            rows = everyone[best_loss.isneginf()] if early_stop else everyone
            if not len(rows):
                break
            point = x[rows]
            if random_start:
                shift = common.random_shift(point, [seeds[i][restart] for i in rows.tolist()], eps=eps, norm=norm)
                point = common.project(point + shift, x[rows], eps=eps, norm=norm)
            for step in range(steps):
                gradient, loss, fooled = common.climb(model, point, y[rows], targeted=targeted)
                common.keep_best(x_adv, best_loss, rows, point, loss, fooled)
                if early_stop and step % LOOK_EVERY == 0:
                    stay = best_loss[rows].isneginf()
                    rows, point, gradient = rows[stay], point[stay], gradient[stay]
                    if not len(rows):
                        break
                point = point + step_size * common.direction(gradient, norm)
                point = common.project(point, x[rows], eps=eps, norm=norm)
            if len(rows):
                common.keep_best(x_adv, best_loss, rows, point, *common.judge(model, point, y[rows], targeted=targeted))
    return x_adv


def _check_options(eps: float, steps: int, step_size: float, restarts: int, random_start: bool, norm: str) -> None:
    if norm not in common.NORMS:
        raise ValueError(f"norm must be one of {', '.join(common.NORMS)}, got {norm!r}")
    if steps < 1:
        raise ValueError(f"steps must be >= 1, got {steps}")
    if restarts < 1:
        raise ValueError(f"restarts must be >= 1, got {restarts}")
    if restarts > 1 and not random_start:
        raise ValueError(f"{restarts} restarts without a random start are the same attack {restarts} times: set restarts=1")
    if not math.isfinite(step_size) or step_size < 0 or (step_size == 0 and eps > 0):
        raise ValueError(f"step_size must be finite and > 0, got {step_size}")
