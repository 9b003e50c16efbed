"""A new training: its settings completed, and everything checked, before a folder is made for its run."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

from trs_explorer import lookup, plugins, runs
from trs_explorer.catalogue import DATA
from trs_explorer.config import TrainConfig, resolve
from trs_explorer.data.custom import describe
from trs_explorer.data.download import obtain
from trs_explorer.files import cannot_write
from trs_explorer.options import UsageError
from trs_explorer.shipped import run_at
from trs_explorer.sources import Installed
from trs_explorer.training.cached_training import cached_start, train_to_end
from trs_explorer.training.device import resolve_device
from trs_explorer.training.model_check import check_model


def complete(
    values: Mapping[str, object],
    *,
    train: Callable[[runs.Run], bool] = train_to_end,
    notify: Callable[[str], object] = lambda text: None,
) -> TrainConfig:
    """Return the settings of a training whose model fits its data, on a device that is there, with the run that it starts from.

    It is `prepare`, then `with_start`.

    - values: settings and hyper-parameters, as `config.resolve` takes them. "data" may name data of the user, which is read: its
      shape and classes are part of the settings. A data set whose files are missing is downloaded.
    - train: trains the standard ensemble that some methods start from, once; see `cached_training`.
    - notify: called with lines of text for the user.

    Raises: UsageError for settings that no training can have; RunError if the run to start from cannot be used.
    """
    return with_start(prepare(values, notify=notify), train=train, notify=notify)


def prepare(values: Mapping[str, object], *, notify: Callable[[str], object] = lambda text: None) -> TrainConfig:
    """Return the settings of a training whose model fits its data, on a device that is there. Arguments: see `complete`.

    Raises: UsageError for settings that no training can have.
    """
    settings = _resolved(values, notify)
    if settings.device not in ("auto", "cpu"):
        resolve_device(settings.device)
    _obtain_data(settings)
    if settings.compile:
        notify("--compile: trying torch.compile, a few seconds")
    check_model(settings)
    return settings


def new_folder(settings: TrainConfig) -> Path:
    """Create the next free folder checkpoints/METHOD-DATA-N. Two trainings that start at the same time get different ones."""
    folder = Path("checkpoints")
    try:
        folder.mkdir(exist_ok=True)  # an error if a file is there, or a link that leads nowhere
        for number in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                path = folder / f"{plugins.stem(settings.method)}-{settings.data}-{number}"
                path.mkdir()
                return path
    except OSError as error:
        raise runs.RunError(cannot_write(folder, error)) from error
    raise AssertionError


def _resolved(values: Mapping[str, object], notify: Callable[[str], object]) -> TrainConfig:
    place = str(values.get("data", ""))
    if not lookup.is_custom_data(place):
        return resolve(values)
    if values.get("data_dir"):
        raise UsageError(f"--data {place} says where the data is: drop --data-dir")
    user_data = describe(place)
    for note in user_data.notes:
        notify(f"{place}: {note}")
    settings = resolve({**values, "data": user_data.name, "data_dir": user_data.place})
    return dataclasses.replace(settings, data_fingerprint=user_data.fingerprint)


def _obtain_data(settings: TrainConfig) -> None:
    """Download the data set if its files are missing. Raises UsageError if that fails."""
    source = DATA[settings.data].source
    if source is None or settings.data_dir or source.is_here:
        return
    if isinstance(source, Installed):
        raise UsageError(source.missing)
    obtain(source)


def with_start(
    settings: TrainConfig,
    *,
    train: Callable[[runs.Run], bool] = train_to_end,
    notify: Callable[[str], object] = lambda text: None,
) -> TrainConfig:
    """Return the settings with the run that the training starts from: the one named, or the method's standard ensemble.

    train, notify: see `complete`. Raises: RunError if that run cannot be used.
    """
    if settings.start_from:
        source = run_at(Path(settings.start_from))
    elif settings.about_method.trained_start:
        source = cached_start(settings, train=train, notify=notify)
    else:
        return settings
    return dataclasses.replace(settings, start_from=str(source.path.resolve()))
