"""Checks of shapes that are made once for every kind of call, not at every step of every attack.

jaxtyping and beartype judge a call by the types, dtypes and shapes of what goes in and of what comes out. Attacks repeat calls of
one kind hundreds of times, and judging each took half of the fast suite's time. What is of a kind not seen yet is judged.
"""

import threading
from collections.abc import Callable, Collection
from functools import wraps
from types import FunctionType

import jaxtyping

_jaxtyped = jaxtyping.jaxtyped
_returned = threading.local()


def checked_once_a_kind(fn: object = None, *, typechecker: Callable) -> object:
    """In the place of `jaxtyping.jaxtyped(typechecker=...)`, as its import hook calls it."""
    if fn is None:
        return lambda fn: checked_once_a_kind(fn, typechecker=typechecker)
    checked = _jaxtyped(fn, typechecker=typechecker)
    if not isinstance(fn, FunctionType):
        return checked
    passed: dict[object, set] = {}  # the kinds of outputs, by the kinds of arguments
    output_checked: list[Callable] = []  # made when it is needed: most functions give one kind for one kind

    @wraps(fn)
    def call(*args: object, **kwargs: object) -> object:
        given = None if jaxtyping.config.jaxtyping_disable else _kind((args, kwargs))
        if given is None or given not in passed:
            out = checked(*args, **kwargs)
            if given is not None:
                passed.setdefault(given, set()).add(_kind(out))
            return out
        out = fn(*args, **kwargs)
        back = _kind(out)
        if back is None or back not in passed[given]:
            if not output_checked:
                output_checked.append(_jaxtyped(_giving_back(fn), typechecker=typechecker))
            _returned.value = out
            output_checked[0](*args, **kwargs)
            passed[given].add(back)
        return out

    return call


def _giving_back(fn: FunctionType) -> FunctionType:
    """A function of fn's signature and module that does nothing but return what is in _returned."""

    def given_back(*args: object, _from: threading.local = _returned, **kwargs: object) -> object:
        return _from.value

    moved = FunctionType(given_back.__code__, fn.__globals__, fn.__name__)
    moved.__kwdefaults__ = given_back.__kwdefaults__
    return wraps(fn)(moved)


def _kind(value: object) -> object:
    """The same for two values only if every annotation holds for both or for neither; None if that would take a closer look."""
    kind = type(value)
    if kind is str:
        return value
    if kind is tuple:
        kinds = tuple(map(_kind, value))
        return None if None in kinds else kinds
    if kind is dict:
        kinds = tuple((key, _kind(one)) for key, one in value.items())
        return None if any(one is None for _, one in kinds) else (dict, *kinds)
    shape = getattr(value, "shape", None)
    if shape is not None:
        return kind, getattr(value, "dtype", None), tuple(shape)
    return None if isinstance(value, Collection) else kind
