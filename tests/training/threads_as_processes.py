"""Threads that stand for the processes of a training: what they exchange, without gloo, so that many cases take seconds."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from trs_explorer.training.processes import Processes, ProcessLost


class Exchange:
    """What all threads have put in, and a barrier before and after it is read."""

    def __init__(self, size: int) -> None:
        self.barrier, self.values = threading.Barrier(size, timeout=60), [None] * size


class ThreadProcesses(Processes):
    def __init__(self, rank: int, exchange: Exchange) -> None:
        super().__init__(rank, len(exchange.values))
        self.exchange, self.sent = exchange, 0

    def _everywhere(self, value: object) -> list:
        try:
            self.exchange.values[self.rank] = value
            self.exchange.barrier.wait()
            values = list(self.exchange.values)
            self.exchange.barrier.wait()
        except threading.BrokenBarrierError as error:
            raise ProcessLost("a thread has failed") from error
        return values

    def _all_reduce(self, values: Tensor, group: object = None) -> None:
        total = sum(self._everywhere(values.clone())[1:], self._everywhere(values.clone())[0])
        values.copy_(total)
        self.sent += 1

    def broadcast(self, value: object = None) -> object:
        return pickle.loads(self._everywhere(pickle.dumps(value))[0])

    def prepare(self, device: object) -> None:
        pass


def in_threads(size: int, work: Callable[[Processes], object]) -> list:
    """What work(processes) returns in each of `size` threads, by rank. The error of one breaks the others' barrier."""
    exchange = Exchange(size)

    def guarded(rank: int) -> object:
        try:
            return work(ThreadProcesses(rank, exchange))
        except BaseException:
            exchange.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(guarded, rank) for rank in range(size)]
    errors = [future.exception() for future in futures]
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, ProcessLost)):
        raise error
    return [future.result() for future in futures]
