"""`trs train --seeds`: one training a seed, one after another, each in a folder of its own. The same command continues."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trs_explorer import runs
from trs_explorer.cli import DONE, FAILED, INTERRUPTED, error_message, exit_on_interrupt
from trs_explorer.cli.flags import say
from trs_explorer.cli.trainer import InterruptedTwice, train_with_progress
from trs_explorer.config import SETTINGS, SPLITS, TrainConfig, same_split
from trs_explorer.plugins import stem
from trs_explorer.results import is_table_alone

if TYPE_CHECKING:
    from trs_explorer.training.processes import Processes

FINISHED, SKIPPED, FAILURE, STOPPED = "finished", "skipped", "failed", "stopped"  # how a seed ended; else its training goes on


def train_seeds(
    values: dict,
    seeds: Sequence[int],
    out: Path | None,
    train: Callable[..., int],
    report: Callable[[dict[str, object]], object],
    processes: "Processes | None" = None,
) -> int:
    """Train with every seed, into OUT-seed-N each. Returns the exit status.

    The folders are beside one another: `trs compare`, `trs explore` and the others look for runs directly inside a folder, so
    they find these as any other run. Finished trainings are skipped, unfinished ones continued. If one fails, that is reported,
    and the others go on. Ctrl-C, or a viewer's stop, ends them all.

    - values: the settings from flags and file, without a seed.
    - out: OUT; by default checkpoints/METHOD-DATA.
    - train: trains a run and shows it. Keyword arguments: `more`, whether more seeds follow; `about`, fields for lines of JSON.
    - processes: started by torchrun, which share each training. If one of them is killed, that ends all.
    - report: called for every seed when it is done, with the fields seed, run (its folder), state and, if it failed, error.

    Raises: UsageError for wrong settings, RunError if a folder is in the way: before anything is trained.
    """
    with exit_on_interrupt():
        from trs_explorer.training.new_run import prepare, with_start
    settings = prepare({**values, "seed": seeds[0]}, notify=say)
    settings = with_start(settings) if settings.start_from else settings
    folder = Path("checkpoints") / f"{stem(settings.method)}-{settings.data}" if out is None else out
    trainings = [(Path(f"{folder}-seed-{seed}"), dataclasses.replace(settings, seed=seed)) for seed in seeds]
    there = [_open(path, one) for path, one in trainings]
    ended: dict[str, list[int]] = {}
    for (path, one), run in zip(trainings, there, strict=True):
        more = one.seed != seeds[-1]
        try:
            train_one = partial(train, more=more, about={"seed": one.seed, "run": str(path)})
            state, error = _train_seed(one, path, run, train_one, processes)
        except InterruptedTwice:
            raise
        except Exception as failure:
            if os.environ.get("TRS_DEBUG") == "1" or not (processes is None or processes.go_on()):
                raise
            state, error = FAILURE, error_message(failure)
        ended.setdefault(state, []).append(one.seed)
        report({"seed": one.seed, "run": str(path), "state": state} | ({"error": error} if error else {}))
        if state not in (FINISHED, SKIPPED, FAILURE):
            break
    say("; ".join(f"{state}: {', '.join(map(str, some))}" for state, some in ended.items()))
    return INTERRUPTED if STOPPED in ended else FAILED if FAILURE in ended else DONE


def _train_seed(
    settings: TrainConfig,
    path: Path,
    run: runs.Run | None,
    train: Callable[[runs.Run], object],
    processes: "Processes | None",
) -> tuple[str, str]:
    """Train with one seed, or continue its run. Returns how it ended, and why if it failed."""
    from trs_explorer.training.new_run import with_start

    if run is not None and (run.status().get("state") == FINISHED or is_table_alone(run)):
        return SKIPPED, ""
    new = run is None
    if run is None:
        if not settings.start_from:
            settings = with_start(settings, train=partial(train_with_progress, processes=processes), notify=say)
        run = runs.create(path, settings)
    with runs.discard_unless_begun(run) if new else contextlib.nullcontext():
        train(run)
    status = run.status()
    return str(status.get("state", FAILURE)), str(status.get("error", ""))


def _open(path: Path, settings: TrainConfig) -> runs.Run | None:
    """The run of a seed, if it is there. Raises RunError if it is another training, or something else is in the way."""
    if not (path / "config.json").is_file():
        runs.check_free(path)
        return None
    run = runs.open_run(path)
    names = [name for name in ("options", *SETTINGS) if name not in ("start_from", "data_dir")]
    others = [name for name in names if getattr(run.config, name) != getattr(settings, name)]
    others += [] if all(same_split(run.config, settings, split) for split in SPLITS) else ["data"]
    others += ["from"] if settings.start_from and run.config.start_from != settings.start_from else []
    if others:
        differing = ", ".join(dict.fromkeys(name.replace("_", "-") for name in others))
        raise runs.RunError(f"{path} is another training, with other {differing}: choose another --out, or move it")
    return run
