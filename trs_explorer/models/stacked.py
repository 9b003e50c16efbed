"""Members of one architecture as one network: each layer once for all of them, instead of once a member.

For the small batches of training, where a layer of a small member costs more to call than to compute. (For batches of some
hundred images three narrow convolutions are faster than a grouped one: evaluation does not use this.)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

KINDS = (nn.Conv2d, nn.Linear, nn.ReLU, nn.PixelUnshuffle, nn.Flatten)
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

    def arrange(self, x: Tensor) -> Tensor:
        """Images in the order that `member_logits` takes them: a pixel-unshuffle that comes first is done here, once.

        It moves pixels and changes none, so that norms, angles, signs and l-inf balls are what they were.
        """
        return self.unshuffle(x) if self.unshuffle else x

    def _gather(self, same: tuple[nn.Module, ...]) -> tuple[nn.Module, Tensor | None, Tensor | None]:
        """A layer with all members' weights and biases."""
        layer = same[0]
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            return layer, None, None
        join = torch.cat if isinstance(layer, nn.Conv2d) else torch.stack
        weight = self._cast(join([one.get_parameter("weight") for one in same]))
        bias = None if layer.bias is None else self._cast(join([one.get_parameter("bias") for one in same]))
        return layer, weight, bias

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.bfloat16() if self.bfloat16 else tensor

    def member_logits(
        self, x: Tensor | Sequence[Tensor], kept: list[Tensor] | None = None
    ) -> Float[Tensor, "member batch class"]:
        """Every member's logits: for one batch, or for one batch a member.

        kept: gets what came out of each ReLU, for `along`.
        """
        shared = isinstance(x, Tensor)
        x = self._cast(x if isinstance(x, Tensor) else torch.cat(list(x), 1))
        for layer, weight, bias in self.layers:
            x = self._layer(layer, weight, bias, x, shared)
            shared = shared and weight is None
            if kept is not None and isinstance(layer, nn.ReLU):
                kept.append(x.detach())
        return at_least_float32(x)

    def along(
        self, directions: Float[Tensor, "member batch channel height width"], kept: list[Tensor]
    ) -> Float[Tensor, "member batch class"]:
        """How fast each member's logits change along its direction, where `member_logits` kept `kept`. Without a graph.

        Exact: within its linear piece a member is a linear map, whose biases do not matter and whose ReLUs are switches.
        """
        with torch.no_grad():
            v, switches = self._cast(directions.transpose(0, 1).flatten(1, 2)), iter(kept)
            for layer, weight, _ in self.layers:
                if isinstance(layer, nn.ReLU):
                    v = torch.ops.aten.threshold_backward(v, next(switches), 0)
                else:
                    v = self._layer(layer, weight, None, v, False)
            return at_least_float32(v)

    def _layer(self, layer: nn.Module, weight: Tensor | None, bias: Tensor | None, x: Tensor, shared: bool) -> Tensor:
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
