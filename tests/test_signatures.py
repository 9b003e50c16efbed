"""Hyper-parameters that a signature declares."""

from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

from trs_explorer.options import Option, UsageError
from trs_explorer.signatures import declared_options, summary

if TYPE_CHECKING:
    from nowhere import Tensor


def declared(function):
    return declared_options(function, "mine.py:f", ("eps", "generator"))


def test_types_ranges_help_and_defaults_are_those_of_the_signature():
    def f(
        model,
        x,
        y,
        *,
        eps,
        generator=None,
        a: Annotated[float, Ge(0), "weight of it"] = 1,
        b: Annotated[float, Gt(0), Le(2)] = 0.5,
        c: Annotated[int, Interval(gt=1, le=9)] = 4,
        d: Literal["one", "two"] = "two",
        e: bool = False,
        g=3,
        h: Annotated[int, Lt(10)] = 2,
        i: Annotated[float, Lt(1.0)] = 0.5,
    ):
        """Do it. Twice.

        More.
        """

    found = declared(f)
    assert found.defaults == {"a": 1.0, "b": 0.5, "c": 4, "d": "two", "e": False, "g": 3, "h": 2, "i": 0.5}
    text = "an option of your own"
    assert found.options["a"] == Option("a", float, "weight of it", low=0)
    assert found.options["b"] == Option("b", float, text, low=0, high=2, above_low=True)
    assert found.options["c"] == Option("c", int, text, low=1, high=9, above_low=True)
    assert found.options["d"] == Option("d", str, text, choices=("one", "two"))
    assert found.options["e"].type is bool
    assert found.options["g"].type is int
    assert found.options["h"].high == 9
    assert found.options["i"].high < 1.0
    with pytest.raises(UsageError, match=r"^--i must be"):
        found.options["i"].check(1.0)
    assert summary(f) == "Do it. Twice"


def test_annotations_for_type_checkers_alone_do_no_harm():
    def f(model: "Tensor", *, eps: "Tensor", a: Annotated[int, Ge(1)] = 2, b: float = 0.5):
        pass

    assert declared(f).defaults == {"a": 2, "b": 0.5}


def no_default(x, *, a): ...
def a_list(x, *, a: list = []): ...  # noqa: B006
def nothing(x, *, a=None): ...
def out_of_its_range(x, *, a: Annotated[float, Le(1)] = 2.0): ...
def numbers(x, *, a: Literal[1, 2] = 1): ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_default, "mine.py:f: its parameter a needs a default"),
        (a_list, "mine.py:f: its parameter a is a list"),
        (nothing, "mine.py:f: its parameter a is a none"),
        (out_of_its_range, "--a must be <= 1, got 2"),
        (numbers, "Literal of texts"),
    ],
)
def test_what_no_flag_can_set_is_refused(function, words):
    with pytest.raises(UsageError, match=words):
        declared(function)
