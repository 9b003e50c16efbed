"""Jobs in the background: snapshots, slots, failures, limits, and one thread for all."""

import subprocess
import sys
import threading
import time

import pytest

from trs_explorer.explore import jobs as jobs_module
from trs_explorer.explore.compute_lock import PriorityLock
from trs_explorer.explore.jobs import RUNNING_JOBS, Jobs, error_message
from trs_explorer.options import UsageError

SOON = 10.0  # seconds that a condition gets; none of these tests waits for a duration


class Steps:
    """Items 1, 2, 3, ... that come when they are let, and how far it is."""

    def __init__(self, count, error=None):
        self.count, self.error = count, error
        self.let, self.made, self.closed = threading.Semaphore(0), [], False

    def __call__(self):
        try:
            for i in range(1, self.count + 1):
                assert self.let.acquire(timeout=SOON)
                self.made.append(i)
                yield i
            if self.error:
                raise self.error
        finally:
            self.closed = True


@pytest.fixture
def jobs():
    jobs = Jobs(PriorityLock(), keep=3)
    yield jobs
    jobs.stop(SOON)


def value_is(jobs, key, value):
    with jobs._changed:
        assert jobs._changed.wait_for(lambda: jobs._jobs[key].snapshot.value == value, SOON)


def test_snapshots_come_one_by_one_and_the_last_one_stays(jobs):
    steps = Steps(2)
    assert jobs.get("a") is None
    assert jobs.start("a", "me", steps).state == "running"
    assert jobs.get("a").value is None
    steps.let.release()
    value_is(jobs, "a", 1)
    assert (jobs.get("a").state, jobs.start("a", "me", steps).value) == ("running", 1)
    steps.let.release()
    done = jobs.wait("a", SOON)
    assert (done.value, done.state, done.error) == (2, "done", "")
    assert 0 < done.seconds < SOON
    assert jobs.start("a", "me", Steps(0)) == done  # at once: it is not started again
    assert steps.made == [1, 2]


def test_a_newer_job_of_the_slot_cancels_the_older_one_after_its_item(jobs):
    old, new = Steps(100), Steps(1)
    jobs.start("old", "me", old)
    old.let.release()
    value_is(jobs, "old", 1)
    jobs.start("new", "me", new)
    assert jobs.get("old").state == "cancelled"
    assert jobs.get("old").value == 1
    for steps in (old, new):
        for _ in range(100):
            steps.let.release()
    assert jobs.wait("new", SOON).value == 1
    assert old.closed
    assert len(old.made) <= 2  # the item that it was at, and no other
    assert jobs.get("old").value == 1  # which came too late
    assert jobs.start("old", "me", lambda: [7]).state == "running"  # it can be asked for again
    assert jobs.wait("old", SOON).value == 7


def test_a_job_that_two_wait_for_lives_until_both_have_left(jobs):
    steps = Steps(2)
    jobs.start("a", "me", steps)
    jobs.start("a", "you", steps)
    jobs.start("b", "me", lambda: [1])
    assert jobs.get("a").state == "running"
    jobs.start("b", "you", lambda: [1])
    assert jobs.get("a").state == "cancelled"
    steps.let.release(2)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UsageError("--eps must be <= 1, got 2"), "--eps must be <= 1, got 2"),
        (RuntimeError("out of memory\nlong story"), "RuntimeError: out of memory"),
        (KeyError(), "KeyError"),
        (FileNotFoundError(2, "No such file or directory", "/home/me/secret"), "FileNotFoundError: No such file or directory"),
    ],
)
def test_a_job_that_fails_says_so_in_words_and_keeps_what_it_had(jobs, error, words):
    steps = Steps(1, error)
    steps.let.release()
    jobs.start("a", "me", steps)
    failed = jobs.wait("a", SOON)
    assert (failed.value, failed.state, failed.error) == (1, "failed", words)
    assert error_message(error) == words
    jobs.start("a", "me", lambda: [2])
    assert jobs.wait("a", SOON).state == "done"


def test_what_cannot_even_be_started_fails_too(jobs):
    def make():
        raise UsageError("no such attack")

    jobs.start("a", "me", make)
    assert jobs.wait("a", SOON).error == "no such attack"


