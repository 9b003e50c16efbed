import gc
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from trs_explorer.attacks.pgd import pgd
from trs_explorer.attacks.search import keywords
from trs_explorer.explore import live
from trs_explorer.explore.live import RUNNING_JOBS, Cache, Jobs, Latest, event_line, turn
from trs_explorer.explore.turns import Turns
from trs_explorer.options import UsageError

SOON = 10.0  # seconds that a condition gets; none of these tests waits for a duration


# --- latest ----------------------------------------------------------------------------------------------------------


def test_a_newer_request_cancels_the_older_one_of_its_slot_only():
    latest = Latest()
    first, other = latest.enter("me:slice"), latest.enter("you:slice")
    assert not first.cancelled()
    second = latest.enter("me:slice")
    assert (first.cancelled(), second.cancelled(), other.cancelled()) == (True, False, False)
    third = latest.enter("me:slice")
    assert (second.cancelled(), third.cancelled()) == (True, False)


def test_slots_of_requests_that_are_over_are_forgotten():
    latest = Latest()
    for i in range(100):
        latest.enter(f"client {i}")
    gc.collect()
    assert not len(latest._newest)


# --- turns -----------------------------------------------------------------------------------------------------------


def in_line(turns, count):
    """Wait until so many threads wait for their turn."""
    with turns._changed:
        deadline = time.monotonic() + SOON
        while len(turns._line) < count and time.monotonic() < deadline:
            turns._changed.wait(0.001)
        assert len(turns._line) == count


def test_turns_go_by_arrival_and_interactive_requests_go_first():
    turns, order = Turns(), []

    def request(name, interactive):
        with turns.take(interactive=interactive):
            order.append(name)

    threads = []
    with turns.take():
        for i, (name, interactive) in enumerate([("job 1", False), ("slice 1", True), ("job 2", False), ("slice 2", True)]):
            threads.append(threading.Thread(target=request, args=(name, interactive)))
            threads[-1].start()
            in_line(turns, i + 1)
        assert order == []
    for thread in threads:
        thread.join(SOON)
    assert order == ["slice 1", "slice 2", "job 1", "job 2"]


def test_one_computes_at_a_time_and_two_that_take_many_turns_alternate():
    turns, order, inside = Turns(), [], []

    def request(name):
        for _ in range(20):
            with turns.take():
                inside.append(name)
                assert inside == [name]
                order.append(name)
                in_line(turns, 1) if 2 < len(order) < 38 else None
                inside.clear()

    threads = [threading.Thread(target=request, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(order) == 40
    assert all(first != second for first, second in pairwise(order[3:37]))


def test_a_turn_inside_a_turn_is_the_same_turn_and_an_error_ends_it():
    with pytest.raises(ZeroDivisionError), turn(), turn(interactive=False):
        raise ZeroDivisionError
    turns, entered = Turns(), threading.Event()

    def take():
        with turns.take():
            entered.set()

    with turns.take():
        with turns.take():
            pass
        thread = threading.Thread(target=take)
        thread.start()
        in_line(turns, 1)  # the inner one has not given it away
    assert entered.wait(SOON)
    thread.join(SOON)


def test_an_attack_in_a_job_lets_interactive_requests_in_at_each_forward_pass():
    turns, order, threads = Turns(), [], []
    x, y = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.long)

    def request(name, interactive):
        with turns.take(interactive=interactive):
            order.append(name)

    class Net(nn.Linear):
        def forward(self, x):
            order.append("pass")
            who = {5: ("job", False), 10: ("slice", True)}.get(len(order))
            if turns._owner and who:
                threads.append(threading.Thread(target=request, args=who))
                threads[-1].start()
                in_line(turns, len(threads))
            return super().forward(x.flatten(1))

    def attacked(attack):
        return attack(net, x, y, early_stop=False, generator=torch.Generator().manual_seed(1))

    net, attack = Net(9, 3), partial(pgd, eps=0.3, steps=20)
    expected = attacked(attack)
    order.clear()
    with turns.take(interactive=False):
        found = attacked(turns.polite(attack))
    for thread in threads:
        thread.join(SOON)
    # The job that came at the fifth pass does not interrupt; once the turn is given up, it is next.
    assert order[:13] == ["pass"] * 10 + ["slice", "job", "pass"]
    assert torch.equal(found, expected)
    assert "early_stop" in keywords(turns.polite(attack))  # the matrix looks for it
    with turns.take():
        thread = threading.Thread(target=request, args=("other", True))
        thread.start()
        in_line(turns, 1)
        turns.offer()  # an interactive request keeps its turn
        assert "other" not in order
    thread.join(SOON)


# --- jobs ------------------------------------------------------------------------------------------------------------


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
    jobs = Jobs(Turns(), keep=3)
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
    assert event_line(error) == words
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
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    for i, step in enumerate(steps):
        jobs.start(i, f"client {i}", step)
    now[0] += live.STALE_S + 1
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
    with pytest.raises(live.Full, match="try again"):
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
        now = time.monotonic() + live.UNREAD_S + 1
        monkeypatch.setattr(live.time, "monotonic", lambda: now)
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


def test_every_item_is_a_turn_so_that_others_get_in_between():
    turns, steps, owners = Turns(), Steps(100), []
    jobs = Jobs(turns)

    def items():
        for item in steps():
            owners.append(turns._owner == threading.get_ident())
            yield item

    jobs.start("a", "me", items)
    steps.let.release()
    value_is(jobs, "a", 1)
    between = []

    def request():
        with turns.take():
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
from trs_explorer.explore.live import Jobs
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


# --- cache -----------------------------------------------------------------------------------------------------------


def test_the_cache_is_bounded_by_bytes_and_drops_what_was_not_used():
    cache = Cache(size=3000)
    arrays = {key: np.full(125, i, dtype=np.float64) for i, key in enumerate("abcd")}  # 1000 bytes each
    for key in "abc":
        cache.put(key, arrays[key])
    assert cache.get("a").tolist() == arrays["a"].tolist()
    cache.put("d", arrays["d"])
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    cache.put("a", arrays["b"][:25])  # another value: the old one's bytes are free again
    cache.put("e", arrays["b"])
    assert [key for key in "acde" if cache.get(key) is not None] == ["a", "d", "e"]
    assert cache.get("a").tolist() == [1.0] * 25
    assert cache.put("huge", np.zeros(400)).nbytes == 3200
    assert cache.get("huge") is None
    assert cache.get("e") is not None  # nothing had to go for what does not fit


def test_what_is_in_the_cache_cannot_be_changed():
    cache, array = Cache(), np.zeros((3, 4))
    kept = cache.put("a", array[1:])
    array[1:] = 5
    assert (cache.get("a") == 0).all()
    assert kept is cache.get("a")
    with pytest.raises(ValueError, match="read-only"):
        cache.get("a")[0] = 1


def test_many_threads_can_use_the_cache():
    cache, errors = Cache(size=50_000), []

    def work(seed):
        try:
            g = np.random.default_rng(seed)
            for _ in range(300):
                key = int(g.integers(40))
                found = cache.get(key)
                assert found is None or (found == key).all()
                cache.put(key, np.full(int(g.integers(1, 1000)), key))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert not errors
    assert cache._used == sum(array.nbytes for array in cache._arrays.values()) <= 50_000
