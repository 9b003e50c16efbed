"""Measure an ensemble on images: accuracy under attack, transfer between members, and checks for usual mistakes."""

import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.attacks.options import keywords
from trs_explorer.catalogue import load
from trs_explorer.catalogue_entries import as_hard_in_l2
from trs_explorer.data.as_tensors import as_batch, as_labels
from trs_explorer.evaluation import accuracy, transfer
from trs_explorer.evaluation.accuracy import Attack, Rate
from trs_explorer.evaluation.bounds.measured import CLASSES, SAMPLES, bounds_from, measure_bounds
from trs_explorer.evaluation.bounds.of_pairs import Bounds
from trs_explorer.evaluation.transfer import TransferMatrix
from trs_explorer.evaluation.trust.from_rates import outside_the_ball
from trs_explorer.evaluation.trust.import_checks import check_import, in_training
from trs_explorer.lookup import eps_of
from trs_explorer.measure.bounds_session import radii_up_to
from trs_explorer.measure.named_attacks import AnyAttack, check_reach, named_attack
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.imported import as_ensemble
from trs_explorer.options import UsageError, parse_number

Attacks = Mapping[str, object] | Sequence[AnyAttack]
CLEAN = "clean"


def evaluate(
    ensemble: object, x: object, y: object, *, attacks: Attacks = (), batch_size: int = 256, seed: int = 0
) -> dict[str, Rate]:
    """Return accuracies by name: "clean" first, then under every attack. `rate.accuracy` is rate.correct / rate.n.

    - ensemble: an `Ensemble`, a list of modules (the members), or one module that returns logits or log-probabilities.
    - x, y: images in [0, 1], [batch, channel, height, width], and their true labels; as tensors, arrays or lists.
    - attacks: by name. {"pgd": 0.3}: the attack of that name at this eps (the constant c, if it has no radius).
      {"pgd": [0.1, 0.3]}: at each of several, as "pgd 0.1" and "pgd 0.3". {"pgd": {"eps": 0.3, "steps": 100}}: with options.
      A number may be a text: {"pgd": "8/255"}.
      {"any name": functools.partial(trs.attacks.pgd, eps=0.3)}, also of a function of your own. In place of an attack's name
      stands "mine.py:square" for one in a file, or a function: {trs.attacks.pgd: 0.3}.
    - batch_size: images at a time, at most. seed: of random starts; an image's noise depends on it and on its place alone.

    Denominator: ALL images given. An image counts as correct if the model classifies the attack's result correctly. Intervals
    (low, high) are 95 % Wilson intervals. It is `evaluation.accuracy.evaluate`, with the same figures.
    Warns of an attack that moves an image further than its eps: its rate does not count, and `worst_case` refuses it.
    Raises: UsageError (a ValueError) for images, labels or attacks that cannot be used, and why.
    """
    images, labels = as_batch(x, y)
    model = ensemble if isinstance(ensemble, nn.Module) and not isinstance(ensemble, nn.ModuleList) else as_ensemble(ensemble)
    planned = _planned(attacks)
    for name, (_, _, arguments) in planned.items():
        check_reach(arguments, images, f"attacks[{name!r}]")
    rates = accuracy.evaluate(model, images, labels, attacks=[*planned.values()], batch_size=batch_size, seed=seed)
    for text in outside_the_ball(rates):
        warnings.warn(text, stacklevel=2)
    return dict(zip((CLEAN, *planned), rates, strict=True))


