"""Load what is stored: the trained ensemble of a run, and the images of a run or a data set."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trs_explorer import data as data_sets
from trs_explorer import lookup, plugins
from trs_explorer.catalogue import DATA
from trs_explorer.config import absolute
from trs_explorer.data.custom import read
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError
from trs_explorer.runs import Checkpoint, Run, RunError, open_run
from trs_explorer.shipped import run_at


def load(
    run: str | Path, *, checkpoint: str | int | None = None, device: torch.device | str = "cpu", allow_code: bool = False
) -> Ensemble:
    """Return the trained ensemble of a run, in eval mode.

    - run: its folder, or the name of a run that ships ("mnist-trs").
    - checkpoint: an epoch, or a name such as "0007" or "0006-000123"; by default the newest.
    - device: where to.
    - allow_code: run the code of others that the run's config names (custom models, methods, data). Only for runs that you trust.
      What this process has defined and passed to `trs.train` needs no permission.

    `ensemble(x)` are the log-probabilities of the vote, [batch, class]; `ensemble.member_logits(x)` are [member, batch, class].
    Images x are [batch, channel, height, width] in [0, 1].
    Raises: RunError if there is no such run or checkpoint, or it is damaged; UsageError for code that may not run or fails.
    """
    opened = run_named(run, allow_code=allow_code)
    return load_ensemble(opened, device=device, checkpoint=None if checkpoint is None else _checkpoint(opened, checkpoint))[0]


def load_data(
    source: str | Path, *, train: bool = False, limit: int = 0, data_dir: str | Path = "", allow_code: bool = False
) -> tuple[Tensor, Tensor]:
    """Return images and labels: x [n, channel, height, width], float32 in [0, 1], and y [n], int64.

    - source: a run, whose data it is, by folder or name; a data set of the catalogue ("mnist"); data of your own (images.npz, a
      folder of pictures, "mine.py:data").
    - train: the training split; by default the test split.
    - limit: only the first `limit` images; 0: all.
    - data_dir: folder with the files, if they are not where the run's config says, or not in the set's usual place.
    - allow_code: as for `load`.

    Raises: UsageError if there is no such data, it is damaged, or has changed since the run was made; RunError as for `load`.
    """
    if limit < 0:
        raise UsageError(f"limit must be >= 0 (0: all), got {limit}")
    name, folder = str(source), absolute(str(data_dir))
    if name in DATA:
        split: Any = data_sets.load(name, train=train, data_dir=folder)
    elif not (Path(name) / "config.json").is_file() and lookup.is_custom_data(name) and not _is_shipped(name):
        plugins.allow("data", name)
        split = read(absolute(name), train=train)
    else:
        split = data_sets.load_for(run_named(source, allow_code=allow_code), train=train, data_dir=folder)
    x, y = (values[: limit or None] for values in (split.x, split.y))
    return (x.float() / 255 if x.dtype == torch.uint8 else x.clone()), y.clone()


def run_named(run: str | Path, *, allow_code: bool) -> Run:
    """Open a run by its folder or the name of one that ships. allow_code: let the code run that its config names."""
    opened = run_at(Path(run))
    if allow_code and opened.config.code_of_others():
        for kind, name in opened.config.code_of_others():
            plugins.allow(kind, name)
        opened = open_run(opened.path)  # now its options are checked
    return opened


def _is_shipped(name: str) -> bool:
    try:
        run_at(Path(name))
    except RunError:
        return False
    return True


def _checkpoint(run: Run, wanted: str | int) -> Checkpoint:
    name = f"{wanted:04d}" if isinstance(wanted, int) else str(wanted)
    checkpoints = {one.name: one for one in run.checkpoints()}
    if name not in checkpoints:
        raise RunError(f"{run.path} has no checkpoint {name}; it has {', '.join(checkpoints) or 'none'}")
    return checkpoints[name]
