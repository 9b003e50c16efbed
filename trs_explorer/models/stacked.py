"""Members of one architecture as one network: each layer once for all of them, instead of once a member.

For the small batches of training, where a layer of a small member costs more to call than to compute. (For batches of some
hundred images three narrow convolutions are faster than a grouped one: evaluation does not use this.)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

MemberLogits = Float[Tensor, "member batch class"]
MemberImages = Float[Tensor, "member batch channel height width"]

KINDS = (nn.Conv2d, nn.Linear, nn.ReLU, nn.LeakyReLU, nn.PixelUnshuffle, nn.Flatten)
BENDS = (nn.ReLU, nn.LeakyReLU)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def stackable(members: Sequence[nn.Module]) -> bool:
    """Whether members are the same sequence of layers that Stacked knows, and nobody listens in on them by a hook."""
    layers = [layer for member in members for layer in member.children()]
    return (
        all(type(member) is nn.Sequential for member in members)
        and all(type(layer) in KINDS for layer in layers)
        and not any(getattr(module, hooks) for module in (*members, *layers) for hooks in HOOKS)
        and len({str(member) for member in members}) == 1
        and _flattens_once(members[0])
        and not any(layer.groups > 1 or layer.padding_mode != "zeros" for layer in layers if isinstance(layer, nn.Conv2d))
    )


def _flattens_once(member: nn.Sequential) -> bool:
    """Whether images are flattened once, example by example, and before any linear layer."""
    kinds = [type(layer) for layer in member]
    flat = [i for i, kind in enumerate(kinds) if kind is nn.Flatten]
    dims = {(layer.start_dim, layer.end_dim) for layer in member if isinstance(layer, nn.Flatten)}
    return len(flat) == 1 and dims == {(1, -1)} and nn.Linear not in kinds[: flat[0]]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Softmax and losses are not for bfloat16, which does not tell .9999 from 1."""
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor  # in attacks, once a step
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class Stacked:
    """Stackable members with their weights of this moment, gathered once for several passes; gradients reach the weights.

    Between layers there is [batch, member * channel, height, width], so that a convolution has a group a member, and from the
    flattening on [member, batch, unit].
    """

    def __init__(self, members: Sequence[nn.Module], *, bfloat16: bool) -> None:
        """bfloat16: compute in it, but for the logits that come out, which are float32 at least."""
        self.members, self.bfloat16 = members, bfloat16
        layers = [self._gather(same) for same in zip(*(member.children() for member in members), strict=True)]
        self.unshuffle = layers[0][0] if isinstance(layers[0][0], nn.PixelUnshuffle) else None
        self.layers = layers[1:] if self.unshuffle else layers

    def __len__(self) -> int:
        """How many members."""
        return len(self.members)

    def front(self, layer: str) -> "Stacked":
        """The members up to a layer of that name: their "logits" are its outputs, in the layout that is there between layers."""
        last = list(dict(self.members[0].named_children())).index(layer)
        return Stacked([member[: last + 1] for member in self.members], bfloat16=self.bfloat16)

    def arrange(self, x: Tensor) -> Tensor:
        """Images in the order that `member_logits` takes them: a pixel-unshuffle that comes first is done here, once.

        It moves pixels and changes none, so that norms, angles, signs and l-inf balls are what they were.
        """
        return self.unshuffle(x) if self.unshuffle else x

    def restore(self, x: Tensor) -> MemberImages:
        """The inverse of `arrange`, for images of every member."""
        return F.pixel_shuffle(x, self.unshuffle.downscale_factor) if self.unshuffle else x

    def _gather(self, same: tuple[nn.Module, ...]) -> tuple[nn.Module, Tensor | None, Tensor | None]:
        """A layer with all members' weights and biases."""
        layer = same[0]
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            return layer, None, None
        join = torch.cat if isinstance(layer, nn.Conv2d) else torch.stack
        weight = self.cast(join([one.get_parameter("weight") for one in same]))
        bias = None if layer.bias is None else self.cast(join([one.get_parameter("bias") for one in same]))
        return layer, weight, bias

    def cast(self, tensor: Tensor) -> Tensor:
        """A tensor in the type that is computed in."""
        return tensor.bfloat16() if self.bfloat16 else tensor

    def member_logits(self, x: Tensor | Sequence[Tensor]) -> MemberLogits:
        """Every member's logits: for one batch, or for one batch a member."""
        return self._forward(x, [])

    def linearize(self, x: Tensor | Sequence[Tensor]) -> "LinearPiece":
        """Every member's logits at x, with the linear map that each member is around every image.

        The weights' graph of the logits is kept where gradients are on; the map itself has no graph.
        """
        inputs: list[Tensor] = []
        return LinearPiece(self, self._forward(x, inputs), inputs)

    def _forward(self, x: Tensor | Sequence[Tensor], inputs: list[Tensor]) -> Tensor:
        """Logits; `inputs` gets what went into each layer."""
        shared = isinstance(x, Tensor)
        x = self.cast(x if isinstance(x, Tensor) else torch.cat(list(x), 1))
        for layer, weight, bias in self.layers:
            inputs.append(x.detach())
            x = self.apply(layer, weight, bias, x, shared)
            shared = shared and weight is None
        return at_least_float32(x)

    def apply(self, layer: nn.Module, weight: Tensor | None, bias: Tensor | None, x: Tensor, shared: bool) -> Tensor:
        """One layer of all members; shared: x is one batch for all of them."""
        if isinstance(layer, nn.Conv2d):
            assert weight is not None
            groups = 1 if shared else len(self)
            return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups)
        if isinstance(layer, nn.Linear):
            assert weight is not None
            return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
        if isinstance(layer, nn.Flatten):
            return x.flatten(1).expand(len(self), -1, -1) if shared else x.reshape(len(x), len(self), -1).transpose(0, 1)
        return layer(x)


