"""A call is checked unless one of its kind was: a wrong one never passes because right ones have."""

from collections.abc import Sequence

import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from shape_checks import checked_once_a_kind
from torch import Tensor
from torch.overrides import TorchFunctionMode

from trs_explorer.attacks import noise

CALLS: list[int] = []


@checked_once_a_kind(typechecker=beartype)
def added(x: Float[Tensor, "batch pixel"], y: Float[Tensor, " batch"]) -> Float[Tensor, "batch pixel"]:
    CALLS.append(1)
    return x + y[:, None]


@pytest.fixture
def right() -> tuple[Tensor, Tensor]:
    x, y = torch.ones(3, 2), torch.ones(3)
    for _ in range(3):
        assert torch.equal(added(x, y), x + 1)
    return x, y


def test_what_goes_in_is_checked_though_calls_of_other_kinds_have_passed(right: tuple[Tensor, Tensor]) -> None:
    x, y = right
    for wrong in ((x, torch.ones(4)), (x, y.long()), (x[0], y), (x, y.tolist()), (x.numpy(), y)):
        CALLS.clear()
        with pytest.raises(TypeCheckError):
            added(*wrong)
        assert not CALLS, "checked before the call"


def test_what_comes_out_is_checked_though_calls_with_such_arguments_have_passed(right: tuple[Tensor, Tensor]) -> None:
    x, _ = right
    returned = iter([x, x[:2], x, x.long()])

    @checked_once_a_kind(typechecker=beartype)
    def next_one(x: Float[Tensor, "batch pixel"]) -> Float[Tensor, "batch pixel"]:
        return next(returned)

    for passes in (True, False, True, False):
        if passes:
            assert next_one(x) is x
        else:
            with pytest.raises(TypeCheckError, match="return value"):
                next_one(x)


def test_what_is_in_containers_is_checked() -> None:
    @checked_once_a_kind(typechecker=beartype)
    def first(pair: tuple[Float[Tensor, " a"], Float[Tensor, " a"]], many: Sequence[Float[Tensor, " a"]] = ()) -> int:
        return len(pair)

    x = torch.ones(3)
    assert first((x, x)) == first((x, x), [x]) == 2
    for wrong in (((x, x[:2]),), ((x, 1.0),), ((x, x), [x[:2]]), ((x, x), ["x"]), ((x, x), (x[:2],))):
        with pytest.raises(TypeCheckError):
            first(*wrong)


def test_what_passed_while_nothing_was_checked_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    @checked_once_a_kind(typechecker=beartype)
    def same(x: Float[Tensor, "one two"]) -> Float[Tensor, "one two"]:
        return x

    with monkeypatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        same(torch.ones(3))
    with pytest.raises(TypeCheckError):
        same(torch.ones(3))


def test_the_package_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        noise.random_shift(torch.ones(2, 3), [1, 2], eps=0.1, norm="linf")


def test_a_class_is_an_argument_like_any_other() -> None:
    @checked_once_a_kind(typechecker=beartype)
    def made(kind: type, x: Tensor) -> str:
        return kind.__name__

    assert [made(kind, torch.ones(1)) for kind in (Tensor, int, Tensor)] == ["Tensor", "int", "Tensor"]


def test_a_check_that_calls_a_checked_function_still_judges_its_own_output() -> None:
    """A shape is read under a mode whose function is checked too: its output must not be taken for the one in question."""

    class Mode(TorchFunctionMode):
        @checked_once_a_kind(typechecker=beartype)
        def __torch_function__(
            self, func: object, types: Sequence[type], args: Sequence = (), kwargs: dict | None = None
        ) -> object:
            return func(*args, **(kwargs or {}))

    @checked_once_a_kind(typechecker=beartype)
    def inside(x: Float[Tensor, "batch pixel"], wrong: bool) -> Float[Tensor, "batch pixel"]:
        return x[0] if wrong else 2 * x

    for size in (2, 3, 2, 3):
        with Mode():
            assert inside(torch.ones(size, 2), False).shape == (size, 2)
    with Mode(), pytest.raises(TypeCheckError):
        inside(torch.ones(2, 2), True)
