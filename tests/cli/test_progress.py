"""Progress where stderr is no terminal: a line now and then, with the time left."""

import itertools

import pytest

from trs_explorer.cli import progress as module
from trs_explorer.cli.progress import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """A clock that moves ten seconds whenever it is read."""
    seconds = itertools.count(0, 10)
    monkeypatch.setattr(module, "monotonic", lambda: float(next(seconds)))


def test_without_a_terminal_a_line_every_half_minute_says_how_much_is_done_and_left(clock, capsys) -> None:
    with progress("mine: pgd") as advance:
        for done in range(50, 57):  # 50 were done before
            advance(done, 80, "F1")
    assert capsys.readouterr().err.splitlines() == [
        "mine: pgd: F1: 0:00:30, 65 %, left: 0:07:00",
        "mine: pgd: F1: 0:01:00, 69 %, left: 0:05:00",
    ]


def test_of_work_of_unknown_size_the_time_is_said_and_if_quiet_nothing(clock, capsys) -> None:
    with progress("loading") as advance:
        for done in range(4):
            advance(done, None)
    assert capsys.readouterr().err == "loading: 0:00:30\n"
    with progress("loading", quiet=True) as advance:
        for done in range(4):
            advance(done, None)
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_does_not_end_the_work(clock, monkeypatch) -> None:
    tried = []

    class Closed:
        def write(self, text: str) -> None:
            tried.append(text)
            raise BrokenPipeError

        flush = write

    with progress("loading") as advance:
        monkeypatch.setattr(module.sys, "stderr", Closed())
        for done in range(4):
            advance(done, None)
    assert tried == ["loading: 0:00:30"]
