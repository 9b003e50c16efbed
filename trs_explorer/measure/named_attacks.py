"""An attack as Python code names it: by its name, its reference, or a function with some of its options bound."""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from trs_explorer import plugins
from trs_explorer.attack_catalogue import ATTACK_OPTIONS, ATTACKS, GIVEN, attack, is_custom
from trs_explorer.attack_labels import Label
from trs_explorer.attacks.custom import adapted
from trs_explorer.attacks.options import keywords
from trs_explorer.catalogue import load
from trs_explorer.evaluation.accuracy import Attack
from trs_explorer.measure.session import attack_function
from trs_explorer.options import UsageError, parse_number, unknown

AnyAttack = str | Callable[..., Tensor]


def named_attack(given: AnyAttack, options: Mapping[str, Any]) -> Attack:
    """Return an attack's label, function and keyword arguments, as `accuracy.evaluate` takes them.

    - given: a name of the catalogue ("apgd-ce", also "apgd_ce"), a reference to code ("mine.py:square"), one of `trs.attacks`, a
      function of one's own (attacks/custom.py says what of it is checked), or `functools.partial` of one.
    - options: its eps or c, and others of its options by name. A number may be a text such as "8/255".

    The label says steps, loss and starts where `options` do. Naming code of others allows it to run.
    Raises: UsageError for an unknown attack or option, or if eps (or c) is missing.
    """
    bound: dict[str, Any] = {}
    while isinstance(given, partial):
        if given.args:
            raise UsageError("an attack's options must be bound by name: functools.partial(attack, eps=0.1)")
        bound, given = {**given.keywords, **bound}, given.func
    name, function, custom = _named(given) if isinstance(given, str) else _of_function(given)
    arguments = _parsed({**bound, **options}, function)
    _check_options(name, function, arguments, custom=custom)
    usual = "" if custom else attack(name).loss
    loss = "" if arguments.get("loss", usual) == usual else str(arguments["loss"])
    label = Label(plugins.short(name), loss, arguments.get("steps"), int(arguments.get("restarts", 1)))
    return str(label), function, arguments


def check_reach(arguments: Mapping[str, Any], x: Tensor, what: str) -> None:
    """Raise UsageError for an eps that reaches beyond all images, such as 8 for 8/255. what: whose it is, in words."""
    eps, norm = arguments.get("eps"), arguments.get("norm", "linf")
    largest = math.prod(x.shape[1:]) ** 0.5 if norm == "l2" else 1.0
    if isinstance(eps, int | float) and eps > largest:
        remedy = ": 8 of 255 is 8/255" if norm == "linf" else ""
        raise UsageError(f"{what}: eps {eps:g}: no two such images in [0, 1] are further apart than {largest:.4g}{remedy}")


def _named(given: str) -> tuple[str, Callable[..., Tensor], bool]:
    """Return an attack's name, its function, and whether it is code of others."""
    name = given if given in ATTACKS else given.replace("_", "-")
    if name not in ATTACKS:
        name = plugins.absolute(given)
        plugins.allow("attack", name)
    attack(name, "attack")
    return name, attack_function(name), is_custom(name)


def _of_function(given: Any) -> tuple[str, Callable[..., Tensor], bool]:
    for name in ATTACKS:
        if load(attack(name).function) is given:
            return name, given, False
    if not callable(given) or inspect.isclass(given) or inspect.ismodule(given):
        raise UsageError(f"an attack is a name such as 'pgd', or a function of a model, images and labels, not {given!r:.80}")
    name = getattr(given, "__name__", type(given).__name__)
    return name, adapted(given, name), True


def _parsed(arguments: Mapping[str, Any], function: Callable[..., Tensor]) -> dict[str, Any]:
    """The arguments, with numbers for texts in place of numbers. Raises UsageError for a text that is none."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    numeric = {"eps", *(option.name for option in ATTACK_OPTIONS.values() if option.type is float)}
    numeric |= {name for name, default in defaults.items() if isinstance(default, float)}
    return {
        name: parse_number(value, name) if name in numeric and isinstance(value, str) else value
        for name, value in arguments.items()
    }


def _check_options(name: str, function: Callable[..., Tensor], arguments: Mapping[str, Any], *, custom: bool) -> None:
    """Raise UsageError for an option that an attack does not take, or one without a default that is not given."""
    parameters = [*inspect.signature(function).parameters.values()][3:]  # after model, x, y
    anything = custom and any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    accepted = keywords(function) - {"model", "x", "y"} | (set(GIVEN) if custom else set())
    for option in () if anything else arguments:
        if option not in accepted:
            raise UsageError(unknown(f"option of {name}", option, tuple(sorted(accepted))))
    for parameter in parameters:
        named = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if named and parameter.default is parameter.empty and parameter.name not in (*arguments, "generator"):
            what = ", its radius in [0, 1] pixels: eps=8/255" if parameter.name == "eps" else ""
            raise UsageError(f"the attack {name} needs {parameter.name}{what}")
