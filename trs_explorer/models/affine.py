"""The affine layers of an ensemble's members, as linear maps: their largest singular values and vectors."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.models.ensemble import Ensemble, Images
from trs_explorer.models.eval_mode import eval_mode

Affine = nn.Conv2d | nn.Linear
Vectors = Float[Tensor, "vector *input"]
Stretched = Float[Tensor, "vector *output"]


@dataclass(frozen=True)
class SameLayer:
    """One affine layer in every member: they differ in their weights only.

    name: in the first member.
    layers: one per member.
    shape: of an input, without the batch: channel, height, width for a convolution; unit for a linear layer.
    """

    name: str
    layers: tuple[Affine, ...]
    shape: tuple[int, ...]

    def top_vectors(self, *, top: int, steps: int, generator: torch.Generator) -> list[Vectors]:
        """Return for each member the right singular vectors of the layer's `top` largest singular values, see `top_vectors`.

        All members start from the same random vectors, so that their order does not matter.
        """
        weight = self.layers[0].weight
        start = torch.randn((top, *self.shape), generator=generator, device=weight.device).to(weight.dtype)
        return [top_vectors(layer, start, steps=steps) for layer in self.layers]


def linear_map(layer: Affine, vectors: Vectors) -> Stretched:
    """Return what a convolution or linear layer makes of vectors, without its bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(vectors, layer.weight)
    image: Tensor = layer._conv_forward(vectors, layer.weight, None)  # whatever its padding is
    return image


def lengths(vectors: Vectors) -> Float[Tensor, " vector"]:
    """Return the L2 lengths of vectors of any shape, with 1e-12 under the root: at 0 the root has no derivative."""
    return (vectors.flatten(1).square().sum(-1) + 1e-12).sqrt()


def top_vectors(layer: Affine, start: Vectors, *, steps: int) -> Vectors:
    """Return the right singular vectors of a layer's largest singular values, as many as `start` has, by orthogonal iteration.

    Many singular values of a layer are nearly equal, above all those of a convolution. A few steps from random vectors then
    return mixtures of vectors that the layer stretches nearly as much as any.

    start: [vector, *input], not orthonormal.
    steps: of the iteration; each multiplies by A^T A and orthonormalises.
    Source: Golub and Van Loan, Matrix Computations, section 8.2.4. Ebrahimpour-Boroojeny et al., "Spectrum extraction and
    clipping for implicitly linear layers", AISTATS 2024, also multiply by A^T A by automatic differentiation.
    """
    vectors = _orthonormal(start)
    for _ in range(steps):
        with torch.enable_grad():
            leaf = vectors.detach().requires_grad_()
            image = linear_map(layer, leaf)
            (product,) = torch.autograd.grad(image, leaf, image.detach())
        vectors = _orthonormal(product)
    return vectors.detach()


def _orthonormal(vectors: Vectors) -> Vectors:
    if len(vectors) == 1:
        return vectors / lengths(vectors)
    columns: Tensor = torch.linalg.qr(vectors.flatten(1).mT).Q
    return columns.mT.reshape(vectors.shape)


_found: WeakKeyDictionary[Ensemble, tuple[list[nn.Module], torch.Size, list[SameLayer]]] = WeakKeyDictionary()
_lock = threading.Lock()


def affine_layers(ensemble: Ensemble, x: Images) -> list[SameLayer]:
    """Return the convolutions (nn.Conv2d) and linear layers of an ensemble, in the order in which an image passes them.

    x: images, to find the shapes of the layers' inputs. The members run once for an ensemble and a shape of images: the threads
    of a training step share the result.
    Raises: ValueError if the members differ in more than their weights, have no such layer, or compute its weight from others.
    """
    with _lock:
        modules, shape, found = _found.get(ensemble, ([], torch.Size(), []))
        present = list(ensemble.members.modules())  # not the ensemble: the entry must not keep its key alive
        if shape != x.shape[1:] or len(modules) != len(present) or any(a is not b for a, b in zip(modules, present, strict=True)):
            found = _same_layers([_layers_that_run(member, x[:1]) for member in ensemble.members])
            _found[ensemble] = present, x.shape[1:], found
        return found


def _same_layers(members: list[Mapping[Affine, tuple[str, tuple[int, ...]]]]) -> list[SameLayer]:
    """Combine corresponding layers. Raises: as `affine_layers`."""
    if not members[0]:
        raise ValueError("its members run no nn.Conv2d and no nn.Linear")
    for number, member in enumerate(members[1:], start=2):
        if len(member) != len(members[0]):
            raise ValueError(f"members must be alike, but F1 has {len(members[0])} affine layers and F{number} {len(member)}")
        for (ours, about), (theirs, other) in zip(members[0].items(), member.items(), strict=True):
            if (str(ours), about[1]) != (str(theirs), other[1]):
                raise ValueError(
                    f"members must be alike, but {about[0]} of F1 is {ours} on {[*about[1]]}, "
                    f"{other[0]} of F{number} is {theirs} on {[*other[1]]}"
                )
    name_and_shape = members[0].values()
    return [
        SameLayer(name, layers, shape) for (name, shape), layers in zip(name_and_shape, zip(*members, strict=True), strict=True)
    ]


@torch.no_grad()
def _layers_that_run(member: nn.Module, x: Images) -> dict[Affine, tuple[str, tuple[int, ...]]]:
    """Return a member's affine layers in the order of their first calls, each with its name and the shape of its input.

    Raises: ValueError for a weight that is no parameter itself: to change it would change nothing.
    """
    found: dict[Affine, tuple[str, tuple[int, ...]]] = {}
    names = {layer: name for name, layer in member.named_modules() if isinstance(layer, Affine)}

    computed = [name for layer, name in names.items() if not isinstance(layer.weight, nn.Parameter)]
    if computed:
        raise ValueError(
            f"the weight of {computed[0]} is computed from others (weight_norm or another parametrization): remove it"
        )

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, Affine)
        shape = inputs[0].shape[1:] if isinstance(layer, nn.Conv2d) else inputs[0].shape[-1:]
        found.setdefault(layer, (names[layer], tuple(shape)))

    handles = [layer.register_forward_pre_hook(record) for layer in names]
    try:
        with eval_mode(member):
            member(x)
    finally:
        for handle in handles:
            handle.remove()
    return found
