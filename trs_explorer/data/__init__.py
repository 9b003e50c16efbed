"""Data sets: `load` gives a split of any set in the catalogue as tensors that can live on the device."""

from trs_explorer.data.dataset import Dataset, load

__all__ = ["Dataset", "load"]
