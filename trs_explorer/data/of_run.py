"""The data that a run was trained on: its folder, and a check that the data there is still the same."""

from pathlib import Path

from trs_explorer import plugins
from trs_explorer.catalogue import DATA
from trs_explorer.config import SPLITS, TrainConfig, absolute
from trs_explorer.data.dataset import Dataset, load
from trs_explorer.files import printable
from trs_explorer.options import UsageError
from trs_explorer.runs import Run


def load_for(run: Run, *, train: bool, data_dir: str = "") -> Dataset:
    """Load a split of a run's data; of the training split the first `limit` images of its config.

    data_dir: folder with the files; empty: the one in the run's config.
    Raises: UsageError if the files are missing or damaged, or have other images or labels than the run's.
    """
    config, folder = run.config, folder_of(run, data_dir)
    try:
        split = load(config.data, train=train, data_dir=folder, limit=config.limit if train else 0)
    except UsageError as error:
        raise UsageError(f"{run.path}: {error}") from error
    check_same(run, split, train=train, folder=folder)
    return split


def folder_of(run: Run, data_dir: str = "") -> str:
    """The folder of a run's data: data_dir, else the one in its config; empty: the set's usual place.

    Raises: UsageError for a relative folder, which older configs may have: it depends on an unknown working directory.
    """
    config = run.config
    if DATA[config.data].computed:
        return ""
    if data_dir:
        return absolute(data_dir)
    if plugins.is_foreign("data", config.data_dir):
        return plugins.absolute(config.data_dir)
    if config.data_dir and not config.data_dir.startswith("~") and not Path(config.data_dir).is_absolute():
        what = f"its {config.data} was in {printable(config.data_dir)}, relative to a working directory that is not known"
        raise UsageError(f"{run.path}: {what}: give the folder of the files as --data-dir")
    return absolute(config.data_dir)


def check_same(run: Run, loaded: Dataset, *, train: bool, folder: str) -> None:
    """Raise UsageError, with the data set and the folder, if a split is not the run's.

    folder: the split was loaded from. Older runs without a fingerprint accept any split.
    """
    split = "train" if train else "test"
    expected = run.config.data_fingerprint.get(split, "")
    if expected and loaded.fingerprint and expected != loaded.fingerprint:
        source = DATA[loaded.name].source
        used = folder or (source.folder if source else "")
        where = f"in {printable(used)}" if used else "that comes with trs"
        what = f"the {loaded.name} {where} is not the one of this run (the SHA-256 of its {split} split differs)"
        raise UsageError(f"{run.path}: {what}: give the folder of the run's own files as --data-dir")


def fingerprints(config: TrainConfig) -> dict[str, str]:
    """By split, the fingerprint of the data that a training by `config` will read; {} for data that is computed."""
    if config.data_fingerprint or DATA[config.data].computed:
        return config.data_fingerprint
    return {split: load(config.data, train=split == "train", data_dir=config.data_dir).fingerprint for split in SPLITS}
