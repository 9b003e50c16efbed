"""Several attacks one after another, each on the images that those before it have not fooled the model on."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn

from trs_explorer.attacks.best import Best
from trs_explorer.attacks.checks import check_images, check_labels
from trs_explorer.attacks.losses import margin
from trs_explorer.attacks.noise import ImageSeeds, draw_seeds
from trs_explorer.attacks.objective import loss_and_success, objective_of
from trs_explorer.attacks.options import AttackOptions
from trs_explorer.attacks.remaining import numbers, places
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.eval_mode import eval_mode

# An attack on the images at some places: (rows, source of their noise) -> their adversarial images.
RowsAttack = Callable[[Tensor, torch.Generator], Images]
MARGIN = objective_of(margin)


def in_sequence(model: nn.Module, x: Images, y: Labels, settings: AttackOptions, attacks: Sequence[RowsAttack]) -> Images:
    """The image of largest margin among all that fool the model, x itself included; x where no attack finds one.

    Each image takes one draw from the settings' generator, from which its seed for every attack derives: an image's noise does
    not depend on which others are still attacked.

    - settings: of them early_stop (otherwise every attack is made on all images), for_transfer, targeted and generator count.
    """
    check_images(x, y)
    if settings.eps == 0 or not len(x):
        return x.detach().clone()
    all_rows, y = torch.arange(len(x), device=x.device), y.long()
    seeds = draw_seeds(len(x), len(attacks), settings.generator)
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        value, fooled = loss_and_success(model, x, y, targeted=settings.targeted, objective=MARGIN)
        best = Best(x, value, fooled, for_transfer=settings.for_transfer)
        for number, attack in enumerate(attacks):
            rows = places(best.not_yet_fooled(all_rows)) if settings.drops_fooled else all_rows
            if not len(rows):
                break
            candidate = attack(rows, ImageSeeds([seeds[row][number] for row in numbers(rows)]))
            value, fooled = loss_and_success(model, candidate, y[rows], targeted=settings.targeted, objective=MARGIN)
            best.update(rows, candidate, value, fooled)
    return best.result()


def towards_each(
    model: nn.Module,
    x: Images,
    y: Labels,
    settings: AttackOptions,
    targets: int,
    towards: Callable[[int, Int[Tensor, "batch other"]], RowsAttack],
) -> Images:
    """`in_sequence` of one attack for each of the `targets` wrong classes that are likeliest at x; of all, if there are fewer.

    - towards: (place in the order, the wrong classes of every image in that order) -> the attack.
    Raises: ValueError as `pgd`, and for less than one target.
    """
    check_images(x, y)
    if targets < 1:
        raise ValueError(f"targets must be >= 1, got {targets}")
    if settings.eps == 0 or not len(x):
        return x.detach().clone()
    y = y.long()
    with eval_mode(model), torch.no_grad():
        check_labels(model, x, y)
        others = model(x).scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)[:, :-1]
    return in_sequence(model, x, y, settings, [towards(number, others) for number in range(min(targets, others.shape[1]))])
