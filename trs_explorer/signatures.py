"""Hyper-parameters of code of others, declared by its signature: keyword-only parameters with a default.

def mine(ensemble, x, y, *, weight: Annotated[float, Ge(0), "weight of my term"] = 0.5): ...

Ranges are those of the package annotated-types (Ge, Gt, Le, Lt, Interval), a text is the help, Literal["a", "b"] gives choices.
"""

import inspect
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import annotated_types

from trs_explorer.options import Option, UsageError

TYPES = (float, int, str, bool)


@dataclass(frozen=True)
class Declared:
    """A function's hyper-parameters: `options` with their ranges, `defaults`, both by name, in the order of the signature."""

    options: dict[str, Option]
    defaults: dict[str, Any]


def declared_options(function: Callable[..., Any], name: str, given: Collection[str]) -> Declared:
    """Return the hyper-parameters that a function declares.

    - name: of the function, for messages.
    - given: names of the parameters that trs passes itself; they are no hyper-parameters.
    Raises: UsageError for a parameter without a default, or of a type that a flag cannot have.
    """
    options, defaults = {}, {}
    hints = _hints(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in given:
            continue
        if parameter.default is parameter.empty:
            raise UsageError(
                f"{name}: its parameter {parameter.name} needs a default, which is what a training uses without a flag"
            )
        option = _option(parameter.name, hints.get(parameter.name, type(parameter.default)), parameter.default, name)
        options[parameter.name], defaults[parameter.name] = option, option.check(parameter.default)
    return Declared(options, defaults)


def parameter_names(function: Callable[..., Any]) -> frozenset[str]:
    """Return the names of all parameters of a function that can be given by name."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD))


def summary(function: object) -> str:
    """Return the first line of a function's docstring, without its full stop."""
    return (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # an annotation names what is imported for type checkers only
        return {name: hint for name, hint in inspect.get_annotations(function).items() if not isinstance(hint, str)}


def _option(parameter: str, hint: Any, default: object, name: str) -> Option:
    metadata: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        metadata = tuple(rest)
    choices: tuple[str, ...] = ()
    if get_origin(hint) is Literal:
        choices, hint = get_args(hint), str
    if hint not in TYPES or not all(isinstance(choice, str) for choice in choices):
        kind = "none" if hint is NoneType else getattr(hint, "__name__", hint)
        raise UsageError(f"{name}: its parameter {parameter} is a {kind}, no float, int, str, bool or Literal of texts")
    text = " ".join(one if isinstance(one, str) else getattr(one, "documentation", "") for one in metadata).strip()
    limits = dict(limit for one in metadata for limit in _limits(one, hint))
    return Option(parameter, hint, text or "an option of your own", choices=choices, **limits)


def _limits(one: object, kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the fields of an Option that one piece of metadata sets."""
    if isinstance(one, annotated_types.GroupedMetadata):
        for part in one:
            yield from _limits(part, kind)
    elif isinstance(one, annotated_types.Ge):
        yield "low", one.ge
    elif isinstance(one, annotated_types.Gt):
        yield from (("low", one.gt), ("above_low", True))
    elif isinstance(one, annotated_types.Le):
        yield "high", one.le
    elif isinstance(one, annotated_types.Lt):
        limit: Any = one.lt
        yield "high", limit - 1 if kind is int else math.nextafter(limit, -math.inf)
