"""What `trs sweep` prints of its plan, with estimated times, and of its results."""

import heapq
from collections.abc import Mapping, Sequence
from datetime import timedelta

from trs_explorer.cli.blocks import Column, print_table
from trs_explorer.files import printable
from trs_explorer.measure.sweep.figures import Rate, SweepRow
from trs_explorer.sweep_plan import Sweep, Trial, value_text


def show_plan(trials: Sequence[Trial], seconds: Mapping[str, float], steps: Mapping[str, tuple[int, int, float]]) -> None:
    """Print the trials that are left, with the settings that vary and the estimated time of each.

    - seconds: by trial.
    - steps: by trial, its epochs, its optimiser steps, and the seconds that one takes.
    """
    from rich.console import Console

    keys = list(dict.fromkeys(key for trial in trials for key in trial.varying))
    columns = [Column(key, [_value(trial.varying, key) for trial in trials]) for key in keys]
    columns.append(Column("seed", [str(trial.seed) for trial in trials]))
    columns.append(Column("epochs", [str(steps[trial.name][0]) for trial in trials]))
    columns.append(Column("steps", [f"{steps[trial.name][1]:,}" for trial in trials]))
    columns.append(Column("ms a step", [f"{1000 * steps[trial.name][2]:.3g}" for trial in trials]))
    columns.append(Column("estimate", [clock(seconds[trial.name]) for trial in trials]))
    print_table(Console(highlight=False), [Column("trial", [trial.name for trial in trials], "left")], columns, box=None)


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """The time until all of these are done, if `jobs` run at a time and each free place takes the next one."""
    ends = [0.0] * max(1, jobs)
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def clock(seconds: float) -> str:
    """A duration as text: 0:01:30."""
    return str(timedelta(seconds=round(seconds)))


def show_results(sweep: Sweep, rows: Sequence[SweepRow]) -> None:
    """Print a row for each setting with what was measured: rate, 95 % interval and n."""
    from rich.console import Console

    labels = list(dict.fromkeys(label for row in rows for label in row.rates))
    if not labels:
        return
    console = Console(highlight=False)
    seeds = max(rate.seeds for row in rows for rate in row.rates.values())
    over = "of several seeds: mean, 95 % t interval between trainings; of one: 95 % interval over images"
    console.print(
        f"In % ({over if seeds > 1 else '95 % interval over images'}; n = images, of transfer pairs of members and images)."
    )
    keys = list(dict.fromkeys(key for row in rows for key in row.varying))
    first = [Column(key, [_value(row.varying, key) for row in rows], "left") for key in keys]
    if not keys:
        first = [Column("trial", [row.name for row in rows], "left")]
    if seeds > 1:
        first.append(Column("seeds", [str(len(row.trials)) for row in rows]))
    columns = [Column(printable(label), [_cell(row.rates.get(label), len(row.trials)) for row in rows]) for label in labels]
    print_table(console, first, columns, box=None, padding=(0, 1))


def _cell(rate: Rate | None, trials: int) -> str:
    if rate is None:
        return "missing"
    few = f", {rate.seeds} seeds" if rate.seeds < trials else ""
    return f"{rate.percent:.1f} ({rate.low:.1f}-{rate.high:.1f})\nn {rate.n:,}{few}"


def _value(varying: Mapping[str, object], key: str) -> str:
    return printable(value_text(varying[key])) if key in varying else ""
