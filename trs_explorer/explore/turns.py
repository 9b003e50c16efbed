"""Computations of one process take turns."""

import itertools
import threading
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import torch
from torch import nn

from trs_explorer.models.recording import RecordingModel


class Turns:
    """A lock that is handed on in order of arrival, interactive requests first.

    Whoever computes takes a turn for every chunk of some 30 ms: so an interactive request waits for a chunk and not for a whole
    matrix, and torch's threads are not shared by two computations, which would make both slower.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: list[tuple[bool, int]] = []  # sorted: interactive ones first, then by arrival
        self._arrivals = itertools.count()
        self._owner: int | None = None
        self._background = False  # whether the owner is a job

    @contextmanager
    def take(self, *, interactive: bool = True) -> Iterator[None]:
        """The turn, inside. A thread that has it already goes on."""
        if self._owner == threading.get_ident():
            yield
            return
        self._enter(interactive)
        try:
            yield
        finally:
            self._leave()

    def offer(self) -> None:
        """Let the interactive requests that wait go first, if this thread is a job that has the turn; else nothing."""
        if self._line and self._background and self._owner == threading.get_ident() and not self._line[0][0]:
            self._leave()
            self._enter(interactive=False)

    def polite(self, attack: Callable) -> Callable:
        """The same attack, which offers the turn at each of its forward passes: 50 steps would be long to wait for."""

        @wraps(attack)
        def offering(model: nn.Module, *args: object, **kwargs: object) -> torch.Tensor:
            return attack(RecordingModel(model, lambda x: self.offer()), *args, **kwargs)

        return offering

    def _enter(self, interactive: bool) -> None:
        with self._changed:
            place = (not interactive, next(self._arrivals))
            insort(self._line, place)
            try:
                self._changed.wait_for(lambda: self._owner is None and self._line[0] == place)
                self._owner, self._background = threading.get_ident(), not interactive
            finally:
                self._line.remove(place)
                self._changed.notify_all()  # for when the wait was interrupted: another may be first now

    def _leave(self) -> None:
        with self._changed:
            self._owner = None
            self._changed.notify_all()


@contextmanager
def one_thread() -> Iterator[None]:
    """Few images are too little for threads that must meet after every operation: on busy cores they stall."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
