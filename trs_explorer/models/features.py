"""What a model sees in images on the way to its logits: the outputs of the layers that its builder declares as features."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.models.ensemble import Ensemble, Images


def feature_layers(model: nn.Module) -> tuple[str, ...]:
    """The layers that a model declares as its features, first to last; of an ensemble, those that all members declare.

    Raises: ValueError if there are none.
    """
    if isinstance(model, Ensemble):
        first, *others = (feature_layers(member) for member in model.members)
        layers = tuple(layer for layer in first if all(layer in other for other in others))
    else:
        layers = getattr(model, "feature_layers", ()) if isinstance(model, nn.Sequential) else ()
    if not layers:
        raise ValueError(
            f"{type(model).__name__} declares no feature layers: set `feature_layers`, names of layers, on the nn.Sequential "
            "(or on every member of the ensemble, with one name in common)"
        )
    return layers


def features(model: nn.Module, x: Images, layer: str) -> Float[Tensor, "batch feature"]:
    """The output of one of a model's feature layers, flattened; of an ensemble, its members' side by side.

    Layers behind it do not run. In the model's mode and in the caller's autocast, if any.
    Raises: ValueError for a layer that is none of `feature_layers`, or that the model does not have.
    """
    if layer not in (known := feature_layers(model)):
        raise ValueError(f"layer must be one of {', '.join(known)}, got {layer!r}")
    if isinstance(model, Ensemble):
        return torch.cat([features(member, x, layer) for member in model.members], 1)
    for name, child in model._modules.items():  # named_children would leave out the second use of a layer
        x = child(x)
        if name == layer:
            return x.flatten(1)
    raise ValueError(f"the model declares {layer!r} as a feature layer, but has no layer of that name")
