"""The standard ensembles on which black-box attacks are made by default: trained once and kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trs_explorer import plugins, runs
from trs_explorer.config import resolve
from trs_explorer.data import folder_of
from trs_explorer.training.cached_training import cached_training, train_to_end

MEMBERS = (3, 5, 8)  # paper, section 4.1
SEED = 100  # no run's by default: a surrogate must not be the target
# By measurement on MNIST (first 200 test images, PGD-50 on cross-entropy, eps .2): images made on the ensemble of 3 after 8
# epochs leave 38 of a standard ensemble of 36 epochs right, those made after 36 leave 48.
EPOCHS = {"mnist": 8}


def standard_surrogates(
    target: runs.Run,
    *,
    device: str = "auto",
    data_dir: str = "",
    train: Callable[[runs.Run], bool] = train_to_end,
    notify: Callable[[str], object] = lambda text: None,
) -> list[runs.Run]:
    """Standard ensembles of 3, 5 and 8 members for the target's data and model. Missing ones are trained now.

    They are in checkpoints/surrogate-DATA-MODEL-MEMBERS.

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
    path = Path("checkpoints") / f"{runs.SURROGATE_PREFIX}{config.data}-{plugins.stem(config.model)}-{members}"
    settings = {
        "method": "standard",
        "data": config.data,
        "model": config.model,
        "members": members,
        "seed": SEED,
        "device": device,
        "data_dir": folder_of(target, data_dir),
    }
    epochs = {"epochs": EPOCHS[config.data]} if config.data in EPOCHS else {}
    standard = replace(resolve({**settings, **epochs}), data_fingerprint=config.data_fingerprint)
    purpose = f"a standard ensemble of {members} on which to make the images"
    return cached_training(path, standard, purpose=purpose, flag="--surrogates", train=train, notify=notify)
