"""The training loop: a generator of events, for every defence that returns named loss terms of a batch."""

import threading
import time
from collections.abc import Iterator

import torch

from trs_explorer import plugins, runs
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.probe import probe
from trs_explorer.files import cannot_write
from trs_explorer.options import UsageError
from trs_explorer.parse_events import PROBE
from trs_explorer.training import checkpoints, compilation, control, memory_estimate
from trs_explorer.training.control import Inbox
from trs_explorer.training.parallel import one_thread_each, own_parts
from trs_explorer.training.processes import ALONE, Processes, ProcessLost
from trs_explorer.training.resume import restore
from trs_explorer.training.state import Progress, State, TrainingError, load_start_weights, prepare, share, share_weights
from trs_explorer.training.step_logger import StepLogger
from trs_explorer.training.steps import epoch_orders, training_step

HEARTBEAT_S = 1.0


def train(
    run: runs.Run, *, resume: bool = False, stop: threading.Event | None = None, processes: Processes = ALONE
) -> Iterator[dict]:
    """Train a run's ensemble. Writes and yields every event; the last one is "stopped".

    run: its config says what is trained.
    resume: continue from the newest checkpoint.
    stop: set it to save a checkpoint and end after the present step.
    processes: that share the training. All of them must call this; the first one alone writes and yields events.

    Random numbers depend only on (seed, epoch) or (seed, step), so a resumed training is bit-identical to an uninterrupted one.
    Raises: RunError if another trainer has the folder or it cannot be written, UsageError for a missing device or data set,
    TrainingError for a loss that is not finite. status.json and the log record the error too. In the other processes: ProcessLost
    if one has ended.
    """
    if not processes.leads:
        for _ in _train(run, _NoLog(), resume, Inbox(None, stop, processes)):
            pass
        return
    lock = runs.trainer_lock(run)
    writer = None
    try:
        runs.clear_temporaries(run)
        writer = runs.EventWriter(run)
        yield from _train(run, writer, resume, Inbox(runs.ControlReader(run), stop, processes))
    except ProcessLost as lost:  # before the first step
        message = processes.why_lost(lost)
        _record_failure(run, writer, message)
        raise runs.RunError(message) from lost
    except (TrainingError, runs.RunError, UsageError) as error:
        _record_failure(run, writer, str(error))
        raise
    except OSError as error:
        message = cannot_write(run.path, error, f"continue with --resume {run.path}")
        _record_failure(run, writer, message)
        raise runs.RunError(message) from error
    except KeyboardInterrupt:
        _record_failure(run, writer, "interrupted before it could save")
        raise
    except Exception as error:  # out of memory, an error of a data set: whatever it is, record it in the run's folder
        _record_failure(run, writer, plugins.where(error) or f"{type(error).__name__}: {error}")
        raise
    finally:
        try:
            if writer is not None:
                writer.close()
        finally:
            lock.release()


class _NoLog:
    """The log of a process that writes none."""

    def write(self, kind: str, **fields: object) -> dict:
        """Write nothing."""
        return {"kind": kind, **fields}


def _train(run: runs.Run, writer: runs.EventWriter | _NoLog, resume: bool, inbox: Inbox) -> Iterator[dict]:
    processes = inbox.processes
    state = prepare(run, processes)
    notes: list[str] = []
    unlogged = None
    processes.prepare(state.device)
    if processes.leads:
        notes, unlogged = restore(state) if resume else (load_start_weights(state), None)
    share(state)
    step_logger, heartbeat = StepLogger(writer), _Heartbeat(state)
    yield writer.write("start", **_start_fields(state, resumed=resume))
    too_large = memory_estimate.warnings(run.config, state.device, len(state.images))
    compiling = [compilation.NOTE] if run.config.compile else []
    for text in [*notes, *_about_processes(state), *too_large, *compiling]:
        yield writer.write("note", step=state.progress.step, text=text)
    if unlogged:  # the training was killed after writing the files and before writing the event
        yield writer.write("checkpoint", step=state.progress.step, epoch=state.progress.epoch, **unlogged)
    if processes.leads:
        checkpoints.prune(run, run.config.save_every)
    heartbeat("running", now=True)
    try:
        with one_thread_each(len(own_parts(state.parts, processes))):
            yield from _epochs(state, step_logger, inbox, heartbeat)
    except ProcessLost as lost:
        if not processes.leads:
            raise
        yield from _save_after_loss(lost, state, step_logger)


