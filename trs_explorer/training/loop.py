"""The one training loop: a generator of events, for every method that gives named loss terms for a batch."""

import threading
import time
from collections.abc import Iterator

import torch

from trs_explorer import runs
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.probe import probe
from trs_explorer.files import cannot_write
from trs_explorer.options import UsageError
from trs_explorer.training import checkpoints, control
from trs_explorer.training.parallel import one_thread_each
from trs_explorer.training.resume import restore
from trs_explorer.training.state import Progress, State, TrainingError, begin, prepare
from trs_explorer.training.step_logger import StepLogger
from trs_explorer.training.steps import epoch_orders, training_step

HEARTBEAT_S = 1.0


def train(run: runs.Run, *, resume: bool = False, stop: threading.Event | None = None) -> Iterator[dict]:
    """Train run's ensemble, writing and yielding every event; closes with a "stopped" event.

    Every random draw follows from (seed, epoch) or (seed, step) alone, so a resumed run continues exactly as one that was
    never interrupted. stop: set it to save and end after the present step.
    Raises: RunError if the folder is taken or cannot be written, UsageError for a device or data set that is not here,
    TrainingError for a loss that is not finite. status.json and the log then say so too.
    """
    lock = runs.trainer_lock(run)
    writer = None
    try:
        runs.clear_temporaries(run)
        writer = runs.EventWriter(run)
        yield from _train(run, writer, resume, stop or threading.Event())
    except (TrainingError, runs.RunError, UsageError) as error:
        _last_words(run, writer, str(error))
        raise
    except OSError as error:
        message = cannot_write(run.path, error, f"continue with --resume {run.path}")
        _last_words(run, writer, message)
        raise runs.RunError(message) from error
    except KeyboardInterrupt:
        _last_words(run, writer, "interrupted before it could save")
        raise
    except Exception as error:  # out of memory, a data set's own error: whatever it is, the run's folder says it
        _last_words(run, writer, f"{type(error).__name__}: {error}")
        raise
    finally:
        try:
            if writer is not None:
                writer.close()
        finally:
            lock.release()


def _train(run: runs.Run, writer: runs.EventWriter, resume: bool, stop: threading.Event) -> Iterator[dict]:
    state = prepare(run)
    notes, unnamed = restore(state) if resume else (begin(state), None)
    step_logger, asked, beat = StepLogger(writer), runs.ControlReader(run), _Heartbeat(state)
    yield writer.write("start", **_start_fields(state, resumed=resume))
    for text in notes:
        yield writer.write("note", step=state.at.step, text=text)
    if unnamed:  # killed when its files were whole and its event was not written
        yield writer.write("checkpoint", step=state.at.step, epoch=state.at.epoch, **unnamed)
    checkpoints.prune(run, run.config.save_every)
    beat("running", now=True)
    with one_thread_each(state.parts):
        while state.at.epoch < run.config.epochs:
            if state.member is not None and state.weighed != state.member:
                state.weigh(state.member, training=True)
            orders, started = epoch_orders(state), time.perf_counter()
            while state.at.step_in_epoch < state.steps_per_epoch:
                first = state.at.step_in_epoch * state.batch_size
                step_logger.add(state.at.step + 1, training_step(state, orders[:, first : first + state.batch_size]))
                if state.at.step % run.config.log_every == 0:
                    yield step_logger.write_step(state)
                yield from _obey(state, step_logger, asked, beat, stop)
                if stop.is_set():
                    yield from _end("stopped", state, step_logger, beat)
                    return
            trained, state.at = state.member, Progress(state.at.epoch + 1, 0, state.at.step)
            yield from _member_ends(state, step_logger, trained)
            yield from _close_epoch(state, step_logger, time.perf_counter() - started)
        yield from _end("finished", state, step_logger, beat)