def worst_case(rates: Mapping[str, Rate] | Sequence[Rate]) -> Rate:
    """Return the accuracy under the worst of all attacks among rates of the same images: correct is what withstands each.

    rates: what `evaluate` returned; the clean rate is left out. All attacks must have one radius, and one norm.
    Raises: UsageError if there is no attack, they differ in radius, norm or images, or one has left its radius.
    """
    every = [*(rates.values() if isinstance(rates, Mapping) else rates)]
    attacked = [rate for rate in every if rate.name != CLEAN]
    if not attacked:
        raise UsageError("the worst case needs a rate under an attack: trs.evaluate(..., attacks={'pgd': 0.1})")
    radii = dict.fromkeys((rate.eps, rate.norm) for rate in attacked)
    if len(radii) > 1:
        different = ", ".join(f"{rate.name}: {rate.norm}, eps {rate.eps}" for rate in attacked)
        raise UsageError(f"the worst case is of attacks of one radius, got {different}")
    if len({rate.n for rate in attacked}) > 1:
        raise UsageError(f"the rates are of different images: {', '.join(str(rate.n) for rate in attacked)}")
    if outside := outside_the_ball(attacked):
        raise UsageError(outside[0])
    return accuracy.worst_of(f"worst of {len(attacked)}", attacked)


def transfer_matrix(
    ensemble: Ensemble | Sequence[nn.Module],
    x: object,
    y: object,
    *,
    attack: AnyAttack = "pgd",
    wanted: object = None,
    protocol: str = "def6",
    ensemble_column: bool = True,
    seed: int = 0,
    batch_size: int = 256,
    **options: Any,
) -> TransferMatrix:
    """Attack every member alone, and test the images on all: row = surrogate, column = target, the ensemble in the last one.

    - ensemble, x, y: as for `evaluate`.
    - attack, options: a name, one of `trs.attacks` or a function of your own, and its options: attack="mim", eps=0.3, steps=20.
    - wanted: for a targeted attack, the class that each image should get, never y.
    - protocol: which images count. "def6": those that both models classify correctly and that fool the surrogate; "all-right":
      those that all members classify correctly. Details and denominators: `evaluation.transfer.TransferMatrix`.
    - ensemble_column: whether the ensemble is the last target.
    - seed, batch_size: as for `evaluate`. Every surrogate gets the same noise: reordering the members reorders the matrix.

    `matrix.rate(i, j)` is fooled / eligible of one cell, `matrix.pooled()` both over all pairs, `print(matrix)` the rates in %.
    Raises: UsageError (a ValueError) for images, labels or attacks that cannot be used, and why.
    """
    net, (images, labels) = as_ensemble(ensemble), as_batch(x, y)
    _, function, arguments = named_attack(attack, options)
    check_reach(arguments, images, "the attack")
    aim = None if wanted is None else as_labels(wanted).to(labels.device)
    return transfer.transfer_matrix(
        net,
        images,
        labels,
        attack=partial(function, **arguments),
        wanted=aim,
        protocol=protocol,
        ensemble_column=ensemble_column,
        seed=seed,
        batch_size=batch_size,
    )


def bounds(
    ensemble: Ensemble | Sequence[nn.Module],
    x: object,
    y: object,
    *,
    eps: float | Sequence[float] | None = None,
    attack: AnyAttack = "pgd",
    wanted: object = None,
    samples: int = SAMPLES,
    classes: int = CLASSES,
    seed: int = 0,
    batch_size: int = 64,
    **options: Any,
) -> Bounds:
    """Estimate the bounds of the paper's Theorems 1 and 2 on the transfer between members, beside the measured transfer.

    - ensemble, x, y: as for `evaluate`; two members at least.
    - eps: L2 radii of the attacks. None: four, by the size of the images.
    - attack, options: as for `transfer_matrix`, of an attack with a radius; its norm is L2.
    - wanted: for a targeted attack, as the theorems in the paper, the class that each image should get, never y.
    - samples, classes: random points of each ball, and classes of each image, whose gradients are taken.
    - seed, batch_size: as for `evaluate`.

    `bounds.pairs` has the quantities, the bounds and the measured Pr(T_r = 1) of every pair at every radius, of ALL images;
    `bounds.sentences()` says why a bound is vacuous, `trs.figures.bounds(bounds)` draws them. All of them are estimates.
    Raises: UsageError (a ValueError) for images, labels, radii or attacks that cannot be used, and why.
    """
    net, (images, labels) = as_ensemble(ensemble), as_batch(x, y)
    given = radii_up_to(as_hard_in_l2(eps_of(images.shape[1:]), images.shape[1:])) if eps is None else eps
    radii = sorted({float(one) for one in (given if isinstance(given, Sequence | Tensor) else [given])})
    if len(net) < 2:
        raise UsageError("bounds are of the transfer between members: the ensemble has one")
    if not len(images):
        raise UsageError("bounds need one image at least")
    if not radii or not 0 < radii[0] <= radii[-1] < float("inf"):
        raise UsageError(f"eps must be finite L2 radii above 0, got {eps}")
    _, function, named = named_attack(attack, {**options, "eps": radii[-1]})
    arguments = {name: value for name, value in named.items() if name != "eps"}
    arguments |= {"norm": "l2"} if "norm" in keywords(function) else {}
    so_far = measure_bounds(
        net,
        images,
        labels,
        attack=partial(function, **arguments),
        eps=radii,
        wanted=None if wanted is None else as_labels(wanted).to(labels.device),
        samples=samples,
        classes=classes,
        seed=seed,
        batch_size=batch_size,
    )
    measured = deque(so_far, maxlen=1).pop()
    about: dict[str, Any] = {"eps": radii, "targeted": wanted is not None, "samples": samples, "classes": classes}
    return bounds_from(measured, net, images, **about)


