"""Run trials on this machine: as many processes at a time as fit."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trs_explorer.catalogue import DATA
from trs_explorer.config import DEFAULTS
from trs_explorer.measure.sweep.child import Child
from trs_explorer.measure.sweep.state import FAILED, STARTING, TrialState, progress_of, read_outcome
from trs_explorer.memory import free_memory
from trs_explorer.sweep_plan import Trial

Report = Callable[[Trial, TrialState], object]  # called when a trial begins, goes on and ends
POLL_S = 0.2
PROGRESS_S = 1.0  # between two looks at a run's status, as often as a training writes it
BASE_BYTES = 1 << 30  # of a process with torch, a small network and its batches


@dataclass(frozen=True)
class Slots:
    """How many trials run at a time.

    - jobs: processes.
    - threads: of each.
    - gpus: the numbers of the GPUs, as CUDA_VISIBLE_DEVICES has them; one a process. Empty: they compute on the CPU.
    """

    jobs: int
    threads: int
    gpus: Sequence[str] = ()


class Stop:
    """Whether the sweep shall end: first after the children have saved, then at once. Set by a signal handler."""

    def __init__(self) -> None:
        """Nothing has asked for an end."""
        self.count = 0

    @property
    def requested(self) -> bool:
        """Whether it shall end."""
        return self.count > 0


def slots(trials: Sequence[Trial], jobs: int = 0, threads: int = 0, gpus: Sequence[str] = ()) -> Slots:
    """As many processes as fit: one a core, unless memory is less or trials are fewer; with GPUs one for each.

    One thread each makes the most of the cores where there are more trials than cores; else they share the cores.

    - jobs, threads: what the user has chosen; 0: nothing.
    - gpus: those of this machine that trainings may use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(1, min(len(trials), free_memory() // max((memory_need(one) for one in trials), default=1)))
    if not jobs:
        jobs = min(most, len(gpus)) if gpus else min(most, max(1, cores // (threads or 1)))
    jobs = max(1, min(jobs, len(trials)))
    return Slots(jobs, threads or max(1, cores // jobs), gpus)


def memory_need(trial: Trial) -> int:
    """A rough number of bytes that a trial needs: torch, and twice its images as 32-bit numbers (our choice)."""
    about = DATA.get(str(trial.values.get("data", DEFAULTS["data"])))
    if about is None or not about.sizes:
        return 2 * BASE_BYTES
    pixels = about.shape[0] * about.shape[1] * about.shape[2]
    return int(BASE_BYTES + 2 * 4 * pixels * sum(about.sizes))


def run_here(trials: Sequence[Trial], folder: Path, module: str, room: Slots, report: Report, stop: Stop) -> None:
    """Run trials, each as a child of this process. A trial that fails is reported, and the others go on.

    - folder: of the sweep.
    - module: what a child is started with, `python -m module FOLDER NAME`.
    - stop: when it is set, no trial is started, and those that run save and end; when it is set twice, they are killed.
    """
    waiting = list(trials)
    running: dict[int, tuple[Trial, Child, float]] = {}  # by place, which decides the GPU
    try:
        while running or (waiting and not stop.requested):
            for place in range(room.jobs):
                if place not in running and waiting and not stop.requested:
                    trial = waiting.pop(0)
                    child = _start(trial, folder, module, room, place, report)
                    if child is not None:
                        running[place] = trial, child, 0.0
            for place, (trial, child, looked) in list(running.items()):
                status = child.poll()
                if status is not None:
                    del running[place]
                    child.stop()
                    report(trial, read_outcome(folder, trial.name, status))
                elif time.monotonic() - looked > PROGRESS_S:
                    running[place] = trial, child, time.monotonic()
                    if (state := progress_of(folder, trial)).state != STARTING:  # which it has been reported to be
                        report(trial, state)
                if stop.requested:
                    child.stop() if stop.count == 1 else child.kill()
            if running:
                time.sleep(POLL_S)
    finally:
        for _, child, _ in running.values():
            child.stop()


def _start(trial: Trial, folder: Path, module: str, room: Slots, place: int, report: Report) -> Child | None:
    environment = {"CUDA_VISIBLE_DEVICES": room.gpus[place % len(room.gpus)]} if room.gpus else {}
    try:
        child = Child(module, folder, trial.name, threads=room.threads, environment=environment)
    except OSError as error:
        report(trial, TrialState(FAILED, error=f"cannot start a process: {error.strerror or error}"))
        return None
    report(trial, progress_of(folder, trial))
    return child
