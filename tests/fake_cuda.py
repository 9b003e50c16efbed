"""A graphics card that is not there: tensors on "cuda" have shapes and types but no values, and every wait for the card is noted.

Tensors on the CPU are real, so that seeds and orders that are drawn there have values. Those on "cuda" are torch's fake tensors.
As on a real card it is an error to mix the two, or to draw on one from a generator of the other. What makes the CPU wait for the
card (to read a number, to find out how many entries of a mask are set, to copy without non_blocking) is noted in `waits` with the
place in our code, and goes on with values that are made up: 0 for a number, half of the entries for a mask.

    with fake_cuda() as card:
        ensemble = card.move(build("patch", "mnist", 3, seed=0))
        ensemble(card.rand(8, 1, 28, 28))
    assert card.waits == []
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # before `_make_subclass` is replaced, whose signature it compares
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from trs_explorer.batch_noise import PartGenerator

PACKAGE = str(Path(__file__).parent.parent / "trs_explorer")
CARD = torch.device("cuda", 0)
aten = torch.ops.aten

COPIES = {aten._to_copy.default, aten.copy_.default}
# What a card computes only after it was asked how large the result is, or whether its input is right. multinomial checks the
# probabilities (ATen/native/Distributions.cpp).
WAITING = {
    aten.nonzero, aten.masked_select, aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.bincount,
    aten.equal, aten.is_nonzero, aten._local_scalar_dense, aten.multinomial, aten._linalg_check_errors,
}  # fmt: skip
INDEXED = {aten.index, aten.index_put, aten.index_put_}
LOW_PRECISION = {F.conv2d, F.linear, torch.matmul, torch.bmm, torch.baddbmm, torch.mm, torch.einsum, Tensor.matmul}


class Wait(str):
    """A place where the CPU waits for the card: "attacks/pgd.py:projected_ascent index"."""

    @property
    def where(self) -> str:
        """The file and the function."""
        return self.split()[0]


class FakeCuda(FakeTensorMode):
    """The mode in which there is such a card. waits: the places where the CPU waited for it, in order."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=False)
        self.waits: list[Wait] = []
        self.pinned = WeakTensorKeyDictionary()

    def rand(self, *size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Numbers on the card."""
        with self:
            return torch.empty(size, device=CARD, dtype=dtype)

    def zeros(self, *size: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Labels on the card."""
        return self.rand(*size, dtype=dtype)

    def put(self, values: Tensor) -> Tensor:
        """A tensor of the CPU on the card; not counted as a wait."""
        return self.from_tensor(values).to(CARD)

    def pin(self, values: Tensor) -> Tensor:
        """Stands in for `Tensor.pin_memory`."""
        self.pinned[pinned := values.clone()] = True
        return pinned

    def list(self, values: Tensor) -> list:
        """Stands in for `Tensor.tolist`: one copy, of which torch's fake tensors make many."""
        self.waits.append(Wait(f"{_place()} tolist"))
        return torch.zeros(values.shape, dtype=values.dtype).tolist()

    def move(self, module: nn.Module) -> nn.Module:
        """The module with its weights and buffers on the card, in place: `Module.to` needs a card."""
        for part in module.modules():
            for name, weight in part._parameters.items():
                if weight is not None:
                    part._parameters[name] = nn.Parameter(self.put(weight.detach()), weight.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self.put(buffer)
        return module

    def dispatch(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        fakes = [leaf for leaf in leaves if isinstance(leaf, FakeTensor)]
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type in ("cuda", "meta"):
            kwargs["device"] = CARD  # C++ takes what lies on the card for meta tensors
        to_card = kwargs.get("device") == CARD
        if not fakes and not to_card:
            return func(*args, **kwargs)
        if func in COPIES:
            return self._copy(func, args, kwargs)
        strays = [leaf for leaf in leaves if not isinstance(leaf, FakeTensor) and leaf.ndim]
        if strays and fakes:
            raise RuntimeError(f"{func}: {strays[0].shape} is on the CPU, {fakes[0].shape} on the card, at {_place()}")
        if func.overloadpacket in WAITING:
            return self._wait(func, args)
        if func.overloadpacket in INDEXED:
            args = (args[0], [self._all_of(index) for index in args[1]], *args[2:])
        if func.overloadpacket is aten._fused_sgd_:
            return None  # which has no fake form
        fake_args, fake_kwargs = tree_map(self._faked, (args, kwargs))
        return super().dispatch(func, types, fake_args, fake_kwargs)

    def _faked(self, value: object) -> object:
        return self.from_tensor(value) if isinstance(value, Tensor) and not isinstance(value, FakeTensor) else value

    def _copy(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """A copy on the card, to it, or from it."""
        into = args[0] if func is aten.copy_.default else None
        source = args[1] if into is not None else args[0]
        goes_to = (CARD if isinstance(into, FakeTensor) else torch.device("cpu")) if into is not None else kwargs.get("device")
        comes_from = CARD if isinstance(source, FakeTensor) else torch.device("cpu")
        goes_to = comes_from if goes_to is None else torch.device(goes_to)
        blocking = not (kwargs.get("non_blocking") if into is None else len(args) > 2 and args[2]) or source not in self.pinned
        if comes_from.type != goes_to.type and (blocking or goes_to.type == "cpu") and source.numel():
            self.waits.append(Wait(f"{_place()} copy to {goes_to.type}"))
        if goes_to.type == "cpu":
            made_up = torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
            return made_up if into is None else into.copy_(made_up)
        fake_args, fake_kwargs = tree_map(self._faked, (args, kwargs))
        return super().dispatch(func, (), fake_args, fake_kwargs)

    def _wait(self, func: Any, args: tuple) -> Any:
        """Note the wait, and return something to go on with."""
        self.waits.append(Wait(f"{_place()} {func.overloadpacket.__name__.removeprefix('_')}"))
        of = args[0]
        if func.overloadpacket is aten._local_scalar_dense:
            return False if of.dtype == torch.bool else 0.0 if of.dtype.is_floating_point else 0
        if func.overloadpacket in (aten.equal, aten.is_nonzero):
            return False
        if func.overloadpacket is aten.multinomial:
            return self.zeros(*of.shape[:-1], args[1])
        if func.overloadpacket is aten.nonzero:
            return self.zeros((of.numel() + 1) // 2, of.ndim)
        if func.overloadpacket is aten.masked_select:
            return self.rand(of.numel(), dtype=of.dtype)
        raise NotImplementedError(f"{func} makes the CPU wait, at {_place()}")

    def _all_of(self, index: Tensor | None) -> Tensor | None:
        """An index in place of a mask, as if all entries of the mask were set."""
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            return index
        self.waits.append(Wait(f"{_place()} mask"))
        if index.ndim > 1:
            raise NotImplementedError(f"a mask of {index.ndim} dimensions, at {_place()}")
        return self.zeros(len(index))


def _place() -> str:
    """The innermost function of our code that is running: "attacks/pgd.py:pgd"."""
    frame = sys._getframe(1)
    while frame and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "tests:"
    return f"{frame.f_code.co_filename[len(PACKAGE) + 1 :]}:{frame.f_code.co_qualname}"


REAL_GENERATOR = torch.Generator


class _Generators(type(REAL_GENERATOR)):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, REAL_GENERATOR)


class Generator(REAL_GENERATOR, metaclass=_Generators):
    """torch.Generator, also of the card: one of the CPU that says where it is."""

    def __new__(cls, device: torch.device | str = "cpu") -> REAL_GENERATOR:
        if torch.device(device).type == "cpu":
            return REAL_GENERATOR()
        return super().__new__(cls)

    def __init__(self, device: torch.device | str) -> None:
        self.where = CARD

    def manual_seed(self, seed: int) -> "Generator":
        super().manual_seed(seed)
        return self

    @property
    def device(self) -> torch.device:
        return CARD


class _Calls(TorchFunctionMode):
    """What happens to a call before it reaches the card: its generator is checked, and autocast makes its tensors bfloat16.

    (torch's own autocast needs a card.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.dtype: torch.dtype | None = None

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        given = kwargs.get("generator")
        if isinstance(given, REAL_GENERATOR):
            tensor = next((arg for arg in args if isinstance(arg, Tensor)), None)
            where = kwargs.get("device") or (tensor.device if tensor is not None else "cpu")
            if given.device.type != (drawn_on := torch.device(where).type):
                raise RuntimeError(f"Expected a '{drawn_on}' device type for generator but found '{given.device.type}'")
            if drawn_on == "cuda":
                del kwargs["generator"]
        if self.dtype and func in LOW_PRECISION:
            args, kwargs = tree_map(lambda leaf: leaf.to(self.dtype) if isinstance(leaf, Tensor) else leaf, (args, kwargs))
        return func(*args, **kwargs)

    def autocast(self, device: str, dtype: torch.dtype, *, enabled: bool, cache_enabled: bool) -> "_Autocast":
        assert device == "cuda", f"autocast of {device}"
        return _Autocast(self, dtype if enabled else None)


class _Autocast(torch.autocast):
    def __init__(self, calls: _Calls, dtype: torch.dtype | None) -> None:
        self.calls, self.wanted = calls, dtype

    def __enter__(self) -> None:
        self.before, self.calls.dtype = self.calls.dtype, self.wanted

    def __exit__(self, *error: object) -> None:
        self.calls.dtype = self.before


_make_subclass = torch.Tensor._make_subclass


def _without_a_guard(cls: Any, elem: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Let autograd take a fake tensor of the card for a meta tensor: a CPU build lacks what it needs for one of a card."""
    if getattr(kwargs.get("device_for_backend_keys"), "type", "") == "cuda":
        kwargs["dispatch_device"] = False
    return _make_subclass(cls, elem, *args, **kwargs)


def _no_grad(mode: bool = True) -> contextlib.AbstractContextManager:
    """Stands in for torch.inference_mode, in which fake tensors lose their device."""
    return torch.no_grad() if mode else contextlib.nullcontext()


@contextlib.contextmanager
def fake_cuda() -> Iterator[FakeCuda]:
    """While the block runs there is a card, of which torch is not aware."""
    with (
        mock.patch.object(torch.Tensor, "_make_subclass", staticmethod(_without_a_guard)),
        mock.patch.object(torch, "Generator", Generator),
        mock.patch.object(PartGenerator, "__new__", staticmethod(lambda cls, *_: REAL_GENERATOR.__new__(cls))),
        mock.patch.object(PartGenerator, "device", property(lambda part: part.whole.device)),
        FakeCuda() as card,
        mock.patch.object(torch.Tensor, "pin_memory", lambda values: card.pin(values)),
        mock.patch.object(FakeTensor, "tolist", lambda values: card.list(values)),
        mock.patch.object(torch, "inference_mode", _no_grad),
        _Calls() as calls,
        mock.patch.object(torch, "autocast", calls.autocast),
    ):
        yield card
