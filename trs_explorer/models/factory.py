"""Build untrained ensembles from the catalogue's names. `Ensemble` itself knows no catalogue."""

import torch
from torch import nn

from trs_explorer import lookup, plugins
from trs_explorer.catalogue import DATA, LEAKY_SLOPE, PUBLISHED, entry, load
from trs_explorer.config import TrainConfig
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.imported import make_imported
from trs_explorer.models.layouts.members import build_member


def build(model: str, data: str, members: int, *, seed: int, method: str = "standard") -> Ensemble:
    """Build an untrained ensemble for a data set.

    model, data, method: names in the catalogue. Some methods need another vote, or leaky ReLUs in place of the model's ReLUs.
    members: the number of members.
    seed: decides every initial weight; the global random state is left as it was.
    Raises: UsageError for an unknown name.
    """
    make_member = load(lookup.model(model).function)
    data_entry, method_entry = entry(DATA, "--data", data), lookup.method(method)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        ensemble = Ensemble([make_member(data_entry.shape, data_entry.classes) for _ in range(members)], method_entry.voting)
    if method_entry.leaky:
        _replace_relus(ensemble)
    return ensemble


def build_for(config: TrainConfig) -> Ensemble:
    """Build the ensemble of a run's config, also one that was imported. It is untrained, but where code of others trains it.

    Raises: UsageError for an unknown name, or for code that may not run or does not fit the data.
    """
    if config.imported and plugins.is_foreign("model", config.model):
        about = DATA[config.data]
        return make_imported(config.model, about.shape, about.classes)
    if config.model.startswith(PUBLISHED):
        architecture = config.model.removeprefix(PUBLISHED)
        return Ensemble([build_member(architecture, config.data) for _ in range(config.members)])
    method = "standard" if config.imported else config.method
    return build(config.model, config.data, config.members, seed=config.seed, method=method)


def _replace_relus(module: nn.Module) -> None:
    """Replace every ReLU layer inside a module by a leaky ReLU, in place."""
    for name, child in module._modules.items():  # named_children would leave out a layer's second use
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.LeakyReLU(LEAKY_SLOPE))
        elif child is not None:
            _replace_relus(child)
