"""The data that a run was trained on: from which folder, and whether what is there now is still the same."""

from pathlib import Path

from trs_explorer.catalogue import DATA
from trs_explorer.config import SPLITS, TrainConfig, absolute
from trs_explorer.data.dataset import Dataset, load
from trs_explorer.files import printable
from trs_explorer.options import UsageError
from trs_explorer.runs import Run


def load_for(run: Run, *, train: bool, data_dir: str = "") -> Dataset:
    """A split of a run's data; of the training split the images that it learned from, the first `limit`.

    data_dir: folder with the files; empty: where the run's config says.
    Raises: UsageError if the files are missing or damaged, or other images or labels than the run's.
    """
    config, folder = run.config, folder_of(run, data_dir)
    try:
        found = load(config.data, train=train, data_dir=folder, limit=config.limit if train else 0)
    except UsageError as error:
        raise UsageError(f"{run.path}: {error}") from error  # whose folder it was
    check_same(run, found, train=train, folder=folder)
    return found


def folder_of(run: Run, data_dir: str = "") -> str:
    """The folder in which to look for a run's data: data_dir, else the one in its config; empty: the set's usual place.

    Raises: UsageError for a relative folder, as older configs hold: it would be another one in every working directory.
    """
    config = run.config
    if DATA[config.data].computed:
        return ""
    if data_dir:
        return absolute(data_dir)
    if config.data_dir and not config.data_dir.startswith("~") and not Path(config.data_dir).is_absolute():
        what = f"its {config.data} was in {printable(config.data_dir)}, relative to a working directory that is not known"
        raise UsageError(f"{run.path}: {what}: give the folder of the files as --data-dir")
    return absolute(config.data_dir)


def check_same(run: Run, found: Dataset, *, train: bool, folder: str) -> None:
    """Refuse a split that is not the run's. folder: where it was found. What an older run was trained on is not known.

    Raises: UsageError that names the data set and the folder.
    """
    split = "train" if train else "test"
    known = run.config.data_fingerprint.get(split, "")
    if known and found.fingerprint and known != found.fingerprint:
        source = DATA[found.name].source
        where = f"in {printable(folder or source.folder)}" if folder or source else "that comes with trs"
        what = f"the {found.name} {where} is not the one of this run (the SHA-256 of its {split} split differs)"
        raise UsageError(f"{run.path}: {what}: give the folder of the run's own files as --data-dir")


def fingerprints(config: TrainConfig) -> dict[str, str]:
    """By split, the fingerprint of the data that a training by `config` will read; {} for data that is computed."""
    if config.data_fingerprint or DATA[config.data].computed:
        return config.data_fingerprint
    return {split: load(config.data, train=split == "train", data_dir=config.data_dir).fingerprint for split in SPLITS}
