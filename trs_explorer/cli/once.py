"""A run that another command needs: trained once and kept."""

import contextlib
from pathlib import Path

import typer

from trs_explorer import runs
from trs_explorer.cli import INTERRUPTED
from trs_explorer.cli.progress import progress
from trs_explorer.cli.trainer import kept_if_begun, train_run
from trs_explorer.config import SETTINGS, TrainConfig, same_split

SURROGATE, START = "surrogate-", "start-"  # of their folders' names
# What a training's result does not depend on, or only in its last bits.
ELSEWHERE = ("device", "precision", "log_every", "save_every", "probe_every", "data_dir")
SAME = ("options", *(name for name in SETTINGS if name not in ELSEWHERE))


def trained_once(path: Path, wanted: TrainConfig, purpose: str, flag: str) -> runs.Run:
    """The finished run at path, trained now if it is not there; an interrupted training goes on. Says what it is for.

    flag: by which the user can name a run of his own. Raises: RunError if something else is at path.
    """
    if (path / "config.json").is_file():
        run = runs.open_run(path)
        same = all(getattr(run.config, name) == getattr(wanted, name) for name in SAME)
        if not same or not _same_data(run.config, wanted):
            which = "is on other images or labels" if same else "is another training"
            raise runs.RunError(f"{path} {which} than is needed here: rename it, or name yours by {flag}")
        if run.status().get("state") == "finished":
            return run
        created = False
    elif path.is_dir() and any(path.iterdir()):
        raise runs.RunError(f"{path} is in the way of the training needed, and no run: move it, or name yours by {flag}")
    else:
        run, created = runs.create(path, wanted), True
    typer.echo(f"training {path}, once: {purpose}", err=True)
    with progress(f"training {path.name}") as advance:

        def shown(event: dict) -> None:
            if event["kind"] == "start":
                advance(event["step"], event["steps"])
            elif event["kind"] in ("step", "epoch"):
                advance(event["step"], None)

        with kept_if_begun(run) if created else contextlib.nullcontext():
            status = train_run(run, shown)
    if status:
        typer.echo("interrupted: the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED)
    return runs.open_run(path)  # by now its config knows the data's fingerprint


def _same_data(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether two trainings are on the same images and labels; where a fingerprint is unknown, those of one folder are."""
    known = all(config.data_fingerprint.get("train") for config in (one, other))
    return same_split(one, other, "train") and (known or one.data_dir == other.data_dir)
