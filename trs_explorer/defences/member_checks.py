"""Check whether a method can train given members, by running them. What a step hands to a defence: training/steps.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trs_explorer.gradients import Images
from trs_explorer.models.affine import affine_layers
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.features import feature_layers, features_and_outputs

_RELUS = ("relu", "relu_", "relu6", "relu6_")
_CLAMP_AT_0 = ("clamp_min", "clamp_min_", "clamp", "clamp_", "threshold", "threshold_", "hardtanh", "hardtanh_")


def no_plain_relu(ensemble: Ensemble, x: Images) -> None:
    """Raise ValueError if a member runs a ReLU that is not leaky: one called as a function cannot be replaced as a layer can."""
    with _RecordPlainRelus() as recorded:
        ensemble.member_logits(x)
    if recorded.names:
        raise ValueError(
            f"it needs leaky ReLUs, but {type(ensemble.members[0]).__name__} calls {', '.join(sorted(recorded.names))} itself: "
            "make each ReLU a layer of its own, nn.ReLU or nn.LeakyReLU"
        )


def features_by_layers(ensemble: Ensemble, x: Images) -> None:
    """Raise ValueError unless members are nn.Sequential that only run their layers, with common `feature_layers`."""
    for layer in feature_layers(ensemble):
        for number, member in enumerate(ensemble.members, start=1):
            _, output = features_and_outputs(member, x, layer)
            if not torch.allclose(output, member(x), rtol=1e-3, atol=1e-4):
                raise ValueError(f"member {number} does not return the output of its layers run one after another")


def two_affine_layers(ensemble: Ensemble, x: Images) -> None:
    """Raise ValueError unless members are alike and run two convolutions or linear layers or more."""
    if len(affine_layers(ensemble, x)) < 2:
        raise ValueError("it needs a convolution or linear layer before the last one")


class _RecordPlainRelus(TorchDispatchMode):
    """Record the operations below autograd that set negative numbers to 0."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name, keywords = func.overloadpacket.__name__, kwargs or {}
        low, high = (args[1] if len(args) > 1 else keywords.get("min")), (args[2] if len(args) > 2 else keywords.get("max"))
        unbounded = name not in ("clamp", "clamp_") or high is None  # images are clamped to [0, 1]
        if name in _RELUS or (name in _CLAMP_AT_0 and unbounded and isinstance(low, int | float) and low == 0):
            self.names.add(name)
        return func(*args, **keywords)