def _member_ends(state: State, step_logger: StepLogger, trained: int | None) -> Iterator[dict]:
    """Where members are trained one after another and one's last epoch is over: its weight in the vote, said in a note."""
    if trained is not None and (state.at.epoch == state.run.config.epochs or state.member != trained):
        state.weigh(trained + 1, training=False)
        vote = float(state.ensemble.vote_weights[trained])
        text = f"member {trained + 1} of {len(state.ensemble)} is trained, weight {vote:.4g}"
        yield step_logger.writer.write("note", step=state.at.step, text=text + (": no better than chance" if not vote else ""))


def _start_fields(state: State, *, resumed: bool) -> dict:
    return {
        "step": state.at.step,
        "steps": state.steps,
        "epoch": state.at.epoch,
        "epochs": state.run.config.epochs,
        "steps_per_epoch": state.steps_per_epoch,
        "device": str(state.device),
        "threads": torch.get_num_threads(),
        "parts": state.parts,
        "bfloat16": state.bfloat16,
        "resumed": resumed,
        "parameters": sum(parameter.numel() for parameter in state.ensemble.parameters()),
        "options": state.options,
    }


def _obey(
    state: State, step_logger: StepLogger, asked: runs.ControlReader, beat: "_Heartbeat", stop: threading.Event
) -> Iterator[dict]:
    """Carry out what viewers have asked since the last step, echoing each; while paused, wait here."""
    paused = False
    while True:
        for line in asked.poll():
            echo = control.apply(state, line)
            action = None if "error" in echo else echo["action"]
            if action in ("pause", "resume"):
                paused = action == "pause"
                beat("paused" if paused else "running", now=True)
            elif action == "save":
                yield from _save(state, step_logger)
            elif action == "stop":
                stop.set()
            yield step_logger.writer.write("control", step=state.at.step, **echo)
        beat("paused" if paused else "running")
        if not paused or stop.is_set():
            return
        time.sleep(0.1)  # not stop.wait: its lock and a signal handler's stop.set() could meet
        step_logger.restart_clock()


def _save(state: State, step_logger: StepLogger) -> Iterator[dict]:
    """Save this moment, unless that is done, and name it in the log."""
    if state.saved != state.at:
        step_logger.check_finite(state.run)
        named = state.save()
        yield step_logger.writer.write("checkpoint", step=state.at.step, epoch=state.at.epoch, **named)
        checkpoints.prune(state.run, state.run.config.save_every)


def _close_epoch(state: State, step_logger: StepLogger, seconds: float) -> Iterator[dict]:
    """The epoch's event and, where they are due, its probe and checkpoint."""
    moment = {"step": state.at.step, "epoch": state.at.epoch}
    config = state.run.config
    last = state.at.epoch == config.epochs
    if last or state.at.epoch % config.probe_every == 0:
        eps = DATA[config.data].probe_eps
        result = probe(state.ensemble, state.probe_x, state.probe_y, eps=eps, seed=config.seed)
        yield step_logger.writer.write("matrix", **moment, **result)
    yield step_logger.writer.write("epoch", **moment, seconds=round(seconds, 3))
    if last or state.at.epoch % config.save_every == 0:
        yield from _save(state, step_logger)
    step_logger.restart_clock()


def _end(how: str, state: State, step_logger: StepLogger, beat: "_Heartbeat") -> Iterator[dict]:
    yield from _save(state, step_logger)
    yield step_logger.writer.write("stopped", state=how, step=state.at.step, epoch=state.at.epoch)
    beat(how, now=True)


class _Heartbeat:
    """A sign of life in status.json, at most once a second."""

    def __init__(self, state: State) -> None:
        self.state, self.last = state, 0.0

    def __call__(self, word: str, *, now: bool = False) -> None:
        if now or time.monotonic() - self.last > HEARTBEAT_S:
            self.last = time.monotonic()
            at, state = self.state.at, self.state
            state.run.write_status(state=word, step=at.step, steps=state.steps, epoch=at.epoch, epochs=state.run.config.epochs)


def _last_words(run: runs.Run, writer: runs.EventWriter | None, message: str) -> None:
    """Say in the status and the log why it failed, as far as the disk still takes it."""
    try:
        run.write_status(state="failed", error=message)
        if writer is not None:
            writer.write("stopped", state="failed", error=message)
    except OSError:
        pass
