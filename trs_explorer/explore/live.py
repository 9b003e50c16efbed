"""Computing for views that do not wait: the newest request counts, jobs run in the background, results are kept."""

import atexit
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from trs_explorer.explore.turns import Turns
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError

_everybody = Turns()
turn, polite, offer = _everybody.take, _everybody.polite, _everybody.offer  # those of this process

KEPT_JOBS = 64
RUNNING_JOBS = 64  # a page needs one or two, and a class has thirty
UNREAD_S = 90.0  # a page that nobody looks at asks once a minute at least, browsers see to that: after this it is closed
STALE_S = 10.0  # a page that somebody looks at asks every few hundred ms: after this a job makes room for a new one


class Full(RunError):
    """So many jobs run and are being read that there is no room for another: to be tried again later."""


# --- only the newest request counts ----------------------------------------------------------------------------------


class Ticket:
    """One request's place in its slot."""

    def __init__(self) -> None:
        self._newer = False

    def cancelled(self) -> bool:
        """Whether a newer request has entered the slot."""
        return self._newer


class Latest:
    """Slots, such as a client's slice, in each of which only the newest request counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Weak: a slot is forgotten with the request that holds its newest ticket, so pages that have gone cost nothing.
        self._newest: weakref.WeakValueDictionary[str, Ticket] = weakref.WeakValueDictionary()

    def enter(self, slot: str) -> Ticket:
        """A ticket for the newest request of this slot; the one before it is cancelled from now on."""
        ticket = Ticket()
        with self._lock:
            older = self._newest.get(slot)
            if older is not None:
                older._newer = True
            self._newest[slot] = ticket
        return ticket


# --- jobs in the background ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """What a job has found so far.

    state: running, done, failed or cancelled; the value of one that is not done is what it had by then, None for nothing.
    error: what went wrong, in words.  seconds: from the start to this snapshot, waiting for turns included.
    """

    value: object = None
    state: str = "running"
    error: str = ""
    seconds: float = 0.0


@dataclass(eq=False)
class _Job:
    key: Hashable
    items: Generator[object, None, None]
    slots: set[str]
    snapshot: Snapshot = field(default_factory=Snapshot)
    cancelled: bool = False
    started: float = field(default_factory=time.perf_counter)
    read: float = field(default_factory=time.monotonic)  # when somebody asked for it last


class Jobs:
    """Iterators of snapshots, such as `measure_transfer`, consumed in the background, a turn for every item.

    One thread serves them all, an item of each in its order: only one could compute at a time anyway. It ends with the last job.
    A job that nobody asks about for UNREAD_S seconds is cancelled.
    """

    def __init__(self, turns: Turns = _everybody, keep: int = KEPT_JOBS) -> None:
        """Keep the last `keep` jobs that have ended; those that run are kept besides."""
        self._turns, self._keep = turns, keep
        self._changed = threading.Condition()
        self._jobs: OrderedDict[Hashable, _Job] = OrderedDict()  # the least recently used first
        self._worker: threading.Thread | None = None
        self._waiting: deque[_Job] = deque()  # those whose next item is to be made, in the order of their turns
        _all_jobs.add(self)

    def start(self, key: Hashable, slot: str, make: Callable[[], Iterable[object]]) -> Snapshot:
        """Start `make()` unless the same key runs or is done; returns what there is by now.

        The job that ran in this slot under another key is cancelled, unless other slots wait for it too. A key that failed or was
        cancelled starts anew. `make` itself runs in the background too, in the first turn. Snapshots must not change later.
        Raises: Full if RUNNING_JOBS run and all of them are being read.
        """
        with self._changed:
            job = self._jobs.get(key)
            for other in self._running():
                other.slots.discard(slot)
                if not other.slots and other is not job:
                    self._end(other, "cancelled")
            if job is None or job.snapshot.state in ("failed", "cancelled"):
                self._make_room()
                job = self._jobs[key] = _Job(key, _items(make), {slot})
                self._waiting.append(job)
                if self._worker is None:
                    self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)
                    self._worker.start()
            job.slots.add(slot)
            return self._touch(job)

    def follow(self, key: Hashable, slot: str, make: Callable[[], Iterable[object]], *, again: bool) -> Snapshot:
        """`start`, but for one who has asked before (`again`) and is then told that the job has failed: it is not tried anew."""
        known = self.get(key) if again else None
        return known if known and known.state == "failed" else self.start(key, slot, make)

    def get(self, key: Hashable) -> Snapshot | None:
        """The newest snapshot; None for a key that was never started, or so long ago that it is forgotten."""
        with self._changed:
            job = self._jobs.get(key)
            return self._touch(job) if job else None

    def wait(self, key: Hashable, timeout: float) -> Snapshot | None:
        """`get`, once the job has ended or `timeout` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._jobs or self._jobs[key].snapshot.state != "running", timeout)
        return self.get(key)

    def stop(self, timeout: float = 2.0) -> None:
        """Cancel all, and wait that many seconds at most for the items that are being computed."""
        deadline = time.monotonic() + timeout
        with self._changed:
            worker = self._worker  # it may still be at the last item of a cancelled job
            for job in self._running():
                self._end(job, "cancelled")
        if worker:
            worker.join(max(0.0, deadline - time.monotonic()))

    def _running(self) -> list[_Job]:
        return [job for job in self._jobs.values() if job.snapshot.state == "running"]

    def _make_room(self) -> None:
        """End the job that was not read for longest if there are too many. With the lock held. Raises Full."""
        running = self._running()
        if len(running) < RUNNING_JOBS:
            return
        if time.monotonic() - running[0].read < STALE_S:
            raise Full(f"{len(running)} measurements are being made here already, and looked at: try again in a while")
        self._end(running[0], "cancelled")

    def _touch(self, job: _Job) -> Snapshot:
        self._jobs.move_to_end(job.key)
        job.read = time.monotonic()
        return job.snapshot

    def _end(self, job: _Job, state: str, error: str = "") -> None:
        """Give a job its last snapshot. With the lock held."""
        if job.snapshot.state != "running":
            return
        job.cancelled = True  # whatever it is at, it is not wanted any more
        job.snapshot = replace(job.snapshot, state=state, error=error, seconds=time.perf_counter() - job.started)
        ended = [key for key, other in self._jobs.items() if other.snapshot.state != "running"]
        for key in ended[: max(0, len(ended) - self._keep)]:
            del self._jobs[key]
        self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            state, error = "done", ""
            try:
                more = self._step(job)
            except Exception as trouble:  # whatever it was: it belongs on the page, and the server goes on
                more, state, error = False, "failed", event_line(trouble)
            with self._changed:
                if more:
                    self._waiting.append(job)
                else:
                    self._end(job, state, error)

    def _next(self) -> _Job | None:
        """The job whose turn it is, those that nobody reads being over; None, and no worker any more, if there is none."""
        with self._changed:
            unread = time.monotonic() - UNREAD_S
            for job in self._running():
                if job.read < unread:
                    self._end(job, "cancelled")
            if not self._waiting:
                self._worker = None
                return None
            return self._waiting.popleft()

    def _step(self, job: _Job) -> bool:
        """Make a job's next item, if it is still wanted; whether there may be another."""
        if job.cancelled:
            job.items.close()
            return False
        with self._turns.take(interactive=False):
            value = _NOTHING if job.cancelled else next(job.items, _NOTHING)
            if value is _NOTHING:
                job.items.close()
                return False
        with self._changed:
            if not job.cancelled:
                job.snapshot = Snapshot(value, seconds=time.perf_counter() - job.started)
                self._changed.notify_all()
        return True


