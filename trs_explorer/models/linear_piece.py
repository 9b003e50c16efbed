"""Stacked members around a batch of images, where they are linear: products with their Jacobians, losses and input gradients.

(Leaky) ReLUs and max-pooling are linear around almost every image, the other layers everywhere. So everything here has a closed
form. Autograd gives the same with a graph, which costs more memory and overhead. (Blocks without gradients are `with` blocks: of
methods that are decorated torch.compile makes no graph.)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from trs_explorer.models.stacked import ACTIVATIONS, MemberImages, MemberLogits, Stacked, as_stored, at_least_float32

OfLayers = dict[int, Tensor]  # by the layer's number


class LinearPiece:
    """Members at one batch of images: their logits, and their exact Jacobian J there, neither with a graph."""

    def __init__(self, members: Stacked, x: Tensor | Sequence[Tensor]) -> None:
        """x: one batch for all members, or one per member, as `Stacked.arrange` returns them."""
        self.members = members
        self.first = next(number for number, (_, weight, _) in enumerate(members.layers) if weight is not None)
        self.inputs: list[Tensor] = []  # of each layer; of a (leaky) ReLU its output, which has the same sign
        self.maxima: OfLayers = {}  # of each max-pooling: their places
        with torch.no_grad():
            self.shared, x = members.joined(x)
            self.logits: MemberLogits = at_least_float32(self._forward(x))

    def _forward(self, x: Tensor) -> Tensor:
        for number, (layer, weight, bias) in enumerate(self.members.layers):
            if isinstance(layer, nn.MaxPool2d):
                self.inputs.append(x)
                x, self.maxima[number] = F.max_pool2d(x, *_pooling(layer), return_indices=True)
                continue
            output = self.members.apply(layer, weight, bias, x, self.shared and number <= self.first)
            self.inputs.append(output if isinstance(layer, ACTIVATIONS) else x)
            x = output
        return x

    def losses_and_gradients(
        self, y: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "member batch"], Float[Tensor, "member batch ..."]]:
        """Return the members' cross-entropies at one batch for all of them, and the gradients with respect to it.

        Both can be differentiated with respect to the weights, once.
        """
        weights = [tensor for _, *both in self.members.layers for tensor in both if tensor is not None]
        losses, gradients = _LossesAndGradients.apply(self, y, *weights)  # type: ignore[no-untyped-call]
        return losses, gradients

    def values(self, y: Int[Tensor, " batch"], outputs: OfLayers) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the same two without a graph, and p and r = p - y: the members' probabilities, and these minus 1 of class y.

        outputs: takes the gradients of the losses with respect to the output of each layer with weights.
        """
        with torch.no_grad():
            log_p = self.logits.log_softmax(-1)
            p = log_p.exp()
            r = p - F.one_hot(y, p.shape[-1])
            gradients = self.backward(r, outputs).unflatten(1, (len(p), -1)).transpose(0, 1)
            losses = -log_p.gather(-1, y.expand(len(p), -1)[..., None])[..., 0]
        return losses, at_least_float32(gradients), p, r

    def jvp(self, directions: MemberImages) -> MemberLogits:
        """Return J v: the derivative of each member's logits along its direction, image by image."""
        with torch.no_grad():
            return self.forward_changes(directions, {})

    def vjp(self, weights: Tensor) -> MemberImages:
        """Return J^T w: the input gradients of the sums of logits weighted by w."""
        with torch.no_grad():
            w = self.backward(weights, {})
        return at_least_float32(w.unflatten(1, (len(self.members), -1)).transpose(0, 1))

    def forward_changes(self, directions: MemberImages, inputs: OfLayers) -> MemberLogits:
        """Return J v. inputs: takes the derivative of the input of each layer with weights."""
        v = as_stored(self.members.cast(directions.transpose(0, 1).flatten(1, 2)))
        for number, (layer, weight, _) in enumerate(self.members.layers):
            if weight is not None:
                inputs[number] = v
            if isinstance(layer, ACTIVATIONS):
                v = _through_activation(layer, v, self._of_members(self.inputs[number], number))
            elif isinstance(layer, nn.MaxPool2d):
                maxima = self._of_members(self.maxima[number], number)
                v = v.flatten(2).gather(2, maxima.flatten(2)).view_as(maxima)
            else:
                v = self.members.apply(layer, weight, None, v, False)
        return at_least_float32(v)

    def backward(self, w: Tensor, outputs: OfLayers, *, to_images: bool = True) -> Tensor:
        """Return J^T w, in the layout between layers.

        outputs: takes the gradient with respect to the output of each layer with weights.
        to_images: False ends at the first of these layers, and returns the gradient with respect to its output.
        """
        w = self.members.cast(w)
        for number in reversed(range(len(self.members.layers))):
            (layer, weight, _), x = self.members.layers[number], self.inputs[number]
            if weight is not None:
                outputs[number] = w
            if number == self.first and not to_images:
                break
            if isinstance(layer, nn.Linear):
                assert weight is not None
                w = torch.bmm(w, weight)
            elif isinstance(layer, nn.Flatten):
                w = as_stored(w.transpose(0, 1).reshape(len(x), -1, *x.shape[2:]))
            elif isinstance(layer, nn.PixelUnshuffle):
                w = F.pixel_shuffle(w, layer.downscale_factor)
            elif isinstance(layer, nn.Conv2d):
                w = self._convolution_backward(layer, w, x, weight, number)
            elif isinstance(layer, nn.MaxPool2d):
                x, maxima = self._of_members(x, number), self._of_members(self.maxima[number], number)
                w = torch.ops.aten.max_pool2d_with_indices_backward(w, x, *_pooling(layer), maxima)
            else:
                w = _through_activation(layer, w, self._of_members(x, number))
        return w

    def _convolution_backward(self, layer: nn.Conv2d, w: Tensor, x: Tensor, weight: Tensor | None, number: int) -> Tensor:
        if self.shared and number == self.first:  # only the shape and layout of x are used
            x = as_stored(
                torch.empty(len(x), len(self.members) * layer.in_channels, *x.shape[2:], dtype=x.dtype, device=x.device)
            )
        if layer.in_channels == 1:  # twice as fast in this layout
            w, x = w.contiguous(), x.contiguous()
        return _convolution_gradient(layer, w, x, weight, len(self.members), of_weight=False)

    def _of_members(self, x: Tensor, number: int) -> Tensor:
        """Return what belongs to a layer, with the channels of all members; it lacks them where these share the images."""
        return x.repeat(1, len(self.members), 1, 1) if self.shared and number < self.first else x

    def weight_gradients(self, inputs: Mapping[int, Tensor], outputs: OfLayers, *, shared: bool) -> dict[int, Tensor]:
        """Return, for each layer with weights, the gradient of the sum over images of <output's gradient, layer(input)>.

        shared: whether the first layer's input is one batch for all members.
        """
        found = {}
        for number, w in outputs.items():
            layer, weight, _ = self.members.layers[number]
            if isinstance(layer, nn.Linear):
                found[number] = torch.bmm(w.mT, inputs[number])
            else:
                assert isinstance(layer, nn.Conv2d)
                groups = 1 if shared and number == self.first else len(self.members)
                found[number] = _convolution_gradient(layer, w, inputs[number], weight, groups, of_weight=True)
        return found


