"""The published architectures with our names of layers, and their weights under the published names.

- lenet: models/lenet.py of the TRS repository. It is our `lenet`, with the same names.
- resnetN: models/cifar_resnet.py and models/resnet.py of the TRS repository, models/resnet.py of DVERGE. It is our `resnet` with
  projections: `stageS.B.projection` is their `layerS.B.downsample`. Their average over 8 x 8 or 7 x 7 positions is over all.
- resnetN-leaky: the same with leaky ReLUs of slope 0.1.
Bottleneck blocks, which their code has for other depths, are not read.
"""

import functools
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trs_explorer.catalogue import DATA, LEAKY_SLOPE
from trs_explorer.models.images import lenet
from trs_explorer.models.layouts.checkpoint import short
from trs_explorer.models.normalize import Normalize
from trs_explorer.models.resnet import resnet
from trs_explorer.options import UsageError

# utils/Empirical/datasets.py (NormalizeLayer) of the TRS repository, utils.py (get_models) of DVERGE: the same for CIFAR-10.
NORMALISATION: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.5,), (0.5,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}
_EXACT = torch.float16, torch.bfloat16  # types whose every value float32 can represent
_COUNTER = "num_batches_tracked"  # torch before 0.4.1 did not save it, and no evaluation needs it


def build_member(architecture: str, data: str) -> nn.Sequential:
    """Build an untrained member: `Normalize` with the repository's constants, then the layers of the architecture.

    architecture: lenet, resnet20, resnet20-leaky, or another depth of 6n + 2. data: mnist or cifar10.
    Raises: UsageError for other ones.
    """
    if data not in NORMALISATION:
        raise UsageError(f"layouts are of the data sets {', '.join(NORMALISATION)}, got {data!r}")
    shape, classes = DATA[data].shape, DATA[data].classes
    depth = re.fullmatch(r"resnet([0-9]{1,3})(-leaky)?", architecture)
    if not (architecture == "lenet" or (depth and int(depth[1]) >= 8 and int(depth[1]) % 6 == 2)):
        raise UsageError(f"the architecture must be lenet, resnetN or resnetN-leaky with N = 6n + 2, got {architecture!r}")
    with torch.random.fork_rng(devices=[]):
        if depth:
            activation = functools.partial(nn.LeakyReLU, LEAKY_SLOPE) if depth[2] else nn.ReLU
            network: nn.Module = resnet(shape, classes, depth=int(depth[1]), project=True, activation=activation)
        else:
            network = lenet(shape, classes)
    member = nn.Sequential()
    member.add_module("normalize", Normalize(*NORMALISATION[data]))
    for name, layer in network.named_children():
        member.add_module(name, layer)
    member.feature_layers = network.feature_layers
    return member


def published_name(name: str) -> str:
    """The repositories' name of a weight of `build_member`, without the prefixes of their wrappers."""
    return re.sub(r"^stage(\d)\.(\d+)\.", r"layer\1.\2.", name).replace(".projection.", ".downsample.")


def load_member(member: nn.Sequential, state: Mapping[object, object], prefix: str, where: str) -> None:
    """Load published weights into a member of `build_member` (not its normalisation); the whole state is checked before.

    state: by the keys of the file. prefix: of the keys that are weights; the others are the caller's.
    where: the file and the part of it, for messages.
    Raises: UsageError that names the first key that is missing, too much, of another shape or type, or not finite.
    """
    wanted = {name: value for name, value in member.state_dict().items() if not name.startswith("normalize.")}
    weights: dict[str, Tensor] = {}
    for name, ours in wanted.items():
        key = prefix + published_name(name)
        if key not in state and name.endswith(_COUNTER):
            weights[name] = torch.zeros_like(ours)
            continue
        if key not in state:
            raise UsageError(f"{where} lacks {key} {[*ours.shape]}: it is of another architecture, or not complete")
        weights[name] = checked_tensor(state[key], ours, key, where)
    expected = {prefix + published_name(name) for name in wanted}
    for other in state:
        if str(other).startswith(prefix) and other not in expected:
            raise UsageError(f"{where} holds {short(other)}, which the architecture has not: it is of another one")
    member.load_state_dict(weights, strict=False)


def checked_tensor(value: object, ours: Tensor, key: str, where: str) -> Tensor:
    """Return a weight of a file if it can take the place of ours, as ours' type. Raises: UsageError that says why it cannot."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise UsageError(f"{where}: {key} is not a plain tensor but a {type(value).__name__}: save it again as a dense tensor")
    if value.shape != ours.shape:
        remedy = f": {_classes(value)}" if key.endswith(("fc.weight", "fc2.weight")) else ": it is of another architecture"
        raise UsageError(f"{where}: {key} is {[*value.shape]}, expected {[*ours.shape]}{remedy}")
    if ours.is_floating_point() and value.dtype != ours.dtype and value.dtype not in _EXACT:
        kind = str(value.dtype).removeprefix("torch.")
        raise UsageError(f"{where}: {key} is {kind}, trs computes in float32: convert it by .float(), save it again")
    if not value.isfinite().all():
        raise UsageError(f"{where}: {key} is not finite: the training diverged, or the file is damaged")
    return value.detach().to(ours.dtype)


def _classes(weight: Tensor) -> str:
    """Why the last layer's weights do not fit."""
    number = f"{weight.shape[0]} classes" if weight.ndim == 2 else "no matrix"
    return f"{number}, the published members are for MNIST or CIFAR-10, with 10"