_NOTHING = object()
_all_jobs: "weakref.WeakSet[Jobs]" = weakref.WeakSet()


def _items(make: Callable[[], Iterable[object]]) -> Generator[object, None, None]:
    yield from make()


@atexit.register
def _stop_all() -> None:
    """Daemon threads that are inside torch when the interpreter goes down end it with an abort: let them come out first."""
    for jobs in list(_all_jobs):
        jobs.stop()


def event_line(error: BaseException) -> str:
    """An error in a line that a page can show: our own as they are, others with their kind, and without a file's place."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = next(iter(said.splitlines()), "")[:300]
    ours = isinstance(error, UsageError | RunError) and text
    return text if ours else f"{type(error).__name__}: {text}" if text else type(error).__name__


# --- results ---------------------------------------------------------------------------------------------------------


class Cache:
    """Arrays by key, at most so many bytes of them; the least recently used go first."""

    def __init__(self, size: int = 512 << 20) -> None:
        """Keep up to `size` bytes."""
        self._size, self._used = size, 0
        self._lock = threading.Lock()
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The array that was put there, read-only; None if there is none or it had to go."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
            return self._arrays.get(key)

    def put(self, key: Hashable, array: np.ndarray) -> np.ndarray:
        """Keep a copy of an array, and return that: read-only, because many will read it. One too big is only returned."""
        kept = np.array(array)  # a copy: a view would keep all of what it is a part of
        kept.flags.writeable = False
        with self._lock:
            self._used -= self._arrays.pop(key).nbytes if key in self._arrays else 0
            if kept.nbytes <= self._size:
                self._arrays[key] = kept
                self._used += kept.nbytes
            while self._used > self._size:
                self._used -= self._arrays.popitem(last=False)[1].nbytes
        return kept