class _LossesAndGradients(torch.autograd.Function):
    """Cross-entropies l and input gradients g = J^T r, r = p - y, as functions of the weights.

    Along changes a of l and G of g, the weights' gradient is that of <a, l> + <G, g>. J G, at fixed masks, is a product of the
    layers as the logits z are, so <G, J^T r> = <J G, r> has a part through J, in which r is fixed: the layers' gradients of r at
    the changes that G causes in their inputs. The other part goes through r: dr = H dz, H = diag p - p p^T. So it is the
    gradient of <H J G, z>, and is computed together with that of the losses, <a r, z>.
    """

    @staticmethod
    def forward(ctx: Any, piece: LinearPiece, y: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        del weights
        outputs = OfLayers()
        losses, gradients, p, r = piece.values(y, outputs)
        ctx.piece, ctx.p, ctx.r, ctx.outputs = piece, p, r, outputs
        ctx.set_materialize_grads(False)
        return losses, gradients

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_losses: Tensor | None, of_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        piece, p, outputs = ctx.piece, ctx.p, OfLayers()
        inputs = dict(enumerate(piece.inputs))
        if of_gradients is None:
            assert of_losses is not None
            outputs = {number: _scaled(w, of_losses) for number, w in ctx.outputs.items()}
            through_j: dict[int, Tensor] = {}
        else:
            changes = OfLayers()
            change = piece.forward_changes(of_gradients, changes)
            w = p * (change - (p * change).sum(-1, keepdim=True))
            piece.backward(w if of_losses is None else w + ctx.r * of_losses[..., None], outputs, to_images=False)
            through_j = piece.weight_gradients(changes, ctx.outputs, shared=False)
        of_weights = piece.weight_gradients(inputs, outputs, shared=piece.shared)
        found = []
        for number in sorted(outputs):
            found.append(of_weights[number] + through_j[number] if through_j else of_weights[number])
            if piece.members.layers[number][2] is not None:
                w = outputs[number]
                found.append(w.sum(1) if w.ndim == 3 else w.sum((0, 2, 3)))
        return None, None, *found


def _scaled(w: Tensor, factors: Float[Tensor, "member batch"]) -> Tensor:
    """Multiply the gradient with respect to a layer's output by a factor for each member and image."""
    factors = factors.to(w.dtype)
    return w * (
        factors[..., None] if w.ndim == 3 else factors.T.repeat_interleave(w.shape[1] // len(factors), 1)[..., None, None]
    )


def _convolution_gradient(
    layer: nn.Conv2d, w: Tensor, x: Tensor, weight: Tensor | None, groups: int, *, of_weight: bool
) -> Tensor:
    """Return the gradient with respect to a convolution's input x, or its weight."""
    geometry, which = (layer.stride, layer.padding, layer.dilation), [not of_weight, of_weight, False]
    gradients = torch.ops.aten.convolution_backward(w, x, weight, None, *geometry, False, [0, 0], groups, which)
    wanted: Tensor = gradients[of_weight]
    return wanted


def _pooling(layer: nn.MaxPool2d) -> tuple[list[int], list[int], list[int], list[int], bool]:
    """Return the arguments of a max-pooling: kernel, stride, padding, dilation, whether a last, incomplete window counts."""
    sizes = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    kernel, stride, padding, dilation = ([size] * 2 if isinstance(size, int) else list(size) for size in sizes)
    return kernel, stride, padding, dilation, layer.ceil_mode


def _through_activation(layer: nn.Module, w: Tensor, output: Tensor) -> Tensor:
    """Multiply a gradient or a change by the derivative of a (leaky) ReLU with this output."""
    through: Tensor
    if isinstance(layer, nn.LeakyReLU):
        through = torch.ops.aten.leaky_relu_backward(w, output, layer.negative_slope, False)
    else:
        through = torch.ops.aten.threshold_backward(w, output, 0)
    return through
