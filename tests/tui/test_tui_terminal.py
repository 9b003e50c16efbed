"""Whatever ends the dashboard, the terminal is as it was: real pseudo-terminals, and an oracle that replays every byte."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trs_explorer import runs, tui
from trs_explorer.tui import app as dashboard

fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")

ON_AT_FIRST = {7, 25}  # line wrap, cursor
BY_COMMAND = [sys.executable, "-m", "trs_explorer", "watch"]
CALL = """
import pathlib, sys
from trs_explorer import runs, tui
run = runs.open_run(pathlib.Path(sys.argv[1]))
sys.exit(tui.watch(run, readonly=True, ascii_only=True, against=run))
"""
BY_CALL = [sys.executable, "-c", CALL]

# A shell with job control, as far as a job can tell: it leads the session, lends the job the terminal and takes it back.
SHELL = """
import fcntl, os, signal, subprocess, sys, termios
tty = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
job = subprocess.Popen(sys.argv[2:], stdin=tty, stdout=tty, stderr=tty, process_group=0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.tcsetpgrp(tty, job.pid)
print(job.pid, flush=True)
status = job.wait()
os.tcsetpgrp(tty, os.getpgrp())
print(status, flush=True)
sys.stdin.read()
"""

# Python runs this first in every process of the job: they hold a lock while they live, and the view tells its process id
# and misbehaves when the test asks for it.
SITE = """
import fcntl, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
alive = open(here / "alive")
fcntl.flock(alive, fcntl.LOCK_SH)
if os.environ.get("HURRY"):
    from trs_explorer.tui import terminal_restore
    terminal_restore.GRACE_S = 0.1
if "trs_explorer.tui" in sys.orig_argv:
    (here / "view.new").write_text(str(os.getpid()))
    (here / "view.new").rename(here / "view")
    from trs_explorer.tui import panels
    header = panels.header
    def misbehaving(*arguments):
        if (here / "crash").exists():
            1 / 0
        if (here / "freeze").exists():
            (here / "frozen").touch()
            time.sleep(600)
        return header(*arguments)
    panels.header = misbehaving
"""


class Terminal:
    """A pseudo-terminal, a shell in it, and a run's dashboard as the shell's job."""

    def __init__(self, run: runs.Run, here: Path, command: list[str] = BY_CALL, **environment: str) -> None:
        self.run, self.here, self.output, self.status = run, here, b"", None
        here.mkdir()
        (here / "alive").touch()
        (here / "sitecustomize.py").write_text(SITE)
        self.master, self.slave = os.openpty()
        self.files = [self.slave, self.master]
        termios.tcsetwinsize(self.slave, (12, 40))
        self.before = termios.tcgetattr(self.slave)
        path = os.pathsep.join([str(here), str(Path(runs.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        unwanted = ("NO_COLOR", "TERM_PROGRAM", "TRS_DEBUG")
        inherited = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.shell = subprocess.Popen(
            [sys.executable, "-S", "-c", SHELL, os.ttyname(self.slave), *command, str(run.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            cwd=here,
            env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": path, **environment},
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.parent = int(self.shell.stdout.readline())

    def shown(self) -> "Terminal":
        """Wait until the dashboard is on the screen and has taken over the terminal."""
        self.until(lambda: self.run.name.encode() in self.output and {1003, 1004, 1016, 1049, 2004, 2048} <= self.modes())
        assert 7 not in self.modes()
        assert self.keyboards() == 1
        return self

    @property
    def view(self) -> int:
        return int((self.here / "view").read_text())

    def _read(self) -> None:
        """Take what is drawn, and answer what textual asks as a modern terminal does."""
        with contextlib.suppress(OSError):  # nothing is left on the other side
            while b"\0" not in (new := os.read(self.master, 65536)):
                seen = max(0, len(self.output) - 7)
                self.output += new
                for mode in (b"2026", b"2048"):
                    if b"\x1b[?" + mode + b"$p" in self.output[seen:]:
                        os.write(self.master, b"\x1b[?" + mode + b";2$y")

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, self.output[-2000:]
            time.sleep(0.01)

    def modes(self) -> set[int]:
        """The terminal's private modes that are on, by every byte so far."""
        on = set(ON_AT_FIRST)
        for numbers, switch in re.findall(rb"\x1b\[\?([\d;]+)([hl])", self.output):
            for number in map(int, numbers.split(b";")):
                (on.add if switch == b"h" else on.discard)(number)
        return on

    def keyboards(self) -> int:
        """How many of kitty's keyboard protocols lie on the stack."""
        depth = 0
        for sign in re.findall(rb"\x1b\[([<>])\d*u", self.output):
            depth = depth + 1 if sign == b">" else max(0, depth - 1)
        return depth

    def lives(self) -> bool:
        """Whether any process of the job does."""
        with (self.here / "alive").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait(self) -> str:
        """Wait for the end of the job; check the terminal; return what was printed after the dashboard had ended."""
        self.until(lambda: select.select([self.shell.stdout], [], [], 0)[0])
        self.status = int(self.shell.stdout.readline())
        self.until(lambda: not self.lives())
        self._stop_reading()
        assert termios.tcgetattr(self.slave) == self.before
        assert self.modes() == ON_AT_FIRST
        assert self.keyboards() == 0
        _, _, message = self.output.partition(b"\x1b[?1049l")
        return re.sub(r"\x1b\[[?<\d;]*[a-z]|\a", "", message.decode())

    def hang_up(self) -> None:
        """Close the terminal's window."""
        self._stop_reading()
        os.close(self.files.pop())

    def _stop_reading(self) -> None:
        if self.reader.is_alive():
            with contextlib.suppress(OSError):
                os.write(self.slave, b"\0")
            self.reader.join()

    def close(self) -> None:
        """End what still lives after a failed test."""
        with contextlib.suppress(ProcessLookupError):
            if self.status is None:
                os.kill(self.parent, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if self.lives():
                os.kill(self.view, signal.SIGKILL)
        self.shell.communicate()
        self._stop_reading()
        for file in self.files:
            os.close(file)


@pytest.fixture
def start(run: runs.Run, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: list[str], **environment: str) -> Terminal:
        opened.append(Terminal(run, tmp_path / str(len(opened)), *arguments, **environment))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.mark.slow
def test_q_and_ctrl_c_leave(start):
    for key, terminal in [(b"q", start(BY_COMMAND)), (b"\x03", start())]:
        terminal.shown().press(key)
        assert terminal.wait() == "", key
        assert terminal.status == 0, key
    assert [c for c in terminal.output.decode() if not c.isascii()] == []  # as it was called


@pytest.mark.slow
def test_a_signal_to_the_guard_ends_the_view(start):
    for name, terminal in [(name, start()) for name in ("SIGINT", "SIGTERM", "SIGHUP")]:
        os.kill(terminal.shown().parent, signal.Signals[name])
        assert terminal.wait() == "", name
        assert terminal.status == 0, name


@pytest.mark.slow
def test_a_closed_window_ends_everything(start):
    terminal = start(HURRY="1").shown()  # textual itself waits for ever for the terminal to take its last words
    terminal.hang_up()
    terminal.until(lambda: not terminal.lives())


def test_ctrl_c_before_the_view_has_taken_the_keyboard(start):
    terminal = start()
    terminal.until((terminal.here / "view").exists)
    terminal.press(b"\x03")
    assert terminal.wait() == ""
    assert b"Traceback" not in terminal.output
    assert terminal.status == 0


@pytest.mark.slow
def test_a_signal_to_the_view_ends_it(start):
    terminal = start()
    terminal.until((terminal.here / "view").exists)
    os.kill(terminal.view, signal.SIGINT)  # comes with a Ctrl-C; the parent process handles it
    os.kill(terminal.shown().view, signal.SIGTERM)
    assert terminal.wait() == ""
    assert terminal.status == 0


@pytest.mark.slow
def test_the_view_killed(start):
    terminal = start().shown()
    os.kill(terminal.view, signal.SIGSTOP)
    terminal.press(b"rm -r x\n")
    os.kill(terminal.view, signal.SIGKILL)
    message = terminal.wait()
    assert select.select([terminal.slave], [], [], 0)[0] == []  # what it had not read is no command for the shell
    assert message.startswith("trs: the dashboard was killed (signal 9)\r\nThe training is not affected.")
    assert message.endswith(f"trs watch {terminal.run.path}\r\n")
    assert terminal.status == 1


@pytest.mark.slow
def test_the_guard_killed(start):
    terminal = start().shown()
    os.kill(terminal.parent, signal.SIGKILL)
    assert terminal.wait() == ""


@pytest.mark.slow
def test_the_view_crashed(start):
    for debug, terminal in [(debug, start(TRS_DEBUG=str(debug))) for debug in (0, 1)]:
        (terminal.shown().here / "crash").touch()
        message = terminal.wait()
        assert "ZeroDivisionError: division by zero\r\nThe training is not affected." in message
        assert message.count("Traceback") == debug
        assert (message.count("\n") == 2) is (debug == 0)
        assert terminal.status == 1


@pytest.mark.slow
def test_a_view_that_does_not_react_is_killed(start):
    for name, terminal in [(name, start(HURRY="1")) for name in ("SIGTERM", "SIGKILL")]:
        (terminal.shown().here / "freeze").touch()
        terminal.until((terminal.here / "frozen").exists)
        os.kill(terminal.parent, signal.Signals[name])
        assert terminal.wait() == "", name
        assert terminal.status == {"SIGTERM": 0, "SIGKILL": -9}[name]


def test_without_a_terminal_there_is_nothing_to_guard(run, monkeypatch):
    seen = []
    monkeypatch.setattr(dashboard.Dashboard, "run", lambda app: seen.append(app.followed.run))
    assert tui.watch(run, readonly=True) == 0
    assert seen == [run]
