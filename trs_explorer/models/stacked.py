"""Members of one architecture as one network: each layer runs once for all members instead of once per member.

For the small batches of training, where calling a layer of a small member costs more than computing it. (For batches of a few
hundred images, three narrow convolutions are faster than a grouped one: evaluation does not use this.)
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

MemberLogits = Float[Tensor, "member batch class"]
MemberImages = Float[Tensor, "member batch channel height width"]

KINDS = (nn.Conv2d, nn.Linear, nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.PixelUnshuffle, nn.Flatten)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)
Layer = tuple[nn.Module, Tensor | None, Tensor | None]  # with all members' weights and biases, where it has any

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def stackable(members: Sequence[nn.Module]) -> bool:
    """Whether all members are the same sequence of supported layers, without hooks."""
    layers = [layer for member in members for layer in member.children()]
    return (
        all(type(member) is nn.Sequential for member in members)
        and all(type(layer) in KINDS for layer in layers)
        and not any(getattr(module, hooks) for module in (*members, *layers) for hooks in HOOKS)
        and len({str(member) for member in members}) == 1
        and _flattens_once(members[0])
        and not any(layer.negative_slope < 0 for layer in layers if isinstance(layer, nn.LeakyReLU))  # not monotonic
        and not any(layer.return_indices for layer in layers if isinstance(layer, nn.MaxPool2d))
        and not any(layer.groups > 1 or layer.padding_mode != "zeros" for layer in layers if isinstance(layer, nn.Conv2d))
    )


def _flattens_once(member: nn.Module) -> bool:
    """Whether images are flattened once, example by example, and before any linear layer."""
    kinds = [type(layer) for layer in member.children()]
    flat = [i for i, kind in enumerate(kinds) if kind is nn.Flatten]
    dims = {(layer.start_dim, layer.end_dim) for layer in member.children() if isinstance(layer, nn.Flatten)}
    return len(flat) == 1 and dims == {(1, -1)} and nn.Linear not in kinds[: flat[0]]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Convert to float32 unless the type is wider: softmax and losses are too coarse in bfloat16, where .9999 equals 1."""
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor  # no-op: attacks call this once per step
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def as_stored(x: Tensor) -> Tensor:
    """Store images or convolutions' weights channel by channel: the faster layout, for max-pooling on a CPU twenty times."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


class Stacked:
    """Stackable members with a snapshot of their weights, gathered once for several passes; gradients reach the weights.

    Between layers the layout is [batch, member * channel, height, width], so that a convolution has one group per member; after
    flattening it is [member, batch, unit].
    """

    def __init__(self, members: Sequence[nn.Module], *, bfloat16: bool, compiled: bool = False) -> None:
        """Gather the weights.

        bfloat16: compute in bfloat16; the resulting logits are at least float32.
        compiled: see `Ensemble`.
        """
        self.members, self.bfloat16, self.compiled = members, bfloat16, compiled
        layers = [self._gather(same) for same in zip(*(member.children() for member in members), strict=True)]
        self.unshuffle = layers[0][0] if isinstance(layers[0][0], nn.PixelUnshuffle) else None
        self.layers = _pool_first(layers[1:] if self.unshuffle else layers)

    def __len__(self) -> int:
        """The number of members."""
        return len(self.members)

    def front(self, layer: str) -> "Stacked":
        """Return the members up to the layer of this name: their "logits" are its outputs, in the layout between layers."""
        last = list(dict(self.members[0].named_children())).index(layer)
        fronts = [nn.Sequential(*list(member.children())[: last + 1]) for member in self.members]
        return Stacked(fronts, bfloat16=self.bfloat16)

    def arrange(self, x: Tensor) -> Tensor:
        """Return images in the layout that `member_logits` takes: an initial pixel-unshuffle is done here, once.

        It only permutes pixels, so that norms, angles, signs and l-inf balls stay the same.
        """
        return self.unshuffle(x) if self.unshuffle else x

    def restore(self, x: Tensor) -> MemberImages:
        """Invert `arrange`, for images of every member."""
        return F.pixel_shuffle(x, self.unshuffle.downscale_factor) if self.unshuffle else x

    def _gather(self, same: tuple[nn.Module, ...]) -> Layer:
        """Return a layer with all members' weights and biases."""
        layer = same[0]
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            return layer, None, None
        join = torch.cat if isinstance(layer, nn.Conv2d) else torch.stack
        weight = as_stored(self.cast(join([one.get_parameter("weight") for one in same])))
        bias = None if layer.bias is None else self.cast(join([one.get_parameter("bias") for one in same]))
        return layer, weight, bias

    def cast(self, tensor: Tensor) -> Tensor:
        """Convert a tensor to the type used for computation."""
        return tensor.bfloat16() if self.bfloat16 else tensor

    def member_logits(self, x: Tensor | Sequence[Tensor]) -> MemberLogits:
        """Return every member's logits: for one batch, or for one batch per member."""
        shared, x = self.joined(x)
        for layer, weight, bias in self.layers:
            x = self.apply(layer, weight, bias, x, shared)
            shared = shared and weight is None
        return at_least_float32(x)

    def joined(self, x: Tensor | Sequence[Tensor]) -> tuple[bool, Tensor]:
        """Return whether x is one batch for all members; and x as the first layer takes it."""
        x, shared = (x, True) if isinstance(x, Tensor) else (torch.cat(list(x), 1), False)
        return shared, as_stored(self.cast(x))

    def apply(self, layer: nn.Module, weight: Tensor | None, bias: Tensor | None, x: Tensor, shared: bool) -> Tensor:
        """Apply one layer of all members. shared: x is one batch for all of them."""
        if isinstance(layer, nn.Conv2d):
            assert weight is not None
            groups = 1 if shared else len(self)
            return as_stored(F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups))
        if isinstance(layer, nn.Linear):
            assert weight is not None
            return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
        if isinstance(layer, nn.Flatten):
            return x.flatten(1).expand(len(self), -1, -1) if shared else x.reshape(len(x), len(self), -1).transpose(0, 1)
        outputs: Tensor = layer(x)
        return outputs


def _pool_first(layers: Sequence[Layer]) -> list[Layer]:
    """Exchange a (leaky) ReLU and the max-pooling behind it: the same function, of fewer numbers."""
    changed = list(layers)
    for place, (one, other) in enumerate(pairwise(layers)):
        if isinstance(one[0], ACTIVATIONS) and isinstance(other[0], nn.MaxPool2d):
            changed[place : place + 2] = other, one
    return changed
