"""Signals while the dashboard is watched."""

import signal

import pytest

from trs_explorer.tui.terminal_restore import _forward_signals


class _Child:
    def __init__(self):
        self.sent = []

    def send_signal(self, number):
        self.sent.append(number)

    def kill(self):
        self.sent.append("killed")


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
def test_a_signal_that_was_ignored_from_the_start_stays_ignored_and_others_reach_the_view(name):
    number, child = getattr(signal, name), _Child()
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with _forward_signals(child) as passed_on:
            for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(each)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
    expected = [each for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT) if each != number]
    assert passed_on == expected
    assert child.sent == [signal.SIGTERM if each == signal.SIGINT else each for each in expected]
