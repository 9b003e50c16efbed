"""Members (architectures) and ensembles of them. `build` makes an untrained ensemble from the catalogue's names."""

from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.factory import build

__all__ = ["Ensemble", "build"]
