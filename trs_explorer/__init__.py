"""TRS (Transferability Reduced Smooth) ensembles: train them, attack them, see why attacks transfer.

From a notebook:

    import trs_explorer as trs

    ensemble = trs.load("mnist-trs")
    x, y = trs.load_data("mnist-trs", limit=200)
    rates = trs.evaluate(ensemble, x, y, attacks={"pgd": 0.3, "mora": 0.3})
    trs.figures.matrix(trs.transfer_matrix(ensemble, x, y, attack=trs.attacks.pgd, eps=0.3))
    trs.figures.bounds(trs.bounds(ensemble, x, y, eps=[0.03, 0.1, 0.5]))
    trs.figures.slices(ensemble, x[0], y[0], attack="pgd", eps=0.3)

    for event in trs.train("trs", data="images.npz", out="checkpoints/mine"): ...

Modules load when a name is used first: the import itself loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trs_explorer import attacks, figures
    from trs_explorer.api.imports import import_run
    from trs_explorer.api.measuring import bounds, check, evaluate, transfer_matrix, worst_case
    from trs_explorer.api.stored import load, load_data
    from trs_explorer.api.trainings import Training, train
    from trs_explorer.data.as_tensors import as_batch, as_images, as_labels
    from trs_explorer.evaluation.accuracy import Rate
    from trs_explorer.evaluation.bounds.of_pairs import Bounds
    from trs_explorer.evaluation.transfer import TransferMatrix
    from trs_explorer.models.ensemble import Ensemble
    from trs_explorer.options import UsageError
    from trs_explorer.runs import RunError
    from trs_explorer.training.state import TrainingError

__version__ = "0.1.0"
__all__ = [
    "Bounds",
    "Ensemble",
    "Rate",
    "RunError",
    "Training",
    "TrainingError",
    "TransferMatrix",
    "UsageError",
    "as_batch",
    "as_images",
    "as_labels",
    "attacks",
    "bounds",
    "check",
    "evaluate",
    "figures",
    "import_run",
    "load",
    "load_data",
    "train",
    "transfer_matrix",
    "worst_case",
]
_MODULES = {
    "api.imports": ("import_run",),
    "api.measuring": ("bounds", "check", "evaluate", "transfer_matrix", "worst_case"),
    "api.stored": ("load", "load_data"),
    "api.trainings": ("Training", "train"),
    "data.as_tensors": ("as_batch", "as_images", "as_labels"),
    "evaluation.accuracy": ("Rate",),
    "evaluation.bounds.of_pairs": ("Bounds",),
    "evaluation.transfer": ("TransferMatrix",),
    "models.ensemble": ("Ensemble",),
    "options": ("UsageError",),
    "runs": ("RunError",),
    "training.state": ("TrainingError",),
}


if not TYPE_CHECKING:  # a type checker would take any name then

    def __getattr__(name: str) -> object:
        """Load a name's module when the name is used first."""
        if name in ("attacks", "figures"):
            return import_module(f"{__name__}.{name}")
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that `trs.` completes to."""
    return [*__all__, "__version__"]
