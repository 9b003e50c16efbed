"""The lock of all computations: order, reentrance, and attacks that yield to interactive requests."""

import threading
import time
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from trs_explorer.attacks.options import keywords
from trs_explorer.attacks.pgd import pgd
from trs_explorer.explore.compute_lock import PROCESS_LOCK, PriorityLock

SOON = 10.0  # seconds that a condition gets; none of these tests waits for a duration


def wait_for_queue(lock, count):
    """Wait until so many threads are waiting for the lock."""
    with lock._changed:
        deadline = time.monotonic() + SOON
        while len(lock._queue) < count and time.monotonic() < deadline:
            lock._changed.wait(0.001)
        assert len(lock._queue) == count


def test_the_lock_is_granted_by_arrival_and_interactive_requests_go_first():
    lock, order = PriorityLock(), []

    def request(name, interactive):
        with lock.hold(interactive=interactive):
            order.append(name)

    threads = []
    with lock.hold():
        for i, (name, interactive) in enumerate([("job 1", False), ("slice 1", True), ("job 2", False), ("slice 2", True)]):
            threads.append(threading.Thread(target=request, args=(name, interactive)))
            threads[-1].start()
            wait_for_queue(lock, i + 1)
        assert order == []
    for thread in threads:
        thread.join(SOON)
    assert order == ["slice 1", "slice 2", "job 1", "job 2"]


def test_one_computes_at_a_time_and_two_that_hold_it_often_alternate():
    lock, order, inside = PriorityLock(), [], []

    def request(name):
        for _ in range(20):
            with lock.hold():
                inside.append(name)
                assert inside == [name]
                order.append(name)
                wait_for_queue(lock, 1) if 2 < len(order) < 38 else None
                inside.clear()

    threads = [threading.Thread(target=request, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(order) == 40
    assert all(first != second for first, second in pairwise(order[3:37]))


def test_the_lock_is_reentrant_and_an_error_releases_it():
    with pytest.raises(ZeroDivisionError), PROCESS_LOCK.hold(), PROCESS_LOCK.hold(interactive=False):
        raise ZeroDivisionError
    lock, entered = PriorityLock(), threading.Event()

    def hold():
        with lock.hold():
            entered.set()

    with lock.hold():
        with lock.hold():
            pass
        thread = threading.Thread(target=hold)
        thread.start()
        wait_for_queue(lock, 1)  # the inner block has not released it
    assert entered.wait(SOON)
    thread.join(SOON)


def test_an_attack_in_a_job_lets_interactive_requests_in_at_each_forward_pass():
    lock, order, threads = PriorityLock(), [], []
    x, y = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.long)

    def request(name, interactive):
        with lock.hold(interactive=interactive):
            order.append(name)

    class Net(nn.Linear):
        def forward(self, x):
            order.append("pass")
            who = {5: ("job", False), 10: ("slice", True)}.get(len(order))
            if lock._owner and who:
                threads.append(threading.Thread(target=request, args=who))
                threads[-1].start()
                wait_for_queue(lock, len(threads))
            return super().forward(x.flatten(1))

    def attacked(attack):
        return attack(net, x, y, early_stop=False, generator=torch.Generator().manual_seed(1))

    net, attack = Net(9, 3), partial(pgd, eps=0.3, steps=20)
    expected = attacked(attack)
    order.clear()
    with lock.hold(interactive=False):
        found = attacked(lock.yielding(attack))
    for thread in threads:
        thread.join(SOON)
    # The job that came at the fifth pass does not interrupt; once the job yields, it is next.
    assert order[:13] == ["pass"] * 10 + ["slice", "job", "pass"]
    assert torch.equal(found, expected)
    assert "early_stop" in keywords(lock.yielding(attack))  # the matrix looks for it
    with lock.hold():
        thread = threading.Thread(target=request, args=("other", True))
        thread.start()
        wait_for_queue(lock, 1)
        lock.yield_turn()  # an interactive request does not yield
        assert "other" not in order
    thread.join(SOON)
