"""Data sets: `load` returns a split of any set in the catalogue as tensors; `load_for` the data of a run."""

from trs_explorer.data.dataset import Dataset, load
from trs_explorer.data.of_run import check_same, fingerprints, folder_of, load_for

__all__ = ["Dataset", "check_same", "fingerprints", "folder_of", "load", "load_for"]