def test_the_least_recently_used_results_are_forgotten(jobs):
    for key in "abcde":
        jobs.start(key, "me", lambda: [1])
        jobs.wait(key, SOON)
        if key == "c":
            jobs.get("a")
    assert [key for key in "abcde" if jobs.get(key)] == ["a", "d", "e"]


def test_too_many_jobs_end_the_one_that_was_not_read_for_longest(jobs, monkeypatch):
    now, steps = [100.0], [Steps(1) for _ in range(RUNNING_JOBS)]
    monkeypatch.setattr(jobs_module.time, "monotonic", lambda: now[0])
    for i, step in enumerate(steps):
        jobs.start(i, f"client {i}", step)
    now[0] += jobs_module.STALE_S + 1
    jobs.get(0)
    jobs.start("new", "another client", lambda: [1])
    assert [key for key in (0, 1, 2, "new") if jobs.get(key).state == "cancelled"] == [1]
    assert len(jobs._running()) == RUNNING_JOBS
    for step in steps:
        step.let.release()


def test_while_all_jobs_are_read_a_new_one_is_refused_and_none_is_lost(jobs):
    steps = [Steps(1) for _ in range(RUNNING_JOBS)]
    for i, step in enumerate(steps):
        jobs.start(i, f"client {i}", step)
    with pytest.raises(jobs_module.Full, match="try again"):
        jobs.start("new", "another client", Steps(1))
    assert jobs.get("new") is None
    assert jobs.start(5, "another client", Steps(1)).state == "running"  # one that runs already can be read by others
    assert len(jobs._running()) == RUNNING_JOBS
    for step in steps:
        step.let.release()


def test_a_job_that_nobody_reads_ends_after_its_item(jobs, monkeypatch):
    unread, read = Steps(100), Steps(100)
    jobs.start("unread", "me", unread)
    jobs.start("read", "you", read)
    unread.let.release()
    value_is(jobs, "unread", 1)
    with jobs._changed:  # the worker waits
        now = time.monotonic() + jobs_module.UNREAD_S + 1
        monkeypatch.setattr(jobs_module.time, "monotonic", lambda: now)
        jobs.get("read")
    unread.let.release(2)
    read.let.release(2)
    value_is(jobs, "read", 2)
    assert (jobs._jobs["unread"].snapshot.state, jobs._jobs["read"].snapshot.state) == ("cancelled", "running")
    assert len(unread.made) <= 2
    read.let.release(100)


def test_any_number_of_jobs_has_one_thread_and_it_ends_with_them(jobs):
    before, steps = set(threading.enumerate()), [Steps(1) for _ in range(40)]
    for i, step in enumerate(steps):
        jobs.start(i, f"client {i}", step)
    [worker] = set(threading.enumerate()) - before
    for step in steps:
        step.let.release()
    worker.join(SOON)
    assert not worker.is_alive()
    assert [step.made for step in steps] == [[1]] * 40
    assert jobs.start("later", "me", lambda: [5]).state == "running"  # and another one begins when it is needed
    assert jobs.wait("later", SOON).value == 5


def test_the_lock_is_released_after_every_item_so_that_others_get_in_between():
    lock, steps, owners = PriorityLock(), Steps(100), []
    jobs = Jobs(lock)

    def items():
        for item in steps():
            owners.append(lock._owner == threading.get_ident())
            yield item

    jobs.start("a", "me", items)
    steps.let.release()
    value_is(jobs, "a", 1)
    between = []

    def request():
        with lock.hold():
            between.append(len(steps.made))
            steps.let.release(98)

    thread = threading.Thread(target=request)
    thread.start()
    steps.let.release()
    thread.join(SOON)
    assert jobs.wait("a", SOON).value == 100
    assert between[0] <= 2  # after the item that was being made, at the latest
    assert owners == [True] * 100


@pytest.mark.slow
def test_a_process_ends_promptly_while_jobs_are_inside_torch():
    code = """
import threading
import torch
from trs_explorer.attacks.pgd import pgd
from trs_explorer.explore.jobs import Jobs
torch.set_num_threads(1)
inside = threading.Event()
def forever():
    x = torch.rand(300, 300)
    while True:
        inside.set()
        yield (x @ x).sum()
jobs = [Jobs() for _ in range(2)]
for i, job in enumerate(jobs):
    job.start(i, "me", forever)
    assert inside.wait(30)
    inside.clear()
print("bye", flush=True)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "bye\n", "")