def _epochs(state: State, step_logger: StepLogger, inbox: Inbox, heartbeat: "_Heartbeat") -> Iterator[dict]:
    """Train to the end, or until a signal or a viewer stops the training."""
    config = state.run.config
    while state.progress.epoch < config.epochs:
        if state.member is not None and state.weights_member != state.member:
            state.update_weights(state.member, training=True)
        share_weights(state)
        orders, started = epoch_orders(state), time.perf_counter()
        while state.progress.step_in_epoch < state.steps_per_epoch:
            first = state.progress.step_in_epoch * state.batch_size
            inbox.set_flags()
            step_logger.add(state.progress.step + 1, training_step(state, orders[:, first : first + state.batch_size]))
            for text in state.smaller_parts.take_notes():
                yield step_logger.writer.write("note", step=state.progress.step, text=text)
            if state.progress.step % config.log_every == 0:
                yield step_logger.write_step(state)
            yield from _handle_requests(state, step_logger, inbox, heartbeat)
            if inbox.stops:
                yield from _end("stopped", state, step_logger, heartbeat)
                return
        trained, state.progress = state.member, Progress(state.progress.epoch + 1, 0, state.progress.step)
        yield from _finish_member(state, step_logger, trained)
        yield from _finish_epoch(state, step_logger, time.perf_counter() - started)
    yield from _end("finished", state, step_logger, heartbeat)


def _about_processes(state: State) -> list[str]:
    """What the user should know of how the processes share the work."""
    size = state.processes.size
    if size == 1:
        return []
    if state.parts < min(size, state.batch_size):
        why = f"{state.run.config.method} needs" if state.run.config.about_method.whole_batch else "batch norm needs"
        return [f"{why} the whole batch: each of the {size} processes computes it, which is no faster than one"]
    return [f"{size} processes share each batch, in {state.parts} parts"]


def _save_after_loss(lost: ProcessLost, state: State, step_logger: StepLogger) -> Iterator[dict]:
    """After another process is lost, save the state before the step that failed, and raise RunError."""
    why, remedy = state.processes.why_lost(lost), f"go on with --resume {state.run.path}"
    if state.processes.on_gpus:
        last = state.run.checkpoints()[-1:]
        raise runs.RunError(f"{why}. {f'The last checkpoint is {last[0].name}' if last else 'Nothing was saved'}: {remedy}")
    if state.progress.step == 0:
        raise runs.RunError(f"{why}, before the first step: {remedy}")
    yield from _save(state, step_logger)
    raise runs.RunError(f"{why}. Everything up to step {state.progress.step} is saved: {remedy}")


def _finish_member(state: State, step_logger: StepLogger, trained: int | None) -> Iterator[dict]:
    """If members are trained one after another and one is finished: compute its vote weight and write it in a note."""
    if trained is not None and (state.progress.epoch == state.run.config.epochs or state.member != trained):
        state.update_weights(trained + 1, training=False)
        vote = float(state.ensemble.vote_weights[trained])
        text = f"member {trained + 1} of {len(state.ensemble)} is trained, weight {vote:.4g}"
        yield step_logger.writer.write(
            "note", step=state.progress.step, text=text + (": no better than chance" if not vote else "")
        )


