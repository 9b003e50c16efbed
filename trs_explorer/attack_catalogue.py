"""The attacks: what each one is, and the hyper-parameters it takes. No torch here.

A new attack is a file with a function in attacks/ and an entry in ATTACKS. One of others needs no entry: `attack`
makes one. Its hyper-parameters are declared in ATTACK_OPTIONS,
once for all attacks that take them: type, range and help. Values are checked against these (`check_attack_options`). Which
hyper-parameters have a command-line flag is decided in cli/flags.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from trs_explorer import plugins
from trs_explorer.options import Option, UsageError, unknown

NORMS = ("linf", "l2")
LOSSES = ("ce", "margin", "dlr")
DLR_CLASSES = 3  # the loss divides by the distance from the largest to the third largest output


@dataclass(frozen=True)
class Attack:
    """An attack: the function, one line about it, and its properties.

    options: names of its hyper-parameters in ATTACK_OPTIONS.
    custom_options, defaults: declarations and defaults of all hyper-parameters of an attack of others.
    has_radius: it stays in a ball of radius eps; the others have a constant c.
    single_step: it takes one step; the others iterate.
    loss: what it maximises by default, one of LOSSES.
    losses: what it can maximise, where it takes that option.
    norms: in which its radius can be measured; for attacks without a radius, in which they look for the smallest change.
    made_for_transfer: it is made to fool other models than the one it attacks, on which attacks without this are stronger.
    classes: how many a data set must have for it.
    of_members: it follows the members of an ensemble, not its outputs alone.
    gradients: it follows the model's gradients; the others only look at its outputs.
    has_path: it goes from an image to its result by one sequence of steps, which the explorer can draw.
    """

    function: str | Callable[..., Any]
    summary: str
    options: tuple[str, ...] = ()
    has_radius: bool = True
    single_step: bool = False
    loss: str = "ce"
    losses: tuple[str, ...] = LOSSES
    norms: tuple[str, ...] = NORMS
    made_for_transfer: bool = False
    classes: int = 2
    of_members: bool = False
    gradients: bool = True
    has_path: bool = True
    custom_options: Mapping[str, Option] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)


_STEPS = ("norm", "steps", "step_size")
_SMALLEST = ("c", "steps", "searches", "confidence", "lr")

ATTACKS = {
    "fgsm": Attack(
        "trs_explorer.attacks.fgsm:fgsm", "one sign step of size eps (Goodfellow et al. 2015)", ("norm",), single_step=True
    ),
    "bim": Attack("trs_explorer.attacks.pgd:bim", "50 sign steps of eps/50 from the image (Kurakin et al. 2017)", _STEPS),
    "pgd": Attack(
        "trs_explorer.attacks.pgd:pgd",
        "50 sign steps of eps/10 from a random start (Madry et al. 2018)",
        (*_STEPS, "restarts", "random_start", "loss"),
    ),
    "mim": Attack("trs_explorer.attacks.mim:mim", "50 steps of eps/10 with momentum (Dong et al. 2018)", (*_STEPS, "momentum")),
    "apgd-ce": Attack(
        "trs_explorer.attacks.apgd:apgd",
        "50 steps that adapt their size (Croce and Hein 2020)",
        ("norm", "steps", "restarts"),
    ),
    "apgd-dlr": Attack(
        "trs_explorer.attacks.apgd:apgd_dlr",
        "the same on the difference of logits ratio, for models with saturated logits",
        ("norm", "steps", "restarts"),
        loss="dlr",
        classes=DLR_CLASSES,
    ),
    "mora": Attack(
        "trs_explorer.attacks.mora:mora",
        "50 steps that follow the members still to be moved (Yu et al. 2022)",
        ("norm", "steps", "restarts", "loss", "members_share"),
        losses=("ce", "margin"),
        of_members=True,
    ),
    "apgd-t": Attack(
        "trs_explorer.attacks.apgd_targeted:apgd_t",
        "APGD towards each of 9 wrong classes, 50 steps each (Croce and Hein 2020)",
        ("norm", "steps", "restarts", "targets", "loss"),
        loss="dlr",
        losses=("dlr", "margin"),
        has_path=False,
    ),
    "fab-t": Attack(
        "trs_explorer.attacks.fab:fab_t",
        "50 steps along the boundary to each of 9 wrong classes (Croce and Hein 2020)",
        ("norm", "steps", "targets"),
        loss="margin",
        has_path=False,
    ),
    "pgd-members": Attack(
        "trs_explorer.attacks.pgd_members:pgd_members",
        "PGD on the margin of each member in turn",
        (*_STEPS, "restarts"),
        loss="margin",
        of_members=True,
        has_path=False,
    ),
    "square": Attack(
        "trs_explorer.attacks.square:square",
        "random search by squares, without gradients (Andriushchenko et al. 2020)",
        ("norm", "queries", "share"),
        loss="margin",
        gradients=False,
        has_path=False,
    ),
    "strong": Attack(
        "trs_explorer.attacks.strong:strong",
        "the worst case: MORA, APGD, targeted APGD, PGD on members, FAB-T and Square in turn",
        ("norm", "effort"),
        loss="margin",
        of_members=True,
        has_path=False,
    ),
    "cw": Attack(
        "trs_explorer.attacks.cw:cw",
        "the smallest L2 change, 1,000 steps of Adam (Carlini and Wagner 2017)",
        _SMALLEST,
        has_radius=False,
        loss="margin",
        norms=("l2",),
    ),
    "ead": Attack(
        "trs_explorer.attacks.ead:ead",
        "the smallest L1 change, 9 x 100 steps (Chen et al. 2018)",
        (*_SMALLEST, "beta"),
        has_radius=False,
        loss="margin",
        norms=("l1",),
    ),
    "di2": Attack(
        "trs_explorer.attacks.di2:di2",
        "50 steps through randomly resized images (Xie et al. 2019)",
        (*_STEPS, "probability", "momentum"),
        made_for_transfer=True,
    ),
    "mdi2": Attack("trs_explorer.attacks.di2:mdi2", "the same with momentum", _STEPS, made_for_transfer=True),
    "ila": Attack(
        "trs_explorer.attacks.ila:ila",
        "10 steps, then 50 that move features the same way (Huang et al. 2019)",
        (*_STEPS, "layer", "reference_steps"),
        made_for_transfer=True,
    ),
    "ira": Attack(
        "trs_explorer.attacks.ira:ira",
        "50 steps to changes whose parts need no others (Wang et al. 2021)",
        (*_STEPS, "interaction_weight", "samples", "grid", "loss"),
        loss="margin",
        made_for_transfer=True,
    ),
}

RADIUS_ATTACKS = tuple(name for name, attack in ATTACKS.items() if attack.has_radius)
PATH_ATTACKS = tuple(name for name in RADIUS_ATTACKS if ATTACKS[name].has_path)
TRANSFER_ATTACKS = tuple(name for name, attack in ATTACKS.items() if attack.made_for_transfer)

# No test set needs more starts or steps; 1e10: beyond, squares overflow in float32.
ATTACK_OPTIONS = {
    option.name: option
    for option in (
        Option("norm", str, "norm of the radius: linf or l2", choices=NORMS),
        Option(
            "loss",
            str,
            "what the attack maximises: cross-entropy, the margin, or the difference of logits ratio (DLR)",
            choices=LOSSES,
        ),
        Option("steps", int, "Steps of the iterated attacks.", low=1, high=100_000),
        Option("step_size", float, "length of a step, in [0, 1] pixels", low=0, high=1e10, above_low=True),
        Option("restarts", int, "Random starts, where an attack has them; the worst counts.", low=1, high=1_000),
        Option("random_start", bool, "begin at a random point of the ball, not at the image"),
        Option("c", float, "constants of cw and ead", low=1e-10, high=1e10),
        Option("confidence", float, "by how much the wrong class must lead, in logits", low=0, high=1e6),
        Option("searches", int, "how many values of c are tried, from c on", low=1, high=100),
        Option("lr", float, "learning rate of the attack's optimiser", low=0, high=1e10, above_low=True),
        Option("beta", float, "weight of the L1 distance in ead", low=0, high=1e10),
        Option("momentum", float, "share of the direction before in the next step", low=0, high=1e10),
        Option("probability", float, "how often an image is resized before its gradient is taken", low=0, high=1),
        Option("layer", str, "the feature layer that ila moves"),
        Option("reference_steps", int, "steps of ila's reference attack", low=1, high=100_000),
        Option("interaction_weight", float, "weight of the interaction of a perturbation's parts", low=0, high=1e10),
        Option("samples", int, "random parts of a perturbation for each step", low=1, high=1_000),
        Option("targets", int, "wrong classes that are aimed at, the likeliest first", low=1, high=100_000),
        Option("queries", int, "images that the model is shown, by attacks without gradients", low=1, high=10_000_000),
        Option("share", float, "share of the pixels that square's squares cover at first", low=0, high=1, above_low=True),
        Option("members_share", float, "share of the members in what mora maximises; the rest is the ensemble", low=0, high=1),
        Option("effort", float, "share of the usual steps and queries of strong's parts", low=0, high=100, above_low=True),
        Option("grid", int, "cells in each direction of which the parts are made", low=1, high=1_000),
    )
}


# What a measurement hands to an attack of others that names it in its signature.
GIVEN = ("eps", "targeted", "generator", "early_stop", "for_transfer")


def attack(name: str, what: str = "--attacks") -> Attack:
    """The attack of that name, also one of others. Raises UsageError for an unknown name, or code that may not run or fails."""
    if name in ATTACKS or not plugins.is_foreign("attack", name):
        names = (*ATTACKS, *plugins.installed("attack"))
        if name not in ATTACKS:
            raise UsageError(unknown(what, name, names))
        return ATTACKS[name]
    return _custom_attack(name, what)


def _custom_attack(name: str, what: str) -> Attack:
    function = plugins.load("attack", name, what)
    declared = _declared_attack(function, plugins.short(name)) if callable(function) else None
    if declared is None:
        raise UsageError(f"{what} {name}: an attack is a function of a model, images and labels, with the parameter eps")
    return declared


@cache  # by the function: in a notebook, a name may stand for another one later
def _declared_attack(function: Callable[..., Any], name: str) -> Attack | None:
    """An attack of others by its signature; None if it has no eps."""
    from trs_explorer import signatures  # noqa: PLC0415 (.02 s that `trs --help` does not need)

    if "eps" not in signatures.parameter_names(function):
        return None
    declared = signatures.declared_options(function, name, GIVEN)
    text, options = signatures.summary(function), declared.options
    return Attack(function, text, tuple(options), custom_options=options, defaults=declared.defaults)


def is_custom(name: str) -> bool:
    """Whether an attack is one of others."""
    return name not in ATTACKS


def attack_option(name: str, option: str) -> Option:
    """The declaration of an attack's hyper-parameter."""
    return attack(name).custom_options.get(option) or ATTACK_OPTIONS[option]


