"""The estimated times of a sweep's trainings: a few steps are measured for each kind of training that differs in its cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trs_explorer import lookup, runs
from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.sweep_report import clock, makespan, show_plan
from trs_explorer.config import TrainConfig, resolve
from trs_explorer.runs import RunError
from trs_explorer.sweep_plan import Sweep, Trial

if TYPE_CHECKING:
    from trs_explorer.bench.trial_time import TrialTime
    from trs_explorer.measure.sweep.local import Slots

# The settings that decide how long a step takes. Of a method's numbers only whether they are 0: then a term is left out.
COSTS = (
    "method", "data", "data_dir", "model", "members", "batch_size", "optimizer", "augment", "device", "precision", "compile",
    "adversarial", "adv_steps", "limit"
)  # fmt: skip
ALIKE = ("data", "model", "members", "seed", "device", "precision", "limit", "data_dir")  # of a training and its start


def show_estimate(described: Sweep, left: Sequence[Trial], room: "Slots", *, json_lines: bool) -> None:
    """Print the trials that are left, with estimated times, if they run as many at a time as there is room for."""
    times, starts = estimate(left, room.threads)
    seconds = {name: one.seconds for name, one in times.items()}
    total = makespan([*starts.values(), *seconds.values()], room.jobs)
    if json_lines:
        for one in left:
            about = {"kind": "plan", "name": one.name, "values": one.values, "steps": times[one.name].steps}
            print(json.dumps({**about, "seconds": round(seconds[one.name], 1)}))
        print(json.dumps({"kind": "total", "seconds": round(total, 1), "jobs": room.jobs, "threads": room.threads}))
        return
    steps = {one.name: (times[one.name].epochs, times[one.name].steps, times[one.name].step_s) for one in left}
    show_plan(left, seconds, steps)
    for name, needed in starts.items():
        print(f"once before: {name}, {clock(needed)}")
    measured = ", ".join(one.what for one in described.measures)
    without = f"; without the time of {measured}" if measured else ""
    many = f"{len(left)} training{'s' * (len(left) > 1)}, {room.jobs} at a time, --threads {room.threads} each"
    print(f"estimate: {clock(total)} for {many}{without}")


def estimate(trials: Sequence[Trial], threads: int) -> tuple[dict[str, "TrialTime"], dict[str, float]]:
    """The times of trials by name; and by name, the seconds of the trained ensembles that some start from, once each."""
    with exit_on_interrupt():
        from trs_explorer.bench.trial_time import time_start, time_training
    start_s = time_start()
    measured: dict[str, TrialTime] = {}

    def timed(values: Mapping[str, Any]) -> "TrialTime":
        config = None if lookup.is_custom_data(str(values.get("data", ""))) else resolve(values)
        key = json.dumps(dict(values) if config is None else _cost(config), sort_keys=True, default=str)
        if key not in measured:
            measured[key] = time_training(values, threads=threads, start_s=start_s)
        one = measured[key]
        if config is None:
            return one
        per_epoch = one.steps // one.epochs
        probes, saves = (-(-config.epochs // every) for every in (config.probe_every, config.save_every))
        return replace(one, epochs=config.epochs, steps=per_epoch * config.epochs, probes=probes, saves=saves)

    times, starts = {}, {}
    for trial in trials:
        times[trial.name] = timed(trial.values)
        if lookup.is_custom_data(str(trial.values.get("data", ""))):
            continue
        config = resolve(trial.values)
        name = runs.start_name(config)
        if config.about_method.trained_start and not config.start_from and name not in starts and not _is_trained(name):
            starts[name] = timed({"method": "standard", **{key: getattr(config, key) for key in ALIKE}}).seconds
    return times, starts


def _is_trained(name: str) -> bool:
    try:
        return runs.open_run(Path("checkpoints") / name).status().get("state") == "finished"
    except RunError:
        return False


def _cost(config: TrainConfig) -> dict[str, object]:
    options = {name: bool(value) if isinstance(value, float) else value for name, value in config.options.items()}
    return {**{name: getattr(config, name) for name in COSTS}, "options": options}
