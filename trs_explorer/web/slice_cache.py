"""The slices of this process: views and samples are computed once, and answered from memory afterwards."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event, Lock, Thread
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from trs_explorer.explore.array_cache import ArrayCache
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.latest import Latest, Ticket
from trs_explorer.explore.plane_attacks import AttackPaths
from trs_explorer.explore.slices import Cancelled, coordinates, new_points, sample
from trs_explorer.web.attack_paths import make_attack_paths
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.page_request import PageRequest
from trs_explorer.web.slice_view import SliceView, make_slice_view
from trs_explorer.web.state import ATTACK_FIELDS, SLICE_FIELDS

MAX_VIEWS = 128
TOLD_AFTER_S = 1.0  # that a grid takes before its progress is said
COARSE_FIRST_S = 0.3  # that an attack waits for the coarse picture at most
T = TypeVar("T")
_SAMPLES = ArrayCache()  # of this process: all pages may show the same slice


class SliceCache:
    """Slice views by key, with their samples, and what was computed about one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_key, self._by_fields = OrderedDict[str, SliceView](), OrderedDict[tuple, SliceView]()
        self._samples, self._latest = _SAMPLES, Latest()
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._drawn: OrderedDict[Hashable, Event] = OrderedDict()
        # Ahead of requests, for one page at a time; who asks for what fails here is told why.
        self._ahead = ThreadPoolExecutor(1, "ahead")
        self._progress: dict[str, str] = {}  # by page, in words
        self._computing: WeakValueDictionary[tuple[str, tuple[int, ...]], Lock] = WeakValueDictionary()

    def view(self, request: PageRequest) -> SliceView:
        """Return the request's slice; it is built anew only if a field that it depends on has changed."""
        fields = (request.loaded.identity, *(getattr(request.state, name) for name in SLICE_FIELDS))
        with self._lock:
            cached = self._by_fields.get(fields)
        view = cached or make_slice_view(request.loaded, request.state)
        with self._lock:
            _put_last(self._by_fields, fields, view)
            _put_last(self._by_key, view.key, view)
        return view

    def begin(self, request: PageRequest, client: str) -> Future[tuple[SliceView, AttackPaths] | None]:
        """Start to compute the coarse grid of the request's slice, then its attacks: the page asks for them in a moment.

        Returns: the slice and its attacks, once they are there; None if another slice was begun for this client before.
        """
        ticket = self._latest.enter(f"ahead of {client}", object())

        def compute() -> tuple[SliceView, AttackPaths] | None:
            if ticket.cancelled():
                return None
            with PROCESS_LOCK.hold():
                view = self.view(request)
            try:
                self.samples(view, 0, ticket=ticket, page=client)
            except Cancelled:  # between two parts of the samples
                return None
            return None if ticket.cancelled() else (view, self.attacks(request, view))

        return self._ahead.submit(compute)

    def go_on(self, view: SliceView, level: int, client: str) -> None:
        """Start to compute a finer grid, which the page asks for as soon as it has got this one."""
        if level < view.levels:
            ticket = self._latest.enter(f"ahead of {client}", object())
            self._ahead.submit(self.samples, view, level, ticket=ticket, page=client)

    def get(self, key: str) -> SliceView | None:
        """Return the view with this key; None if it is not cached (any more)."""
        with self._lock:
            return self._by_key.get(key)

    def samples(
        self, view: SliceView, level: int, client: str = "", *, ticket: Ticket | None = None, page: str = ""
    ) -> np.ndarray:
        """Return the logits at a level's new points, [point, member, class].

        client: whose request it is.
        page: the client that is told of the progress, by default that one.
        ticket: give up when this one is cancelled; by default, as soon as the same client requests another slice.
        Raises: Cancelled if it was given up.
        """
        if client:
            ticket = self._latest.enter(f"slice of {client}", view.key)
        stop = ticket.cancelled if ticket else (lambda: False)
        key = view.key, view.grids[: level + 1]
        with self._computing_of(key):  # of two requests for the same samples, the second finds those of the first
            cached = self._samples.get(key)
            if stop():
                raise Cancelled
            if cached is not None:
                return cached
            new = new_points(level, view.grids)
            points = coordinates(new, level, low=view.low, high=view.high, grids=view.grids)
            with self._told(page or client, view.grids[level]) as progress:
                compute = partial(readable_code_errors(sample), view.loaded.ensemble, view.plane, points)
                logits = compute(stop=stop, lock=PROCESS_LOCK.hold, progress=progress)
            return self._samples.put(key, logits)

    @contextmanager
    def _told(self, page: str, n: int) -> Iterator[Callable[[int, int], object]]:
        """Yield what a page is told of the progress through, while a grid is computed for it."""
        started = time.monotonic()

        def progress(done: int, total: int) -> None:
            seconds = time.monotonic() - started
            if page and seconds > TOLD_AFTER_S:
                self._progress[page] = progress_words(n, done, total, seconds)

        try:
            yield progress
        finally:
            self._progress.pop(page, None)

    def progress(self, page: str) -> str:
        """Return how far the grid is that is computed for a page, in words; "" if none is."""
        return self._progress.get(page, "")

    def coarse(self, request: Callable[[], PageRequest]) -> Future[tuple[PageRequest, SliceView, np.ndarray]]:
        """Start to compute the coarse grid of a request's slice; the future has the request, the view and the logits."""
        future: Future[tuple[PageRequest, SliceView, np.ndarray]] = Future()

        def compute() -> None:
            try:
                wanted = request()
                with PROCESS_LOCK.hold():
                    view = self.view(wanted)
                future.set_result((wanted, view, self.samples(view, 0)))
            except Exception as error:  # whoever waits for it is told
                future.set_exception(error)

        Thread(target=compute, name="still", daemon=True).start()  # not of a pool, whose threads would stay
        return future

    def _computing_of(self, key: tuple[str, tuple[int, ...]]) -> Lock:
        """Return the lock of the samples with this key, the same for all that ask at the same time."""
        with self._lock:
            return self._computing.setdefault(key, Lock())

    def drawn(self, view: SliceView) -> Event:
        """Return the event that a first picture of this view has been put together."""
        with self._lock:
            event = self._drawn.get(view.key) or Event()
            _put_last(self._drawn, view.key, event)
        return event

    def attacks(self, request: PageRequest, view: SliceView, *, at_once: bool = False) -> AttackPaths:
        """Return the attacks on the models of a request's view.

        at_once: do not wait until a first picture of it has been put together.
        """
        if not at_once:
            self.drawn(view).wait(COARSE_FIRST_S)  # two computations at once would slow both down
        fields = (getattr(request.state, name) for name in (*SLICE_FIELDS, *ATTACK_FIELDS))
        compute = partial(make_attack_paths, request.loaded, request.state, view)
        with PROCESS_LOCK.hold(interactive=not view.is_heavy):
            return self.remembered(("attacks", request.loaded.identity, *fields), compute)

    def remembered(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what `compute` gave for this key before, or call it."""
        with self._lock:
            if key in self._answers:
                return self._answers[key]
        answer = compute()
        with self._lock:
            _put_last(self._answers, key, answer)
        return answer


def progress_words(n: int, done: int, total: int, seconds: float) -> str:
    """Say how far a grid of n x n points is, and how long the rest takes at this pace."""
    left = seconds * (total - done) / max(done, 1)
    time_left = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
    return f"{n} x {n} points: {done:,} of {total:,} new ones computed, about {time_left} left"


def _put_last(views: OrderedDict, key: object, view: object) -> None:
    """Store a view as the most recent one, and drop the oldest."""
    views[key] = view
    views.move_to_end(key)
    while len(views) > MAX_VIEWS:
        views.popitem(last=False)
