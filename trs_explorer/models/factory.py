"""Build untrained ensembles from the catalogue's names. `Ensemble` itself knows no catalogue."""

import torch
from torch import nn

from trs_explorer.catalogue import DATA, METHODS, MODELS, entry, load
from trs_explorer.models.ensemble import Ensemble

LEAKY_SLOPE = 0.1  # of the leaky ReLUs, for negative inputs


def build(model: str, data: str, members: int, *, seed: int, method: str = "standard") -> Ensemble:
    """Build an untrained ensemble for a data set.

    model, data, method: names in the catalogue. Some methods need another vote, or leaky ReLUs in place of the model's ReLUs.
    members: the number of members.
    seed: decides every initial weight; the global random state is left as it was.
    Raises: UsageError for an unknown name.
    """
    make_member = load(entry(MODELS, "--model", model).function)
    data_entry, method_entry = entry(DATA, "--data", data), entry(METHODS, "--method", method)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        ensemble = Ensemble([make_member(data_entry.shape, data_entry.classes) for _ in range(members)], method_entry.voting)
    if method_entry.leaky:
        _replace_relus(ensemble)
    return ensemble


def _replace_relus(module: nn.Module) -> None:
    """Replace every ReLU layer inside a module by a leaky ReLU, in place."""
    for name, child in module._modules.items():  # named_children would leave out a layer's second use
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.LeakyReLU(LEAKY_SLOPE))
        elif child is not None:
            _replace_relus(child)
