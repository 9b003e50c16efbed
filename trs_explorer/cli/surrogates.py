"""The ensembles on which black-box attacks are made: the user's, or standard ones that are trained once and kept."""

from collections.abc import Iterable
from pathlib import Path

import typer

from trs_explorer import runs
from trs_explorer.cli import INTERRUPTED
from trs_explorer.cli.flags import parse_list, run_at
from trs_explorer.cli.progress import progress
from trs_explorer.cli.train import train_run
from trs_explorer.config import TrainConfig, resolve
from trs_explorer.options import UsageError

MEMBERS = (3, 5, 8)  # paper, section 4.1
PREFIX = "surrogate-"  # of their folders' names
SEED = 100  # no run's by default: a surrogate must not be the target
# By measurement on MNIST (first 200 test images, PGD-50 on cross-entropy, eps .2): images made on the ensemble of 3 after 8
# epochs leave 38 of mnist-standard right, those made after 36 leave 48.
EPOCHS = {"mnist": 8}


def surrogates_of(target: runs.Run, named: Iterable[str], device: str) -> list[runs.Run]:
    """The runs that the user names, or the standard ensembles of 3, 5 and 8 members for the target's data and model.

    Those are in checkpoints/surrogate-DATA-MODEL-MEMBERS. What is missing is trained now; an interrupted training goes on.
    """
    given = [run_at(Path(name)) for text in named for name in parse_list(text, "--surrogates")]
    if len({run.name for run in given}) < len(given):
        raise UsageError(f"--surrogates: two of one name: {', '.join(run.name for run in given)}")
    for run in given:
        if run.config.data != target.config.data:
            raise UsageError(f"--surrogates: {run.name} knows {run.config.data}, {target.name} {target.config.data}")
    return given or [_trained(target, members, device) for members in MEMBERS]


def _trained(target: runs.Run, members: int, device: str) -> runs.Run:
    config = target.config
    path = Path("checkpoints") / f"{PREFIX}{config.data}-{config.model}-{members}"
    values = {
        "method": "standard",
        "data": config.data,
        "model": config.model,
        "members": members,
        "seed": SEED,
        "device": device,
    }
    epochs = {"epochs": EPOCHS[config.data]} if config.data in EPOCHS else {}
    wanted = resolve({**values, **epochs, "data_dir": config.data_dir})
    if (path / "config.json").is_file():
        run = runs.open_run(path)
        if not _same(run.config, wanted):
            raise runs.RunError(f"{path} is another training than the surrogate needed: rename it, or name yours by --surrogates")
        if run.status().get("state") == "finished":
            return run
    elif path.is_dir() and any(path.iterdir()):
        raise runs.RunError(f"{path} is in the way of the surrogate needed, and no run: move it, or name yours by --surrogates")
    else:
        run = runs.create(path, wanted)
    typer.echo(f"training {path}, once: a standard ensemble of {members} on which to make the images", err=True)
    with progress(f"training {path.name}") as advance:

        def shown(event: dict) -> None:
            if event["kind"] == "start":
                advance(event["step"], event["steps"])
            elif event["kind"] in ("step", "epoch"):
                advance(event["step"], None)

        status = train_run(run, shown)
    if status:
        typer.echo("interrupted: the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED)
    return run


def _same(found: TrainConfig, wanted: TrainConfig) -> bool:
    """Whether two configs are of one training, wherever it runs."""
    names = ("method", "data", "model", "members", "seed", "epochs", "batch_size", "lr", "options")
    return all(getattr(found, name) == getattr(wanted, name) for name in names)