def takes(name: str, option: str) -> bool:
    """Whether an attack has the hyper-parameter."""
    return option in attack(name).options


def check_attack_options(attacks: Sequence[str], options: Mapping[str, object]) -> dict[str, Any]:
    """The options with values of their types, ready for the attacks that take them (`options_for`).

    Raises: UsageError for an unknown option, a value out of range, an option that none of the attacks takes, or a norm that one
    of them does not search in (`check_norm`).
    """
    checked = {}
    for name, value in options.items():
        declared = [attack_option(one, name) for one in attacks if takes(one, name)]
        if not declared and name not in ATTACK_OPTIONS:
            raise UsageError(unknown("attack option", name, ATTACK_OPTIONS))
        checked[name] = [option.check(value) for option in declared or [ATTACK_OPTIONS[name]]].pop()
    if "norm" in checked:
        check_norm(attacks, checked["norm"])
    for each in attacks if "loss" in checked else ():
        if takes(each, "loss") and not is_custom(each) and checked["loss"] not in attack(each).losses:
            raise UsageError(f"--loss {checked['loss']}: {each} takes {' or '.join(attack(each).losses)}")
    for name, value in checked.items():
        if any(takes(one, name) for one in attacks) or (name == "norm" and any(map(_only_max_norm, attacks))):
            continue
        flag, names, one = ATTACK_OPTIONS[name].flag, " and ".join(map(plugins.short, attacks)), len(attacks) == 1
        if name == "norm":
            raise UsageError(f"{flag} {value}: {names} {'has' if one else 'have'} no radius")
        takers = [one for one in ATTACKS if takes(one, name)]
        alternatives = f"{', '.join(takers[:-1])} and {takers[-1]} do" if takers[1:] else f"{takers[0]} does"
        raise UsageError(f"{flag}: {names} {'takes' if one else 'take'} none; {alternatives}")
    return checked


def check_norm(attacks: Iterable[str], norm: str) -> None:
    """Raise UsageError unless the attacks in a ball can search in the norm: those without that option only in the max norm."""
    unable = [plugins.short(one) for one in attacks if _only_max_norm(one)]
    if unable and norm != "linf":
        has, searches = ("has", "it searches") if len(unable) == 1 else ("have", "they search")
        raise UsageError(f"--norm {norm}: {' and '.join(unable)} {has} no --norm: {searches} the max norm")


def _only_max_norm(name: str) -> bool:
    return attack(name).has_radius and not takes(name, "norm")


def options_for(attack_name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that an attack takes."""
    return {name: value for name, value in options.items() if takes(attack_name, name)}
