"""Run the dashboard in a child process and restore the terminal afterwards, whatever ended it."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from trs_explorer.files import printable
from trs_explorer.runs import Run
from trs_explorer.shipped import python_m

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

GRACE_S = 3.0  # a dashboard that has not left this long after it was told to is stuck
REPORT_BYTES = 16_000  # a pipe holds that much without a reader on every system
# Switches off what textual's Linux driver switches on. A terminal ignores what is off already and what it does not know.
MODES_OFF = (
    "\x1b[?2026l"  # synchronized output off: show what follows
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse; textual itself forgets the last one, positions in pixels
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # focus reports, bracketed paste, resize reports
    "\x1b[?7h\x1b[?25h\x1b[0m"  # line wrap, cursor, plain text
)
# kitty's keyboard protocol, then the main screen: in this order, because terminals keep a keyboard stack for each screen
SCREEN_BACK = "\x1b[<u\x1b[?1049l"


def watch(
    run: Run,
    *,
    readonly: bool = False,
    owns_trainer: bool = False,
    leaves_at_end: bool = False,
    ascii_only: bool = False,
    against: Run | None = None,
) -> int:
    """Show the dashboard of a run until the user leaves. It never ends the training by itself.

    readonly: disable all controls.
    owns_trainer: the caller started the trainer (only the wording differs).
    leaves_at_end: leave by itself when the training has ended: the caller has another one to show.
    ascii_only: use only ASCII characters.
    against: a run to compare with.

    Whatever ends the dashboard (a key, SIGINT, SIGTERM, SIGHUP, SIGKILL, an error), the terminal is restored.
    Returns 0, or 1 if the dashboard crashed or was killed.
    """
    flags = {"readonly": readonly, "owns_trainer": owns_trainer, "leaves_at_end": leaves_at_end, "ascii_only": ascii_only}
    before = terminal_attributes()
    if before is None:
        return _watch_here(run, against, flags)
    paths = {"run": str(run.path), "against": str(against.path) if against else None}
    return _watch_in_child({**paths, "flags": flags, "parent": os.getpid()}, before)


def _watch_here(run: Run, against: Run | None, flags: dict[str, bool]) -> int:
    # Not at the top: the parent process never needs textual, which takes a fifth of a second to import.
    from trs_explorer.tui.app import Dashboard  # noqa: PLC0415

    app = Dashboard(run, **flags, against=against)
    app.run()
    return app.return_code or 0


def _watch_in_child(arguments: dict[str, object], before: list) -> int:
    """Run the dashboard as a child process and restore the terminal after it; report a crash."""
    receiver, sender = os.pipe()
    command = [*python_m("trs_explorer.tui"), json.dumps({**arguments, "report": sender})]
    # The child inherits a blocked SIGINT: a Ctrl-C before it reads the keyboard reaches only this process.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    # textual waits 100 ms after an escape for the rest of a sequence: noticeable, and ten times what a terminal line needs
    environment = {"ESCDELAY": "25", **os.environ}
    child = subprocess.Popen(command, pass_fds=[sender], env=environment)
    os.close(sender)
    with _forward_signals(child) as forwarded:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = child.wait()
        if status != 0:
            restore(before)
    with os.fdopen(receiver, encoding="utf-8", errors="replace") as pipe:
        report = pipe.read()
    if status == 0 or (status < 0 and forwarded):  # it may have been told to leave before it could handle the signal
        return 0
    why = "\n".join(map(printable, report.splitlines())) or f"status {status}"
    what = f"was killed (signal {-status})" if status < 0 else f"crashed: {why}"
    again = f"trs watch {printable(shlex.quote(str(arguments['run'])))}"
    write(f"trs: the dashboard {what}\nThe training is not affected. Watch it again: {again}\n")
    return 1


@contextlib.contextmanager
def _forward_signals(child: subprocess.Popen) -> Iterator[list[int]]:
    """Forward signals that would end this process to the child, and kill it if it does not react. Gives the forwarded ones."""
    forwarded: list[int] = []
    killer = threading.Timer(GRACE_S, child.kill)
    killer.daemon = True

    def forward(number: int, frame: object) -> None:
        del frame
        child.send_signal(signal.SIGTERM if number == signal.SIGINT else number)
        if not forwarded:
            killer.start()
        forwarded.append(number)

    previous = {number: signal.signal(number, forward) for number in not_ignored("SIGINT", "SIGTERM", "SIGHUP")}
    try:
        yield forwarded
    finally:
        killer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def not_ignored(*names: str) -> list[int]:
    """The signals of those names that exist on this system and are not ignored from the start, as by nohup."""
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def terminal_attributes() -> list | None:
    """The terminal's settings, None if there is no terminal."""
    if termios is None:
        return None
    try:
        return termios.tcgetattr(sys.__stdin__.fileno())
    except (termios.error, OSError, ValueError, AttributeError):
        return None


def restore(before: list) -> None:
    """Restore the terminal. Harmless if it is in order already, or gone."""
    with contextlib.suppress(termios.error):
        termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSADRAIN, before)
    write(SCREEN_BACK + MODES_OFF)
    with contextlib.suppress(
        termios.error
    ):  # drop keys and mouse reports that the dashboard did not read: the shell must not take them for commands
        termios.tcflush(sys.__stdin__.fileno(), termios.TCIFLUSH)


def write(text: str) -> None:
    """Write to the terminal, even if `sys.stderr` was replaced; does nothing if the terminal is gone."""
    with contextlib.suppress(OSError):
        os.write(sys.__stderr__.fileno(), text.encode(errors="replace"))
