"""`trs bench step --processes N`: time a training step in N processes against the same step in the threads of one."""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.training.parallel import one_thread_each, own_parts
from trs_explorer.training.processes import ALONE, Processes
from trs_explorer.training.state import State, prepare
from trs_explorer.training.steps import training_step

STEPS = 3  # of each variant and round: one alone would begin with cold caches
TIMEOUT = timedelta(minutes=5)


def bench_processes(model: str, rounds: int, processes: int) -> list[dict]:
    """One row for the threads of one process and one for the processes: median milliseconds of a default TRS step on MNIST.

    With the ratio to the threads and what a step exchanges: bytes of one process, and the milliseconds that the exchange takes.
    These are of the process that is the last to begin it: the others wait for it in there.
    Both variants use as many cores, batches of 128, and take turns.
    """
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        run = runs.create(Path(folder) / "run", resolve({"model": model, "device": "cpu"}))
        state = prepare(run)
        with _started(run, processes, max(1, threads // processes), Path(folder) / "store") as connections:
            alone: list[float] = []
            shared: list[tuple[float, float, int]] = []
            for turn in range(rounds + 1):
                spent = _timed(state)[0]
                for connection in connections:
                    connection.send(True)
                each = [connection.recv() for connection in connections]
                if turn:
                    alone.append(spent)
                    shared.append((max(one[0] for one in each), min(one[1] for one in each), each[0][2]))
    before, after, exchange = (1000 * statistics.median(times) for times in (alone, *list(zip(*shared, strict=True))[:2]))
    return [
        _row(f"1 process, {state.parts} threads", before, 1.0, 0, 0.0),
        _row(f"{processes} processes", after, before / after, shared[0][2], exchange),
    ]


def _row(variant: str, ms: float, ratio: float, exchanged: int, exchange_ms: float) -> dict:
    return {"variant": variant, "ms": ms, "ratio": ratio, "bytes exchanged": exchanged, "exchange ms": exchange_ms}


def _timed(state: State) -> tuple[float, float, int]:
    """Seconds of a step, seconds of the exchange in it, and its bytes."""
    processes, order = state.processes, torch.arange(state.batch_size)[None]
    seconds, sent = processes.seconds, processes.bytes
    with one_thread_each(len(own_parts(state.parts, processes))):
        started = time.perf_counter()
        for _ in range(STEPS):
            training_step(state, order)
        spent = time.perf_counter() - started
    return spent / STEPS, (processes.seconds - seconds) / STEPS, (processes.bytes - sent) // STEPS


@contextmanager
def _started(run: runs.Run, size: int, threads: int, store: Path) -> Iterator[list[Connection]]:
    """Processes that take steps of a run together whenever each gets a message."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        connections = []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(run.path, rank, size, threads, store, theirs), daemon=True)
            process.start()
            stack.callback(process.join, 10)
            theirs.close()
            connections.append(stack.enter_context(ours))
        yield connections
        for connection in connections:
            connection.send(False)


def _worker(path: Path, rank: int, size: int, threads: int, store: Path, connection: Connection) -> None:
    torch.set_num_threads(threads)
    shared = dist.FileStore(str(store), size)
    dist.init_process_group("gloo", store=shared, rank=rank, world_size=size, timeout=TIMEOUT)
    processes = Processes(rank, size, shared) if size > 1 else ALONE
    state = prepare(runs.open_run(path), processes)
    processes.prepare(state.device)
    while connection.recv():
        connection.send(_timed(state))
    dist.destroy_process_group()