def _bend(layer: nn.Module, slope: Tensor, x: Tensor) -> Tensor:
    """A slope behind or before a (leaky) ReLU whose input was x, on its other side; in one pass."""
    if isinstance(layer, nn.LeakyReLU):
        return torch.ops.aten.leaky_relu_backward(slope, x, layer.negative_slope, False)
    return torch.ops.aten.threshold_backward(slope, x, 0)


class LinearPiece:
    """Members at one batch of images: their logits there and, as all else is linear but (leaky) ReLUs, their exact slope J.

    Autograd would give the same; without its bookkeeping the two products cost little more than their layers.
    """

    def __init__(self, stacked: Stacked, logits: Tensor, inputs: list[Tensor]) -> None:
        """inputs: what went into each layer; of a (leaky) ReLU it says which units are on."""
        self.stacked, self.logits, self.inputs = stacked, logits, inputs

    @torch.no_grad()
    def forward(self, directions: MemberImages) -> MemberLogits:
        """J v: how fast each member's logits change along its direction, image by image."""
        v = self.stacked.cast(directions.transpose(0, 1).flatten(1, 2))
        for (layer, weight, _), x in zip(self.stacked.layers, self.inputs, strict=True):
            v = _bend(layer, v, x) if isinstance(layer, BENDS) else self.stacked.apply(layer, weight, None, v, False)
        return at_least_float32(v)

    @torch.no_grad()
    def backward(self, weights: Tensor) -> MemberImages:
        """J^T w: the gradients with respect to the images of the logits' sums weighted by w."""
        members, w = len(self.stacked), self.stacked.cast(weights)
        for (layer, weight, _), x in zip(reversed(self.stacked.layers), reversed(self.inputs), strict=True):
            if isinstance(layer, BENDS):
                w = _bend(layer, w, x)
            elif isinstance(layer, nn.Linear):
                assert weight is not None
                w = torch.bmm(w, weight)
            elif isinstance(layer, nn.Flatten):
                w = w.transpose(0, 1).reshape(len(x), -1, *x.shape[2:])
            elif isinstance(layer, nn.PixelUnshuffle):
                w = F.pixel_shuffle(w, layer.downscale_factor)
            elif isinstance(layer, nn.Conv2d):
                assert weight is not None
                size = len(x), members * layer.in_channels, *x.shape[2:]
                w = conv2d_input(size, weight, w, layer.stride, layer.padding, layer.dilation, members)
        return at_least_float32(w.unflatten(1, (members, -1)).transpose(0, 1))
