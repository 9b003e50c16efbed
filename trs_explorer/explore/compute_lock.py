"""One lock for all computations of a process: interactive requests go first, background jobs yield to them."""

import itertools
import threading
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import torch
from torch import nn

from trs_explorer.models.recording import RecordingModel


class PriorityLock:
    """A reentrant lock that is granted in order of arrival, interactive requests before background jobs.

    Hold it for one chunk of work of about 30 ms at a time. An interactive request then waits for one chunk instead of a whole
    matrix, and two computations never share torch's threads, which would slow both down.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[tuple[bool, int]] = []  # sorted: interactive requests first, then by arrival
        self._arrivals = itertools.count()
        self._owner: int | None = None
        self._background = False  # whether the owner is a background job

    @contextmanager
    def hold(self, *, interactive: bool = True) -> Iterator[None]:
        """Hold the lock inside the block. A thread that holds it already continues at once."""
        if self._owner == threading.get_ident():
            yield
            return
        self._acquire(interactive)
        try:
            yield
        finally:
            self._release()

    def yield_turn(self) -> None:
        """Let waiting interactive requests go first. Does nothing unless a background job calls it while it holds the lock."""
        if self._queue and self._background and self._owner == threading.get_ident() and not self._queue[0][0]:
            self._release()
            self._acquire(interactive=False)

    def yielding(self, attack: Callable) -> Callable:
        """Return the same attack, calling `yield_turn` before each forward pass: 50 steps would be a long wait."""

        @wraps(attack)
        def yielding_attack(model: nn.Module, *args: object, **kwargs: object) -> torch.Tensor:
            return attack(RecordingModel(model, lambda x: self.yield_turn()), *args, **kwargs)

        return yielding_attack

    def _acquire(self, interactive: bool) -> None:
        with self._changed:
            place = (not interactive, next(self._arrivals))
            insort(self._queue, place)
            try:
                self._changed.wait_for(lambda: self._owner is None and self._queue[0] == place)
                self._owner, self._background = threading.get_ident(), not interactive
            finally:
                self._queue.remove(place)
                self._changed.notify_all()  # if the wait was interrupted, another request may be first now

    def _release(self) -> None:
        with self._changed:
            self._owner = None
            self._changed.notify_all()


PROCESS_LOCK = PriorityLock()  # the lock of this process


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside the block.

    For few images: threads would have to synchronise after every operation, and on busy cores they stall.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