def _start_fields(state: State, *, resumed: bool) -> dict:
    return {
        "step": state.progress.step,
        "steps": state.steps,
        "epoch": state.progress.epoch,
        "epochs": state.run.config.epochs,
        "steps_per_epoch": state.steps_per_epoch,
        "device": str(state.device),
        "threads": torch.get_num_threads(),
        "parts": state.parts,
        "processes": state.processes.size,
        "bfloat16": state.bfloat16,
        "resumed": resumed,
        "parameters": sum(parameter.numel() for parameter in state.ensemble.parameters()),
        "options": state.options,
    }


def _handle_requests(state: State, step_logger: StepLogger, inbox: Inbox, heartbeat: "_Heartbeat") -> Iterator[dict]:
    """Carry out the requests since the last step and echo each in the log; while paused, wait here."""
    paused = False
    while True:
        for request in inbox.receive():
            echo = control.apply(state, request)
            action = None if "error" in echo else echo["action"]
            if action in ("pause", "resume"):
                paused = action == "pause"
                heartbeat("paused" if paused else "running", now=True)
            elif action == "save":
                yield from _save(state, step_logger)
            elif action == "stop":
                inbox.stop_all()
            yield step_logger.writer.write("control", step=state.progress.step, **echo)
        heartbeat("paused" if paused else "running")
        if not paused or inbox.stops:
            return
        time.sleep(0.1)  # not stop.wait: its lock could deadlock with stop.set() in a signal handler
        inbox.exchange_flags()
        step_logger.restart_clock()


def _save(state: State, step_logger: StepLogger) -> Iterator[dict]:
    """Save a checkpoint, unless this step is saved already, and write its event."""
    if state.saved_at != state.progress and state.processes.leads:
        step_logger.check_finite(state.run)
        fields = state.save()
        yield step_logger.writer.write("checkpoint", step=state.progress.step, epoch=state.progress.epoch, **fields)
        checkpoints.prune(state.run, state.run.config.save_every)


def _finish_epoch(state: State, step_logger: StepLogger, seconds: float) -> Iterator[dict]:
    """Write the epoch's event and, where they are due, a probe and a checkpoint."""
    position = {"step": state.progress.step, "epoch": state.progress.epoch}
    config = state.run.config
    last = state.progress.epoch == config.epochs
    if (last or state.progress.epoch % config.probe_every == 0) and state.processes.leads:
        eps = DATA[config.data].probe_eps
        result = probe(state.ensemble, state.probe_x, state.probe_y, eps=eps, seed=config.seed)
        yield step_logger.writer.write(PROBE, **position, **result)
    yield step_logger.writer.write("epoch", **position, seconds=round(seconds, 3))
    if last or state.progress.epoch % config.save_every == 0:
        yield from _save(state, step_logger)
    step_logger.restart_clock()


def _end(reason: str, state: State, step_logger: StepLogger, heartbeat: "_Heartbeat") -> Iterator[dict]:
    yield from _save(state, step_logger)
    yield step_logger.writer.write("stopped", state=reason, step=state.progress.step, epoch=state.progress.epoch)
    heartbeat(reason, now=True)


class _Heartbeat:
    """Updates status.json as a sign of life, at most once per second."""

    def __init__(self, state: State) -> None:
        self.state, self.last = state, 0.0

    def __call__(self, name: str, *, now: bool = False) -> None:
        if self.state.processes.leads and (now or time.monotonic() - self.last > HEARTBEAT_S):
            self.last = time.monotonic()
            state, progress = self.state, self.state.progress
            epochs = state.run.config.epochs
            state.run.write_status(state=name, step=progress.step, steps=state.steps, epoch=progress.epoch, epochs=epochs)


def _record_failure(run: runs.Run, writer: runs.EventWriter | None, message: str) -> None:
    """Record in the status and the log why the training failed, if the disk still permits it."""
    try:
        run.write_status(state="failed", error=message)
        if writer is not None:
            writer.write("stopped", state="failed", error=message)
    except OSError:
        pass
