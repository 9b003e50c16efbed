"""A training that something else needs: made once, kept as a run, and found there from then on."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

from trs_explorer import runs
from trs_explorer.config import SETTINGS, TrainConfig, resolve, same_split
from trs_explorer.data import fingerprints
from trs_explorer.training import loop

# The settings on which the result of a training does not depend, or only in its last bits.
IRRELEVANT = ("device", "precision", "compile", "log_every", "save_every", "probe_every", "data_dir")
RELEVANT = ("options", *(name for name in SETTINGS if name not in IRRELEVANT))


def train_to_end(run: runs.Run) -> bool:
    """Train a run from where it is. Returns whether it was trained to the end."""
    for _ in loop.train(run, resume=any(run.checkpoints()) or runs.has_begun(run)):
        pass
    return run.status().get("state") == "finished"


def cached_training(
    path: Path,
    config: TrainConfig,
    *,
    purpose: str,
    flag: str,
    train: Callable[[runs.Run], bool] = train_to_end,
    notify: Callable[[str], object] = lambda text: None,
) -> runs.Run:
    """The finished run at path. It is trained now if it is not there; an interrupted training is resumed.

    - config: of the training. A run at path with other settings, or on other data, is refused.
    - purpose: what the training is for, as the user reads it.
    - flag: by which the user can name a run of their own instead.
    - train: trains a run and returns whether it was trained to the end.
    - notify: called with lines of text for the user.

    Raises: RunError if something else is at path; KeyboardInterrupt if the training was interrupted.
    """
    created = False
    if (path / "config.json").is_file():
        run = runs.open_run(path)
        same = all(getattr(run.config, name) == getattr(config, name) for name in RELEVANT)
        if not same or not _same_data(run.config, config):
            which = "is on other images or labels" if same else "is another training"
            raise runs.RunError(f"{path} {which} than is needed here: rename it, or name yours by {flag}")
        if run.status().get("state") == "finished":
            return run
    elif path.is_dir() and any(path.iterdir()):
        raise runs.RunError(f"{path} is in the way of the training needed, and no run: move it, or name yours by {flag}")
    else:
        run, created = runs.create(path, config), True
    notify(f"training {path}, once: {purpose}")
    with runs.discard_unless_begun(run) if created else contextlib.nullcontext():
        finished = train(run)
    if not finished:
        notify("interrupted: the same command continues from here")
        raise KeyboardInterrupt
    return runs.open_run(path)  # by now its config knows the data's fingerprint


def cached_start(
    config: TrainConfig,
    *,
    train: Callable[[runs.Run], bool] = train_to_end,
    notify: Callable[[str], object] = lambda text: None,
) -> runs.Run:
    """The standard ensemble that a training by `config` starts from, trained once by the data set's recipe.

    It is in checkpoints/start-DATA-MODEL-MEMBERS-SEED. train, notify, Raises: as for `cached_training`.
    """
    alike = ("data", "model", "members", "seed", "device", "precision", "limit", "data_dir")
    standard = resolve({"method": "standard", **{name: getattr(config, name) for name in alike}})
    standard = dataclasses.replace(standard, data_fingerprint=fingerprints(config))
    path = Path("checkpoints") / runs.start_name(config)
    purpose = f"the standard ensemble that {config.method} starts from (--from RUN takes another)"
    return cached_training(path, standard, purpose=purpose, flag="--from", train=train, notify=notify)


def _same_data(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether two trainings are on the same images and labels: by fingerprint, or by folder where one is unknown."""
    both_have_fingerprints = all(config.data_fingerprint.get("train") for config in (one, other))
    return same_split(one, other, "train") and (both_have_fingerprints or one.data_dir == other.data_dir)
