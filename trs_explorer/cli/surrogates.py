"""The ensembles on which black-box attacks are made: the user's, or standard ones that are trained once and kept."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from trs_explorer import runs
from trs_explorer.cli.flags import parse_list, run_at
from trs_explorer.cli.once import SURROGATE, trained_once
from trs_explorer.config import resolve, same_split
from trs_explorer.options import UsageError

MEMBERS = (3, 5, 8)  # paper, section 4.1
SEED = 100  # no run's by default: a surrogate must not be the target
# By measurement on MNIST (first 200 test images, PGD-50 on cross-entropy, eps .2): images made on the ensemble of 3 after 8
# epochs leave 38 of a standard ensemble of 36 epochs right, those made after 36 leave 48.
EPOCHS = {"mnist": 8}


def surrogates_of(target: runs.Run, named: Iterable[str], device: str, data_dir: str = "") -> list[runs.Run]:
    """The runs that the user names, or the standard ensembles of 3, 5 and 8 members for the target's data and model.

    Those are in checkpoints/surrogate-DATA-MODEL-MEMBERS. What is missing is trained now; an interrupted training goes on.
    data_dir: folder with the target's data, if it is not where its config says.
    """
    given = [run_at(Path(name)) for text in named for name in parse_list(text, "--surrogates")]
    if len({run.name for run in given}) < len(given):
        raise UsageError(f"--surrogates: two of one name: {', '.join(run.name for run in given)}")
    for run in given:
        if run.config.data != target.config.data:
            raise UsageError(f"--surrogates: {run.name} knows {run.config.data}, {target.name} {target.config.data}")
        if not same_split(run.config, target.config, "test"):
            what = f"the {run.config.data} of {run.name} is not that of {target.name} (its SHA-256 differs)"
            raise UsageError(f"--surrogates: {what}")
    return given or [_trained(target, members, device, data_dir) for members in MEMBERS]


def _trained(target: runs.Run, members: int, device: str, data_dir: str) -> runs.Run:
    from trs_explorer.data import folder_of

    config = target.config
    path = Path("checkpoints") / f"{SURROGATE}{config.data}-{config.model}-{members}"
    values = {
        "method": "standard",
        "data": config.data,
        "model": config.model,
        "members": members,
        "seed": SEED,
        "device": device,
    }
    epochs = {"epochs": EPOCHS[config.data]} if config.data in EPOCHS else {}
    wanted = resolve({**values, **epochs, "data_dir": folder_of(target, data_dir)})
    wanted = replace(wanted, data_fingerprint=config.data_fingerprint)
    return trained_once(path, wanted, f"a standard ensemble of {members} on which to make the images", "--surrogates")
