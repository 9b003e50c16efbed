"""EAD: the elastic-net attack, which changes few pixels."""

import torch
from torch import nn

from trs_explorer.attacks.checks import check_images, check_labels, check_number
from trs_explorer.attacks.cw import margin_of
from trs_explorer.attacks.minimal import NearestSearch, hinge
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.stacked import at_least_float32


def ead(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    c: float = 5.0,
    beta: float = 0.01,
    steps: int = 100,
    searches: int = 9,
    confidence: float = 0.0,
    lr: float = 0.01,
    targeted: bool = False,
    early_stop: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """Of all images visited that fool the model by a margin of `confidence`, the one nearest to x in L1.

    Where none does so, the one that fools by the largest margin; x where none fools at all.
    There is no ball. Minimises c * hinge + |x_adv - x|_2^2 + beta |x_adv - x|_1 in [0, 1] by FISTA: a gradient step of
    lr * sqrt(1 - k / steps), then pixels within beta of x go back to x. Every search begins at x again.

    Args:
        model, x, y: as for `pgd`.
        c, steps, searches, confidence, targeted, early_stop, generator: as for `cw`.
        beta: weight of the L1 distance, and what each step shrinks a pixel's change by.
        lr: length of the first gradient step.

    Returns: images of the shape and type of x.
    Raises: as `cw`, and ValueError for beta < 0 or beyond 1e10.
    Source: Chen et al., "EAD: elastic-net attacks to deep neural networks via adversarial examples", AAAI 2018, Algorithm 1
    with its L1 decision rule; 100 steps and 9 searches: the defaults of the library that the TRS authors used.
    """
    check_images(x, y)
    check_number("beta", beta)
    with torch.inference_mode(False), torch.no_grad():
        x, y = x.detach().clone(), y.clone().long()
        search = NearestSearch(x, c=c, steps=steps, searches=searches, confidence=confidence, lr=lr, early_stop=early_stop)
    if not len(x):
        return x
    with torch.inference_mode(False), eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        search.update(search.all_rows, x, margin_of(model, x, y, targeted), torch.zeros_like(search.distance))
        origins = at_least_float32(x)
        for _ in range(searches):
            rows = search.begin()
            origin, labels, weight = origins[rows], y[rows], search.weight[rows]
            point = ahead = origin
            for step in range(steps):
                if not len(rows):
                    break
                with torch.enable_grad():
                    variable = ahead.detach().clone().requires_grad_()
                    gap = margin_of(model, variable.to(x.dtype), labels, targeted)
                    distance = (variable - origin).flatten(1).square().sum(-1)
                    (gradient,) = torch.autograd.grad((distance + weight * hinge(gap, confidence)).sum(), variable)
                before = point
                point = shrink(ahead - lr * (1 - step / steps) ** 0.5 * gradient.nan_to_num(), origin, beta)
                ahead = point + step / (step + 3) * (point - before)
                images = point.to(x.dtype)
                size = (images - origin).flatten(1).abs().sum(-1)
                search.update(rows, images, margin_of(model, images, labels, targeted), size)
                rows, origin, labels, weight, point, ahead = search.drop_fooled(rows, step, origin, labels, weight, point, ahead)
            search.end()
    return search.x_adv


def shrink(point: Images, x: Images, beta: float) -> Images:
    """Move every pixel nearer to x by beta, those within beta to x itself, and clip to [0, 1]. Eq. (5) of the source."""
    change = point - x
    return (x + change.sign() * (change.abs() - beta).clamp_min(0)).clamp(0, 1)
