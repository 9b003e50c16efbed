"""Figures: functions from data to plotly figures, for the web pages, exports, handouts and notebooks. No dash, no torch.

From a notebook (`import trs_explorer as trs`): `trs.figures.slices(ensemble, x, y)`, `matrix(trs.transfer_matrix(...))`,
`bounds(trs.bounds(...))`,
`training("checkpoints/mine")`, `compare({"mine": trs.evaluate(...)})`. The modules that measure load when one of these is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trs_explorer.figures.of_ensemble import slices
    from trs_explorer.figures.of_results import bounds, compare, matrix, training

_MODULES = {
    "bounds": "of_results",
    "compare": "of_results",
    "matrix": "of_results",
    "slices": "of_ensemble",
    "training": "of_results",
}
__all__ = ["bounds", "compare", "matrix", "slices", "training"]


if not TYPE_CHECKING:  # a type checker would take any name then

    def __getattr__(name: str) -> object:
        """Load a name's module when the name is used first. No module here may have such a name: it would take its place."""
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that `trs.figures.` completes to."""
    return [*__all__]
