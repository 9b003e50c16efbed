"""Members of one architecture as one network: each layer runs once for all members instead of once per member.

For the small batches of training, where calling a layer of a small member costs more than computing it. (For batches of a few
hundred images, three narrow convolutions are faster than a grouped one: evaluation does not use this.)
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
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)
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


class Stacked:
    """Stackable members with a snapshot of their weights, gathered once for several passes; gradients reach the weights.

    Between layers the layout is [batch, member * channel, height, width], so that a convolution has one group per member; after
    flattening it is [member, batch, unit].
    """

    def __init__(self, members: Sequence[nn.Module], *, bfloat16: bool) -> None:
        """Gather the weights. bfloat16: compute in bfloat16; the resulting logits are at least float32."""
        self.members, self.bfloat16 = members, bfloat16
        layers = [self._gather(same) for same in zip(*(member.children() for member in members), strict=True)]
        self.unshuffle = layers[0][0] if isinstance(layers[0][0], nn.PixelUnshuffle) else None
        self.layers = layers[1:] if self.unshuffle else layers

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

    def _gather(self, same: tuple[nn.Module, ...]) -> tuple[nn.Module, Tensor | None, Tensor | None]:
        """Return a layer with all members' weights and biases."""
        layer = same[0]
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            return layer, None, None
        join = torch.cat if isinstance(layer, nn.Conv2d) else torch.stack
        weight = self.cast(join([one.get_parameter("weight") for one in same]))
        bias = None if layer.bias is None else self.cast(join([one.get_parameter("bias") for one in same]))
        return layer, weight, bias

    def cast(self, tensor: Tensor) -> Tensor:
        """Convert a tensor to the type used for computation."""
        return tensor.bfloat16() if self.bfloat16 else tensor

    def member_logits(self, x: Tensor | Sequence[Tensor]) -> MemberLogits:
        """Return every member's logits: for one batch, or for one batch per member."""
        return self._forward(x, [])

    def linearize(self, x: Tensor | Sequence[Tensor]) -> "LinearPiece":
        """Return every member's logits at x, with the local linear map of each member around every image.

        The logits have a graph to the weights if gradients are enabled; the map has none.
        """
        inputs: list[Tensor] = []
        return LinearPiece(self, self._forward(x, inputs), inputs)

    def _forward(self, x: Tensor | Sequence[Tensor], inputs: list[Tensor]) -> Tensor:
        """Return logits, and append each layer's input to `inputs`."""
        shared = isinstance(x, Tensor)
        x = self.cast(x if isinstance(x, Tensor) else torch.cat(list(x), 1))
        for layer, weight, bias in self.layers:
            inputs.append(x.detach())
            x = self.apply(layer, weight, bias, x, shared)
            shared = shared and weight is None
        return at_least_float32(x)

    def apply(self, layer: nn.Module, weight: Tensor | None, bias: Tensor | None, x: Tensor, shared: bool) -> Tensor:
        """Apply one layer of all members. shared: x is one batch for all of them."""
        if isinstance(layer, nn.Conv2d):
            assert weight is not None
            groups = 1 if shared else len(self)
            return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, groups)
        if isinstance(layer, nn.Linear):
            assert weight is not None
            return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
        if isinstance(layer, nn.Flatten):
            return x.flatten(1).expand(len(self), -1, -1) if shared else x.reshape(len(x), len(self), -1).transpose(0, 1)
        outputs: Tensor = layer(x)
        return outputs


def _activation_backward(layer: nn.Module, gradient: Tensor, x: Tensor) -> Tensor:
    """Multiply a gradient or tangent by the derivative of a (leaky) ReLU whose input was x."""
    backward: Tensor
    if isinstance(layer, nn.LeakyReLU):
        backward = torch.ops.aten.leaky_relu_backward(gradient, x, layer.negative_slope, False)
    else:
        backward = torch.ops.aten.threshold_backward(gradient, x, 0)
    return backward


class LinearPiece:
    """Members at one batch of images: their logits, and their exact Jacobian J there: all layers but (leaky) ReLUs are linear.

    Autograd gives the same. Without its overhead the two products cost little more than the layers.
    """

    def __init__(self, stacked: Stacked, logits: Tensor, inputs: list[Tensor]) -> None:
        """inputs: the input of each layer; that of a (leaky) ReLU determines which units are active."""
        self.stacked, self.logits, self.inputs = stacked, logits, inputs

    @torch.no_grad()
    def jvp(self, directions: MemberImages) -> MemberLogits:
        """Return J v: the derivative of each member's logits along its direction, image by image."""
        v = self.stacked.cast(directions.transpose(0, 1).flatten(1, 2))
        for (layer, weight, _), x in zip(self.stacked.layers, self.inputs, strict=True):
            v = (
                _activation_backward(layer, v, x)
                if isinstance(layer, ACTIVATIONS)
                else self.stacked.apply(layer, weight, None, v, False)
            )
        return at_least_float32(v)

    @torch.no_grad()
    def vjp(self, weights: Tensor) -> MemberImages:
        """Return J^T w: the input gradients of the sums of logits weighted by w."""
        members, w = len(self.stacked), self.stacked.cast(weights)
        for (layer, weight, _), x in zip(reversed(self.stacked.layers), reversed(self.inputs), strict=True):
            if isinstance(layer, ACTIVATIONS):
                w = _activation_backward(layer, w, x)
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