def check(ensemble: Ensemble | Sequence[nn.Module], x: object, y: object) -> list[str]:
    """Return what is wrong with an ensemble's members, in words; empty if nothing was found.

    Looked for are mistakes that make every figure meaningless: normalisation that is missing or doubled, probabilities in place
    of logits, members in training mode, random outputs, gradients that do not reach the input.

    ensemble, x, y: as for `evaluate`; some hundreds of test images are enough.
    """
    net, (images, labels) = as_ensemble(ensemble), as_batch(x, y)
    weight = next(net.parameters(), images)
    checks = check_import(net, images.to(weight.device), labels.to(weight.device), was_training=in_training(net))
    return [found.warning for found in checks if found.warning]


def _planned(attacks: Attacks) -> dict[str, Attack]:
    """Return the attacks by the names of their rates."""
    if isinstance(attacks, str):
        raise UsageError(f"attacks must say at which eps: attacks={{{attacks!r}: 0.1}}, got {attacks!r}")
    planned: dict[str, Attack] = {}
    for key, value in attacks.items() if isinstance(attacks, Mapping) else ((None, one) for one in attacks):
        for name, attack in _attacks(key, value):
            if name in (CLEAN, *planned):
                raise UsageError(f"attacks: there are two {name!r}: give one another name")
            planned[name] = attack
    return planned


def _of_radius(value: Any) -> str:
    return value if isinstance(value, str) else format(float(value), "g")


def _attacks(key: AnyAttack | None, value: Any) -> list[tuple[str, Attack]]:
    """Return an entry of `attacks` as attacks with their names; key None: an entry of a list, a function: it names itself."""
    if key is None or callable(value):
        return [_with_name(key, named_attack(value, {}))]
    if isinstance(value, str):
        value = parse_number(value, f"attacks[{key!r:.80}]")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = _strength(key, value)
    if isinstance(value, Mapping):
        return [_with_name(key, named_attack(key, value))]
    if isinstance(value, Sequence | Tensor):
        several = [(_of_radius(one), _attacks(key, one if isinstance(one, str) else float(one))) for one in value]
        return [(f"{name} {radius}", attack) for radius, [(name, attack)] in several]
    raise UsageError(f"attacks[{key!r:.80}] must be an eps, several, a dict of options or a function, got {value!r:.80}")


def _with_name(key: AnyAttack | None, attack: Attack) -> tuple[str, Attack]:
    name = key if isinstance(key, str) else attack[0]
    return name, (name, *attack[1:])


def _strength(attack: AnyAttack, value: float) -> dict[str, Any]:
    """Return a number as the option that it stands for: eps, or c of an attack without a radius, of which only success counts."""
    name = next((name for name in ATTACKS if attack in (name, name.replace("-", "_"), load(ATTACKS[name].function))), "")
    return {"c": value, "early_stop": True} if name and not ATTACKS[name].has_radius else {"eps": value}
