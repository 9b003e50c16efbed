"""Reference checkpoints: read ensembles in the layouts in which public repositories save them. Nothing is unpickled freely."""

from trs_explorer.models.layouts.ensemble import LayoutEnsemble, load_layout
from trs_explorer.models.layouts.members import build_member

__all__ = ["LayoutEnsemble", "build_member", "load_layout"]
