"""CW-L2: the smallest change in L2 that fools a model, found as a minimum over unconstrained variables."""

import torch
from torch import nn

from trs_explorer.attacks.checks import check_images, check_labels
from trs_explorer.attacks.losses import margin
from trs_explorer.attacks.minimal import NearestSearch, hinge
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.models.stacked import at_least_float32

NEARLY_ONE = 0.999999  # pure black and white lie at infinity in tanh space, where no gradient moves them
BETA1, BETA2, ADAM_EPS = 0.9, 0.999, 1e-8


def cw(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    c: float = 0.1,
    steps: int = 1000,
    searches: int = 1,
    confidence: float = 0.1,
    lr: float = 0.01,
    targeted: bool = False,
    early_stop: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """Of all images visited that fool the model by a margin of `confidence`, the one nearest to x in L2.

    Where none does so, the one that fools by the largest margin; x where none fools at all. So which images are fooled does not
    depend on the confidence. With a larger confidence the images lie deeper in the wrong class, and fool other models too.
    There is no ball: how far the attack goes depends on c, the weight of the hinge max(z_y - max others + confidence, 0) beside
    the squared L2 distance. Minimised by Adam over w with x_adv = (tanh(w) + 1) / 2.

    Args:
        model, x, y: as for `pgd`.
        c: weight of the hinge in the first search.
        steps: steps of each search.
        searches: how many values of c are tried: ten times as much where there is no success yet, then halfway.
        confidence: the least margin max others - z_y of a success, and more than 0. In logits, or log-probabilities: their
            differences are the same.
        lr: Adam's learning rate.
        targeted: y is the class to be reached.
        early_stop: drop images within 5 steps of their first success. This does not change how many there are, but the distance
            is not the smallest.
        generator: ignored, there is no noise; it is there because all attacks are called alike.

    Returns: images of the shape and type of x.
    Raises: as `pgd`, and ValueError for c, lr <= 0, confidence < 0, any of them beyond 1e10, or no step or search.
    Source: Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017, section VI A; one search,
    1,000 steps and confidence .1: the TRS paper's evaluation as its authors' code runs it. Their "c" is where the search
    starts.
    """
    check_images(x, y)
    with torch.inference_mode(False), torch.no_grad():
        x, y = x.detach().clone(), y.clone().long()
        search = NearestSearch(x, c=c, steps=steps, searches=searches, confidence=confidence, lr=lr, early_stop=early_stop)
    if not len(x):
        return x
    with torch.inference_mode(False), eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        search.update(search.all_rows, x, margin_of(model, x, y, targeted), torch.zeros_like(search.distance))
        origins = at_least_float32(x)
        start = torch.atanh((2 * origins - 1) * NEARLY_ONE)
        for _ in range(searches):
            rows = search.begin()
            w, origin, labels, weight = start[rows].clone(), origins[rows], y[rows], search.weight[rows]
            mean, square = torch.zeros_like(w), torch.zeros_like(w)
            for step in range(1, steps + 1):
                if not len(rows):
                    break
                with torch.enable_grad():
                    variable = w.detach().clone().requires_grad_()
                    point = ((torch.tanh(variable) + 1) / 2).to(x.dtype)
                    gap = margin_of(model, point, labels, targeted)
                    distance = (point - origin).flatten(1).square().sum(-1)
                    (gradient,) = torch.autograd.grad((distance + weight * hinge(gap, confidence)).sum(), variable)
                search.update(rows, point.detach(), gap.detach(), distance.detach().sqrt())
                gradient = gradient.nan_to_num()
                mean = BETA1 * mean + (1 - BETA1) * gradient
                square = BETA2 * square + (1 - BETA2) * gradient.square()
                w = w - lr * (mean / (1 - BETA1**step)) / ((square / (1 - BETA2**step)).sqrt() + ADAM_EPS)
                rows, origin, labels, weight, w, mean, square = search.drop_fooled(
                    rows, step, origin, labels, weight, w, mean, square
                )
            if len(rows):
                point = ((torch.tanh(w) + 1) / 2).to(x.dtype)
                search.update(rows, point, margin_of(model, point, labels, targeted), (point - origin).flatten(1).norm(dim=-1))
            search.end()
    return search.x_adv


def margin_of(model: nn.Module, x: Images, y: Labels, targeted: bool) -> torch.Tensor:
    """How far x is beyond the decision boundary, in logits: above 0 where it fools the model."""
    gap = margin(at_least_float32(model(x)), y)
    return -gap if targeted else gap
