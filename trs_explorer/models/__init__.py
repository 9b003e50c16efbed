"""Members and ensembles of them. `build` makes an untrained ensemble for a data set."""

from trs_explorer.models.ensemble import Ensemble, build

__all__ = ["Ensemble", "build"]
