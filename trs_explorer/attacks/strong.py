"""Strong: many attacks one after another, each on the images that those before it have not fooled the model on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn

from trs_explorer.attacks.apgd import apgd
from trs_explorer.attacks.apgd_targeted import apgd_t
from trs_explorer.attacks.checks import check_images, check_labels, check_number
from trs_explorer.attacks.fab import fab_t
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.options import AttackOptions, CommonOptions, keywords
from trs_explorer.attacks.pgd import pgd
from trs_explorer.attacks.pgd_members import pgd_members
from trs_explorer.attacks.sequence import RowsAttack, in_sequence
from trs_explorer.attacks.square import square
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode


@dataclass(frozen=True)
class Part:
    """One of the attacks that `strong` makes.

    - label: its name in results, beginning with the attack's name in the catalogue.
    - attack, options: the function and its options besides eps and the `CommonOptions`.
    - passes: about how many passes forward and back it takes for each image.
    """

    label: str
    attack: Callable[..., Tensor]
    options: dict[str, Any]
    passes: int


def strong_parts(classes: int, members: int, *, effort: float = 1.0) -> tuple[Part, ...]:
    """The parts, the cheapest that fool most first: what they fool need not be attacked again.

    - classes: of the model. The parts that aim at wrong classes aim at nine, or at all.
    - members: of the ensemble; 0 for a single model.
    - effort: share of the usual steps, restarts and queries.

    On masked ensembles MORA fools most. FAB-T, whose way leads outside the ball, fools what remains of some (ADP,
    gradient boosting); targeted APGD most of what remains without masking. Order, steps, restarts and queries: our choice, by
    trials on the shipped runs (attacks/README.md).
    """

    def scaled(number: int) -> int:
        return max(1, round(effort * number))

    restarts, targets = scaled(2), min(9, classes - 1)
    quarter, half, whole, queries = scaled(25), scaled(50), scaled(100), scaled(1000)
    parts = [
        *(
            Part(
                f"mora-{loss} {share}",
                mora,
                {"loss": loss, "members_share": share, "steps": whole, "restarts": restarts},
                whole * restarts,
            )
            for loss, share in (("ce", 0.5), ("ce", 0.2), ("margin", 0.5))
        ),
        Part("apgd-ce", apgd, {"steps": whole}, whole),
        Part("pgd-margin", pgd, {"steps": half, "loss": "margin"}, half),
        Part("fab-t", fab_t, {"steps": whole, "targets": targets}, 2 * whole * targets),
        Part("apgd-t-margin", apgd_t, {"steps": half, "loss": "margin", "targets": targets}, half * targets),
    ]
    if classes > 2:
        parts.append(Part("apgd-t-dlr", apgd_t, {"steps": quarter, "targets": targets}, quarter * targets))
    if members > 1:
        parts.append(Part("pgd-members", pgd_members, {"steps": half}, half * members))
    parts.append(Part("square", square, {"queries": queries}, queries // 2))
    return tuple(parts)


def parts_for(model: nn.Module, x: Images, *, effort: float = 1.0) -> tuple[Part, ...]:
    """`strong_parts` for a model that takes such images; none without images."""
    check_number("effort", effort, positive=True)
    if not len(x):
        return ()
    with eval_mode(model), torch.no_grad():
        classes = model(x[:1].to(next(model.parameters(), x).device)).shape[1]
    members = len(cast(Ensemble, model).members) if hasattr(model, "member_logits") else 0
    return strong_parts(classes, members, effort=effort)


def part_arguments(part: Part, *, eps: float, effort: float = 1.0, **options: Any) -> dict[str, Any]:
    """The arguments of a part besides its noise: its options, eps, and those of the common options that it takes."""
    names = keywords(part.attack)
    return {"eps": eps, **{name: value for name, value in options.items() if name in names}, **part.options}


def strong(
    model: nn.Module, x: Images, y: Labels, *, eps: float, effort: float = 1.0, **options: Unpack[CommonOptions]
) -> Images:
    """The image of largest margin among all that fool the model, over all parts; x where none does.

    Makes the attacks of `strong_parts` in turn. With early_stop (default), each is made on the images that nothing has fooled
    yet. A measurement makes them one by one over all images instead, with the same noise for each image (`evaluation.in_parts`).

    - effort: share of the usual steps, restarts and queries of the parts: .1 for a quick look.
    """
    settings = AttackOptions(eps=eps, steps=1, **options)
    names = ("norm", "targeted", "early_stop", "for_transfer")
    common: dict[str, Any] = {name: getattr(settings, name) for name in names}

    def rows_attack(part: Part) -> RowsAttack:
        arguments = part_arguments(part, eps=eps, **common)

        def attack(rows: Tensor, generator: torch.Generator) -> Images:
            return part.attack(model, x[rows], y[rows], generator=generator, **arguments)

        return attack

    check_images(x, y)
    check_number("effort", effort, positive=True)
    if eps == 0 or not len(x):
        return x.detach().clone()
    check_labels(model, x, y)
    return in_sequence(model, x, y, settings, [rows_attack(part) for part in parts_for(model, x, effort=effort)])
