"""The standard ensembles on which black-box attacks are made by default: trained once and kept."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trs_explorer import plugins, runs
from trs_explorer.catalogue import DATA
from trs_explorer.config import TrainConfig, resolve
from trs_explorer.data import folder_of
from trs_explorer.models import build
from trs_explorer.options import UsageError
from trs_explorer.training.cached_training import cached_training, train_to_end

MEMBERS = (3, 5, 8)  # paper, section 4.1
SEED = 100  # no run's by default: a surrogate must not be the target
# By measurement on MNIST (first 200 test images, PGD-50 on cross-entropy, eps .2): images made on the ensemble of 3 after 8
# epochs leave 38 of a standard ensemble of 36 epochs right, those made after 36 leave 48.
EPOCHS = {"mnist": 8}
SMALL = ("patch", "small", "lenet")  # fastest first


def standard_surrogates(
    target: runs.Run,
    *,
    device: str = "auto",
    data_dir: str = "",
    train: Callable[[runs.Run], bool] = train_to_end,
    notify: Callable[[str], object] = lambda text: None,
) -> list[runs.Run]:
    """Standard ensembles of 3, 5 and 8 members for the target's data and model. Missing ones are trained now.

    They are in checkpoints/surrogate-DATA-MODEL-MEMBERS. For a run that was trained elsewhere, they are of a small model of ours.

    - device: where to train.
    - data_dir: folder with the target's data, if it is not where its config says.
    - train, notify, Raises: as for `cached_training`.
    """
    return [_surrogate(target, members, device, data_dir, train, notify) for members in MEMBERS]


def _surrogate(
    target: runs.Run,
    members: int,
    device: str,
    data_dir: str,
    train: Callable[[runs.Run], bool],
    notify: Callable[[str], object],
) -> runs.Run:
    config = target.config
    model = _small_model(config) if config.imported else config.model
    path = Path("checkpoints") / f"{runs.SURROGATE_PREFIX}{config.data}-{plugins.stem(model)}-{members}"
    settings = {
        "method": "standard",
        "data": config.data,
        "model": model,
        "members": members,
        "seed": SEED,
        "device": device,
        "data_dir": folder_of(target, data_dir),
    }
    epochs = {"epochs": EPOCHS[config.data]} if config.data in EPOCHS else {}
    standard = replace(resolve({**settings, **epochs}), data_fingerprint=config.data_fingerprint)
    purpose = f"a standard ensemble of {members} on which to make the images"
    return cached_training(path, standard, purpose=purpose, flag="--surrogates", train=train, notify=notify)


def _small_model(config: TrainConfig) -> str:
    """The first of our small models that takes the data of a run which was trained elsewhere. Raises UsageError if none does."""
    about = DATA[config.data]
    for name in SMALL if about.examples == "images" else ("mlp",):
        with contextlib.suppress(UsageError):
            build(name, config.data, 1, seed=0)
            return name
    shape = " x ".join(map(str, about.shape))
    raise UsageError(f"none of our small models takes images of {shape}: name your own surrogates by --surrogates")
