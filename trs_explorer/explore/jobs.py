"""Run measurements in the background and report their progress: `Jobs` and the `Snapshot` of each."""

import atexit
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass, field, replace

from trs_explorer import plugins
from trs_explorer.explore.compute_lock import PROCESS_LOCK, PriorityLock
from trs_explorer.explore.run_names import FOLDER
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError

KEPT_JOBS = 64
RUNNING_JOBS = 64  # a page needs one or two, and a class has thirty pages
UNREAD_S = 90.0  # browsers let even a hidden page poll once a minute: a job not polled for this long has lost its page
STALE_S = 10.0  # a visible page polls every few hundred ms: a job not polled for this long makes room for a new one


class Full(RunError):
    """Too many jobs are running and being read: try again later."""


@dataclass(frozen=True)
class Snapshot:
    """A job's progress.

    value: the newest item; None before the first. A job that failed or was cancelled keeps the last item it had.
    state: "running", "done", "failed" or "cancelled".
    error: a message, if it failed.
    seconds: from the start to this snapshot, waiting for the lock included.
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
    last_read: float = field(default_factory=time.monotonic)  # when a page polled it last


class Jobs:
    """Background jobs by key. A job is an iterator of intermediate results, such as `measure_transfer`.

    One thread serves all jobs in turn, one item each, and holds the lock while an item is computed: only one job could compute
    at a time anyway. The thread ends with the last job. A job that is not polled for UNREAD_S seconds is cancelled.
    """

    def __init__(self, lock: PriorityLock = PROCESS_LOCK, keep: int = KEPT_JOBS) -> None:
        """Keep the last `keep` finished jobs, and all running ones."""
        self._compute_lock, self._keep = lock, keep
        self._changed = threading.Condition()
        self._jobs: OrderedDict[Hashable, _Job] = OrderedDict()  # the least recently used first
        self._worker: threading.Thread | None = None
        self._queue: deque[_Job] = deque()  # jobs whose next item is to be computed, in that order
        _all_jobs.add(self)

    def start(self, key: Hashable, slot: str, make: Callable[[], Iterable[object]]) -> Snapshot:
        """Start the job `make()` unless the key is running or done, and return its snapshot.

        key: identifies the measurement. A key that failed or was cancelled starts anew.
        slot: the place on a page that shows the result. The slot's previous job is cancelled, unless other slots wait for it too.
        make: returns the iterator of results. It is called in the background too. Results must not change once yielded.
        Raises: Full if RUNNING_JOBS jobs run and all of them are being polled.
        """
        with self._changed:
            job = self._jobs.get(key)
            self._leave(slot, but=job)
            if job is None or job.snapshot.state in ("failed", "cancelled"):
                self._make_room()
                job = self._jobs[key] = _Job(key, _items(make), {slot})
                self._queue.append(job)
                if self._worker is None:
                    self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)
                    self._worker.start()
            job.slots.add(slot)
            return self._touch(job)

    def follow(self, key: Hashable, slot: str, make: Callable[[], Iterable[object]], *, again: bool) -> Snapshot:
        """Call `start`, except that a page which polls again gets a failed job's snapshot instead of a new attempt."""
        snapshot = self.get(key) if again else None
        return snapshot if snapshot and snapshot.state == "failed" else self.start(key, slot, make)

    def leave(self, slot: str) -> None:
        """Cancel the slot's job, unless other slots wait for it too: its place on the page is not shown any more."""
        with self._changed:
            self._leave(slot)

    def _leave(self, slot: str, but: _Job | None = None) -> None:
        for other in self._running():
            other.slots.discard(slot)
            if not other.slots and other is not but:
                self._end(other, "cancelled")

    def get(self, key: Hashable) -> Snapshot | None:
        """Return the newest snapshot; None for a key that was never started or has been dropped."""
        with self._changed:
            job = self._jobs.get(key)
            return self._touch(job) if job else None

    def wait(self, key: Hashable, timeout: float) -> Snapshot | None:
        """Call `get` once the job has ended or `timeout` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._jobs or self._jobs[key].snapshot.state != "running", timeout)
        return self.get(key)

    def stop(self, timeout: float = 2.0) -> None:
        """Cancel all jobs, and wait up to `timeout` seconds for the item that is being computed."""
        deadline = time.monotonic() + timeout
        with self._changed:
            worker = self._worker  # it may still be computing an item of a cancelled job
            for job in self._running():
                self._end(job, "cancelled")
        if worker:
            worker.join(max(0.0, deadline - time.monotonic()))

    def _running(self) -> list[_Job]:
        return [job for job in self._jobs.values() if job.snapshot.state == "running"]

    def _make_room(self) -> None:
        """Cancel the job that was not polled for longest if there are too many. The caller holds `_changed`. Raises Full."""
        running = self._running()
        if len(running) < RUNNING_JOBS:
            return
        if time.monotonic() - running[0].last_read < STALE_S:
            raise Full(f"{len(running)} measurements are already running for other pages: try again in a while")
        self._end(running[0], "cancelled")

    def _touch(self, job: _Job) -> Snapshot:
        self._jobs.move_to_end(job.key)
        job.last_read = time.monotonic()
        return job.snapshot

    def _end(self, job: _Job, state: str, error: str = "") -> None:
        """Give a job its last snapshot. The caller holds `_changed`."""
        if job.snapshot.state != "running":
            return
        job.cancelled = True  # the item being computed is not needed any more
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
            except Exception as exception:  # shown on the page; the server continues
                more, state, error = False, "failed", error_message(exception)
            with self._changed:
                if more:
                    self._queue.append(job)
                else:
                    self._end(job, state, error)

    def _next(self) -> _Job | None:
        """Cancel jobs that nobody polls, and return the next job; None, which ends the worker, if there is none."""
        with self._changed:
            unread = time.monotonic() - UNREAD_S
            for job in self._running():
                if job.last_read < unread:
                    self._end(job, "cancelled")
            if not self._queue:
                self._worker = None
                return None
            return self._queue.popleft()

    def _step(self, job: _Job) -> bool:
        """Compute a job's next item unless it was cancelled. Return whether there may be another."""
        if job.cancelled:
            job.items.close()
            return False
        with self._compute_lock.hold(interactive=False):
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
    """Stop all jobs before the interpreter exits: a daemon thread inside torch would abort the process."""
    for jobs in list(_all_jobs):
        jobs.stop()


def error_message(error: BaseException) -> str:
    """One line about an error for a page: our own as they are, code of others with its line, else the type; never with a path."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = next(iter(message.splitlines()), "")[:300]
    if not isinstance(error, UsageError | RunError) and (place := plugins.where(error)):
        return FOLDER.sub("", place)[:300]
    is_ours = isinstance(error, UsageError | RunError) and line
    return line if is_ours else f"{type(error).__name__}: {line}" if line else type(error).__name__
