"""Resumable measurements of runs, for commands, notebooks and scripts alike. Modules that need torch load when they are used.

from trs_explorer.measure import EvaluatePlan, evaluate_run, store
measurement = evaluate_run(run, EvaluatePlan([("pgd", 0.3)], limit=200))
measurement.result["rates"]
store([measurement])
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trs_explorer.measure.blackbox_session import BlackboxPlan, blackbox_runs, shared_test_split
    from trs_explorer.measure.bounds_session import BoundsPlan, bounds_run, checkpoints_of, default_radii
    from trs_explorer.measure.evaluate_session import EvaluatePlan, evaluate_run
    from trs_explorer.measure.probe_session import probe_run
    from trs_explorer.measure.saved_images import SavedImages, save_images, saved_content
    from trs_explorer.measure.session import Measurement, Reporting, store
    from trs_explorer.measure.sharding import ProcessGroup, connect_processes
    from trs_explorer.measure.smallest_session import SmallestPlan, smallest_eps_run
    from trs_explorer.measure.table1_rows import table1_rows
    from trs_explorer.measure.table1_session import measure_table1
    from trs_explorer.measure.transfer_session import TransferPlan, transfer_run

_MODULES = {
    "blackbox_session": ("BlackboxPlan", "blackbox_runs", "shared_test_split"),
    "bounds_session": ("BoundsPlan", "bounds_run", "checkpoints_of", "default_radii"),
    "evaluate_session": ("EvaluatePlan", "evaluate_run"),
    "probe_session": ("probe_run",),
    "saved_images": ("SavedImages", "save_images", "saved_content"),
    "session": ("Measurement", "Reporting", "store"),
    "sharding": ("ProcessGroup", "connect_processes"),
    "smallest_session": ("SmallestPlan", "smallest_eps_run"),
    "table1_rows": ("table1_rows",),
    "table1_session": ("measure_table1",),
    "transfer_session": ("TransferPlan", "transfer_run"),
}
__all__ = [
    "BlackboxPlan",
    "BoundsPlan",
    "EvaluatePlan",
    "Measurement",
    "ProcessGroup",
    "Reporting",
    "SavedImages",
    "SmallestPlan",
    "TransferPlan",
    "blackbox_runs",
    "bounds_run",
    "checkpoints_of",
    "connect_processes",
    "default_radii",
    "evaluate_run",
    "measure_table1",
    "probe_run",
    "save_images",
    "saved_content",
    "shared_test_split",
    "smallest_eps_run",
    "store",
    "table1_rows",
    "transfer_run",
]


def __getattr__(name: str) -> object:
    """Load a name's module when the name is used first."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
