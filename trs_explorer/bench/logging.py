"""`trs bench logging`: what events, requests and status updates cost a training."""

import tempfile
from pathlib import Path

import torch

from trs_explorer import runs
from trs_explorer.bench.timing import interleaved
from trs_explorer.config import resolve
from trs_explorer.training.parallel import one_thread_each
from trs_explorer.training.state import prepare
from trs_explorer.training.step_logger import StepLogger
from trs_explorer.training.steps import training_step


def bench_logging(model: str, rounds: int) -> list[dict]:
    """One row per part of the work: median milliseconds per step, and its share of a step's time.

    A default TRS step on MNIST; an event every `log_every` steps, a check for requests at every step, a status update at most
    once per second.
    """
    config = resolve({"model": model})
    with tempfile.TemporaryDirectory() as folder:
        run = runs.create(Path(folder) / "run", config)
        state, writer = prepare(run), runs.EventWriter(run)
        step_logger, requests = StepLogger(writer), runs.ControlReader(run)
        order = torch.arange(state.batch_size)
        terms = training_step(state, order)

        def log() -> None:
            step_logger.add(state.progress.step, terms)
            step_logger.write_step(state)

        variants = {
            "step": lambda: training_step(state, order),
            "event": log,
            "requests": requests.poll,
            "status": lambda: run.write_status(state="running", step=state.progress.step),
        }
        with one_thread_each(state.parts):
            times = interleaved(variants, rounds)
        writer.close()
    per_step = {
        "step": times["step"],
        "event": times["event"] / config.log_every,
        "requests": times["requests"],
        "status": times["status"] * times["step"],
    }
    return [{"part": name, "ms": 1000 * t, "share": t / sum(per_step.values())} for name, t in per_step.items()]
