"""How long a training would take on this machine, from a few of its steps. No run folder is left."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from trs_explorer import runs
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.probe import probe
from trs_explorer.shipped import python_m
from trs_explorer.training import state as training_state
from trs_explorer.training.new_run import prepare
from trs_explorer.training.parallel import one_thread_each
from trs_explorer.training.steps import epoch_orders, training_step

WARM_UP, STEPS, SECONDS = 3, 15, 10.0  # steps before those that count; at most so many, unless they take longer


@dataclass(frozen=True)
class TrialTime:
    """What a training consists of, and how many seconds each part takes.

    - start_s: until its first step: the interpreter, torch, the data.
    - epochs: of the training.
    - steps, step_s: number and time of its optimiser steps.
    - probes, probe_s, saves, save_s: the same of probes of held-out images and of checkpoints.
    """

    start_s: float
    epochs: int
    steps: int
    step_s: float
    probes: int
    probe_s: float
    saves: int
    save_s: float

    @property
    def seconds(self) -> float:
        """The time of the whole training."""
        return self.start_s + self.steps * self.step_s + self.probes * self.probe_s + self.saves * self.save_s


def time_training(values: Mapping[str, Any], *, threads: int, start_s: float) -> TrialTime:
    """Time a few steps of a training after a warm-up, a probe and a save, with so many threads.

    start_s: as `time_start` measured it; reading the data comes on top.
    The steps are those at the beginning: a method that does more later (delta that grows does not) is underestimated.
    Raises: UsageError for settings that no training can have.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory(prefix="trs-time-") as folder:
            began = time.perf_counter()
            run = runs.create(Path(folder) / "run", prepare(values))
            state = training_state.prepare(run)
            start_s += time.perf_counter() - began
            if state.member is not None:
                state.update_weights(0, training=True)
            orders = epoch_orders(state)
            with one_thread_each(state.parts):
                step_s = _step_time(state, orders)
            config, eps = run.config, DATA[run.config.data].probe_eps
            probe_s = _timed(lambda: probe(state.ensemble, state.probe_x, state.probe_y, eps=eps, seed=0), state.device)
            save_s = _timed(state.save, state.device)
            probes, saves = (-(-config.epochs // every) for every in (config.probe_every, config.save_every))
            return TrialTime(start_s, config.epochs, state.steps, step_s, probes, probe_s, saves, save_s)
    finally:
        torch.set_num_threads(before)


def time_start() -> float:
    """Seconds until a new process has loaded what a training needs."""
    began = time.perf_counter()
    python = python_m("")[:-2]
    subprocess.run([*python, "-c", "import trs_explorer.training"], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def _step_time(state: training_state.State, orders: torch.Tensor) -> float:
    """The median time of a step."""
    times: list[float] = []
    began = time.perf_counter()
    per_epoch = state.steps_per_epoch
    while len(times) < WARM_UP + STEPS and (len(times) <= WARM_UP or time.perf_counter() - began < SECONDS):
        first = len(times) % per_epoch * state.batch_size
        batch = orders[:, first : first + state.batch_size]
        times.append(_timed(lambda batch=batch: training_step(state, batch), state.device))
        state.progress = training_state.Progress()  # a short training must not run past its end
    return median(times[WARM_UP:])


def _timed(function: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
