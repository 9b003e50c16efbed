"""Only the newest request of a slot counts."""

import gc

from trs_explorer.explore.latest import Latest


def test_a_newer_request_cancels_the_older_one_of_its_slot_only():
    latest = Latest()
    first, other = latest.enter("me:slice", 1), latest.enter("you:slice", 1)
    assert not first.cancelled()
    second = latest.enter("me:slice", 2)
    assert (first.cancelled(), second.cancelled(), other.cancelled()) == (True, False, False)
    third = latest.enter("me:slice", 3)
    assert (second.cancelled(), third.cancelled()) == (True, False)


def test_requests_about_the_same_go_on_until_another_comes():
    latest = Latest()
    first = latest.enter("me:slice", "one image")
    second = latest.enter("me:slice", "one image")
    assert (first.cancelled(), second.cancelled()) == (False, False)
    latest.enter("me:slice", "another")
    assert (first.cancelled(), second.cancelled()) == (True, True)


def test_slots_of_requests_that_are_over_are_forgotten():
    latest = Latest()
    for i in range(100):
        latest.enter(f"client {i}", i)
    gc.collect()
    assert not len(latest._newest)
