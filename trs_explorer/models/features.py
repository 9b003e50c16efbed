"""Features of a model: the outputs of the layers that its builder declares as `feature_layers`."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.models.ensemble import Ensemble, Images
from trs_explorer.models.recording import RecordingModel


def feature_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the layers that a model declares as its features, first to last; of an ensemble, those that all members declare.

    Raises: ValueError if there are none.
    """
    if isinstance(model, Ensemble):
        first, *others = (feature_layers(member) for member in model.members)
        layers = tuple(layer for layer in first if all(layer in other for other in others))
    elif isinstance(model, RecordingModel):
        return feature_layers(model.model)
    else:
        declared = getattr(model, "feature_layers", ())
        layers = declared if isinstance(model, nn.Sequential) else ()
    if not layers:
        raise ValueError(
            f"{type(model).__name__} declares no feature layers: set `feature_layers`, names of layers, on the nn.Sequential "
            "(or on every member of the ensemble, with one name in common)"
        )
    return layers


def features(model: nn.Module, x: Images, layer: str) -> Float[Tensor, "batch feature"]:
    """Return the output of one of a model's feature layers, flattened; of an ensemble, its members' features concatenated.

    Later layers do not run. The model's mode and the caller's autocast apply.
    Raises: ValueError for a layer that is not in `feature_layers`, or that the model does not have.
    """
    if isinstance(model, RecordingModel):  # only whole passes are recorded
        return features(model.model, x, layer)
    if isinstance(model, Ensemble):
        feature_layers(model)
        return torch.cat([features(member, x, layer) for member in model.members], 1)
    front, _ = _split(model, layer)
    return _through(front, x).flatten(1)


def features_and_outputs(
    model: nn.Module, x: Images, layer: str
) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch class"]]:
    """Return the `features` and the output of a model that is no ensemble, in one pass. Raises: as `features`."""
    front, back = _split(model, layer)
    output = _through(front, x)
    return output.flatten(1), _through(back, output)


def _split(model: nn.Module, layer: str) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return a model's layers up to and including `layer`, and those after it."""
    if layer not in (declared := feature_layers(model)):
        raise ValueError(f"layer must be one of {', '.join(declared)}, got {layer!r}")
    used = {name: module for name, module in model._modules.items() if module is not None}
    names, layers = list(used), list(used.values())  # named_children would leave out a layer's second use
    if layer not in names:
        raise ValueError(f"the model declares {layer!r} as a feature layer, but has no layer of that name")
    after = names.index(layer) + 1
    return layers[:after], layers[after:]


def _through(layers: list[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x
