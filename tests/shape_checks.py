"""Checks of shapes that are made once for every kind of call, not at every step of every attack.

jaxtyping and beartype judge a call by the types, dtypes and shapes of what goes in and of what comes out. Attacks repeat calls of
one kind hundreds of times, and judging each took half of the fast suite's time. What is of a kind not seen yet is judged.
"""

import threading
from collections.abc import Callable, Collection
from functools import wraps
from types import CodeType, FunctionType

import jaxtyping
import torch
from torch import Tensor

_jaxtyped = jaxtyping.jaxtyped
_returned = threading.local()
_passed: dict[CodeType, dict[object, set]] = {}  # by a function's code: kinds of outputs by the kinds of arguments
_ALONE = {int, float, bool, type(None), torch.Generator, FunctionType}  # types that say all that an annotation asks


def checked_once_a_kind(fn: object = None, *, typechecker: Callable) -> object:
    """In the place of `jaxtyping.jaxtyped(typechecker=...)`, as its import hook calls it."""
    if fn is None:
        return lambda fn: checked_once_a_kind(fn, typechecker=typechecker)
    if not isinstance(fn, FunctionType):
        return _jaxtyped(fn, typechecker=typechecker)
    passed = _passed.setdefault(fn.__code__, {})
    checkers: dict[str, Callable] = {}  # made when they are needed: most calls are of a kind that has passed

    @wraps(fn)
    def call(*args: object, **kwargs: object) -> object:
        given = None if jaxtyping.config.jaxtyping_disable else _kind_of_call(args, kwargs)
        if given is None or given not in passed:
            if "whole" not in checkers:
                checkers["whole"] = _jaxtyped(fn, typechecker=typechecker)
            out = checkers["whole"](*args, **kwargs)
            if given is not None:
                passed.setdefault(given, set()).add(_kind(out))
            return out
        out = fn(*args, **kwargs)
        back = _kind(out)
        if back is None or back not in passed[given]:
            if "output" not in checkers:
                checkers["output"] = _jaxtyped(_giving_back(fn), typechecker=typechecker)
            _returned.__dict__.setdefault("outputs", []).append(out)  # a check may call other checked functions
            try:
                checkers["output"](*args, **kwargs)
            finally:
                _returned.outputs.pop()
            passed[given].add(back)
        return out

    return call


def _giving_back(fn: FunctionType) -> FunctionType:
    """A function of fn's signature and module that does nothing but return the last output in _returned."""

    def given_back(*args: object, _from: threading.local = _returned, **kwargs: object) -> object:
        return _from.outputs[-1]

    moved = FunctionType(given_back.__code__, fn.__globals__, fn.__name__)
    moved.__kwdefaults__ = given_back.__kwdefaults__
    return wraps(fn)(moved)


def _kind_of_call(args: tuple, kwargs: dict[str, object]) -> object:
    kinds = [_kind(one) for one in args]
    for name, one in kwargs.items():
        kinds += name, _kind(one)
    return None if None in kinds else (len(args), *kinds)


def _kind(value: object) -> object:
    """The same for two values only if every annotation holds for both or for neither; None if that would take a closer look."""
    kind = type(value)
    if kind is Tensor:
        return value.dtype, value.shape
    if kind is str or isinstance(value, type):
        return value
    if kind in _ALONE:
        return kind
    if kind is tuple:
        kinds = tuple(map(_kind, value))
        return None if None in kinds else (tuple, *kinds)
    if kind is list:  # a check looks at one of its items: it says all only if they are of one kind
        kinds = {_kind(one) for one in value}
        return None if None in kinds or len(kinds) > 1 else (list, *kinds)
    if kind is torch.Size:
        return kind, len(value)
    if kind is dict:
        kinds = tuple((key, _kind(one)) for key, one in value.items())
        return None if any(one is None for _, one in kinds) else (dict, *kinds)
    shape = getattr(value, "shape", None)
    if shape is not None:
        return kind, getattr(value, "dtype", None), tuple(shape)
    return None if isinstance(value, Collection) else kind
