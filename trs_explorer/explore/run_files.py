"""Checkpoints of a run by name, and the largest size of a run's files that the explorer reads."""

import os
from pathlib import Path

from trs_explorer.results import is_table_alone, why_unsaved
from trs_explorer.runs import Checkpoint, Run, RunError

MAX_LOG, MAX_WEIGHTS = 1 << 28, 1 << 32  # bytes of a log and of a checkpoint's weights: real ones have a tenth


def choose(run: Run, name: str) -> Checkpoint:
    """Return a run's checkpoint of that name, the newest if there is none. Raises RunError if the run has no such checkpoint."""
    checkpoints = run.checkpoints()
    if not checkpoints:
        if is_table_alone(run):
            raise RunError(why_unsaved(run))
        raise RunError(f"{run.name} has no checkpoint yet: nothing has been saved. Wait for the training's first one")
    if not name:
        return checkpoints[-1]
    chosen = next((checkpoint for checkpoint in checkpoints if checkpoint.name == name), None)
    if chosen is None:
        names = ", ".join(checkpoint.name for checkpoint in checkpoints[-8:])
        raise RunError(f"{run.name} has no checkpoint {name[:80]!r} (any more): choose another, such as {names}")
    return chosen


def check_size(path: Path, most: int) -> os.stat_result | None:
    """Return the status of a file; None if it is gone. Raises RunError if it is larger than `most` bytes."""
    try:
        file = path.stat()
    except FileNotFoundError:
        return None
    if file.st_size > most:
        raise RunError(f"{path} is larger than {most >> 20:,} MiB: too large for a run's file")
    return file
