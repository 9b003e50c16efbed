"""Run a command in a pseudo-terminal, press keys, and time when a text appears."""

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
REMOVED_VARIABLES = ("COLUMNS", "LINES", "NO_COLOR", "ESCDELAY", "TEXTUAL_FPS")  # they would change what is measured
ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor moves, modes
    r"|\x1b[\]P_^X].*?(?:\x07|\x1b\\)"  # titles and other strings
    r"|\x1b[ -/]*[0-~]",  # two characters
    re.DOTALL,
)


def stripped(output: bytes) -> str:
    """The text in a terminal's output without its escape sequences. Nothing separates the rows."""
    return ESCAPES.sub("", output.decode(errors="replace"))


def cpu_seconds(pid: int, proc: Path = Path("/proc")) -> float | None:
    """User and system time of a process and its descendants, ended ones included; None where there is no /proc."""
    if not (proc / "self" / "stat").exists():
        return None
    parents, ticks = {}, {}
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)], ticks[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))

    def below(parent: int) -> int:
        return ticks.get(parent, 0) + sum(below(child) for child, its_parent in parents.items() if its_parent == parent)

    return below(pid) / os.sysconf("SC_CLK_TCK")


class Terminal:
    """A running command and its output since `forget`. As a context manager it ends the command with the block."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start a command in its own terminal. Raises UsageError if the machine has no terminal left."""
        try:
            self._master, slave = pty.openpty()
        except OSError as error:
            raise UsageError(f"this machine has no free pseudo-terminal: {error}") from error
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._output = bytearray()
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            # the first terminal that a new session opens controls it: the shell opens it and becomes the command
            ["/bin/sh", "-c", f'exec "$@" <>{os.ttyname(slave)} >&0 2>&0', "sh", *command],
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k not in REMOVED_VARIABLES} | {"TERM": "xterm-256color"},
        )
        self._slave = slave  # kept open: reading the master fails once nobody has the slave open

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
        """Type keys."""
        os.write(self._master, keys.encode())

    def forget(self) -> None:
        """Drop the output so far."""
        self.read(0)
        self._output.clear()

    def read(self, seconds: float) -> float:
        """Read the output for that time, or until a burst of it ends. Returns when the last of it arrived."""
        last = time.perf_counter()
        while select.select([self._master], [], [], seconds)[0]:
            self._output += os.read(self._master, 1 << 16)
            last, seconds = time.perf_counter(), 0
        return last

    def watch(self, seconds: float) -> None:
        """Let that time pass and drop the output."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self.read(left)
            self._output.clear()

    def wait_for(self, text: str, timeout: float = 60) -> float:
        """Wait for a text; returns when it appeared. Raises RunError if the command ends first, or after `timeout` seconds."""
        until = time.perf_counter() + timeout
        while time.perf_counter() < until:
            last = self.read(0.05)
            if text in (output := stripped(self._output)):
                return last
            if self._process.poll() is not None:
                raise RunError(f"the command ended before it showed {text!r}: {' '.join(output.split())[-300:]}")
        raise RunError(f"the command did not show {text!r} in {timeout:.0f} s")

    def cpu_seconds(self) -> float | None:
        """CPU time so far of the command and all its descendants; None where the system does not provide it."""
        return cpu_seconds(self._process.pid)
