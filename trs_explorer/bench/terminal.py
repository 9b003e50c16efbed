"""A command in a pseudo-terminal, as a user has it: keys go in, and when a text came out is known."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from trs_explorer.options import UsageError
from trs_explorer.runs import RunError

COLUMNS, ROWS = 160, 48
LEFT_OUT = ("COLUMNS", "LINES", "NO_COLOR", "ESCDELAY", "TEXTUAL_FPS")  # variables that would change what is measured
ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, moves, modes
    r"|\x1b[\]P_^X].*?(?:\x07|\x1b\\)"  # titles and other strings
    r"|\x1b[ -/]*[0-~]",  # two characters
    re.DOTALL,
)


def stripped(output: bytes) -> str:
    """The text in a terminal's output, without its escape sequences. Rows follow each other with nothing between them."""
    return ESCAPES.sub("", output.decode(errors="replace"))


def cpu_seconds(pid: int, proc: Path = Path("/proc")) -> float | None:
    """User and system time of a process and all below it, those that have ended too; None where there is no /proc."""
    if not (proc / "self" / "stat").exists():
        return None
    parents, ticks = {}, {}
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)], ticks[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))

    def below(parent: int) -> int:
        return ticks.get(parent, 0) + sum(below(child) for child, its in parents.items() if its == parent)

    return below(pid) / os.sysconf("SC_CLK_TCK")


class Terminal:
    """A running command and what it has written since `forget`. A context: it ends with the block."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start command in a terminal of its own. Raises UsageError if the machine has none left to give."""
        try:
            self._master, slave = pty.openpty()
        except OSError as error:
            raise UsageError(f"no pseudo-terminal to be had on this machine: {error}") from error
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._output = bytearray()
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            # a new session's first terminal becomes the one that controls it: the shell opens it, then is the command
            ["/bin/sh", "-c", f'exec "$@" <>{os.ttyname(slave)} >&0 2>&0', "sh", *command],
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k not in LEFT_OUT} | {"TERM": "xterm-256color"},
        )
        self._slave = slave  # kept open: the master gives an error once nobody has the other end

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        deadline = time.perf_counter() + 5
        for name in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, name)
            while self._process.poll() is None and time.perf_counter() < deadline:
                self.read(0.05)
        self._process.wait()
        os.close(self._slave)
        os.close(self._master)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def forget(self) -> None:
        """Drop what has been written so far."""
        self.read(0)
        self._output.clear()

    def read(self, seconds: float) -> float:
        """Take in what is written in that time, or until a burst of output ends. Returns the moment of the last of it."""
        moment = time.perf_counter()
        while select.select([self._master], [], [], seconds)[0]:
            self._output += os.read(self._master, 1 << 16)
            moment, seconds = time.perf_counter(), 0
        return moment

    def watch(self, seconds: float) -> None:
        """Let that time pass and drop what is written."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self.read(left)
            self._output.clear()

    def shown(self, text: str, patience: float = 60) -> float:
        """The moment at which text has come. Raises RunError if the command ends before, or after `patience` seconds."""
        until = time.perf_counter() + patience
        while time.perf_counter() < until:
            moment = self.read(0.05)
            if text in (output := stripped(self._output)):
                return moment
            if self._process.poll() is not None:
                raise RunError(f"the command ended before it showed {text!r}: {' '.join(output.split())[-300:]}")
        raise RunError(f"the command did not show {text!r} in {patience:.0f} s")

    def cpu_seconds(self) -> float | None:
        """Time on a processor so far, of the command and all that it started; None where the system does not tell."""
        return cpu_seconds(self._process.pid)
