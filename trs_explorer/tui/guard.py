"""Keeps the user's terminal whole: the dashboard is a child process, and whatever ends it, its parent puts the terminal back."""

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

GRACE_S = 3.0  # a view that was asked to leave and has not by then is stuck
REPORT_BYTES = 16_000  # a pipe takes so much without a reader, on every system
# What textual's Linux driver switches on, undone. A terminal ignores what is off already and what it does not know.
MODES_OFF = (
    "\x1b[?2026l"  # synchronized output ends: show what follows
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse; the last, positions in pixels, textual itself forgets
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # focus reports, bracketed paste, resize reports
    "\x1b[?7h\x1b[?25h\x1b[0m"  # line wrap, cursor, plain letters
)
# kitty's keyboard protocol, of which terminals keep a stack for each screen, so before the main screen
SCREEN_BACK = "\x1b[<u\x1b[?1049l"


def watch(
    run: Run, *, readonly: bool = False, owns_trainer: bool = False, ascii_only: bool = False, against: Run | None = None
) -> int:
    """Show `run` in the terminal until the user leaves; 0, or 1 if the dashboard crashed or was killed.

    Never ends the training by itself. readonly disables every control; owns_trainer says that the caller started the trainer
    (only the wording differs); ascii_only draws without any character beyond ASCII; against is a run to compare with.
    Whatever ends the view - a key, SIGINT, SIGTERM, SIGHUP, SIGKILL, an error in it - the terminal is then as it was before.
    """
    flags = {"readonly": readonly, "owns_trainer": owns_trainer, "ascii_only": ascii_only}
    before = attributes()
    if before is None:
        return _watch_here(run, against, flags)
    paths = {"run": str(run.path), "against": str(against.path) if against else None}
    return _watch_guarded({**paths, "flags": flags, "guard": os.getpid()}, before)


def _watch_here(run: Run, against: Run | None, flags: dict[str, bool]) -> int:
    # The guard itself works without textual, which costs a fifth of a second to import and is the child's business.
    from trs_explorer.tui.app import Dashboard  # noqa: PLC0415

    app = Dashboard(run, **flags, against=against)
    app.run()
    return app.return_code or 0


def _watch_guarded(arguments: dict[str, object], before: list) -> int:
    """Run the view as a child, put the terminal back after it, say what happened if it did not leave by itself."""
    receiver, sender = os.pipe()
    command = [*python_m("trs_explorer.tui"), json.dumps({**arguments, "report": sender})]
    # A blocked SIGINT is inherited: Ctrl-C while the view starts, before it has taken the keyboard, reaches this process only.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    # textual waits 100 ms after an escape for the rest of a sequence: long enough to be felt, and ten times what a line needs
    environment = {"ESCDELAY": "25", **os.environ}
    child = subprocess.Popen(command, pass_fds=[sender], env=environment)
    os.close(sender)
    with _passing_signals_on(child) as asked:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = child.wait()
        if status != 0:
            restore(before)
    with os.fdopen(receiver, encoding="utf-8", errors="replace") as pipe:
        report = pipe.read()
    if status == 0 or (status < 0 and asked):  # it may have been told to go before it could do so by itself
        return 0
    why = "\n".join(map(printable, report.splitlines())) or f"status {status}"
    what = f"was killed (signal {-status})" if status < 0 else f"crashed: {why}"
    again = f"trs watch {printable(shlex.quote(str(arguments['run'])))}"
    write(f"trs: the dashboard {what}\nThe training is not affected. Look on again: {again}\n")
    return 1


@contextlib.contextmanager
def _passing_signals_on(child: subprocess.Popen) -> Iterator[list[int]]:
    """While inside, whoever ends this process ends the view instead: it is asked, and killed if it does not react."""
    asked: list[int] = []
    killer = threading.Timer(GRACE_S, child.kill)
    killer.daemon = True

    def pass_on(number: int, frame: object) -> None:
        del frame
        child.send_signal(signal.SIGTERM if number == signal.SIGINT else number)
        if not asked:
            killer.start()
        asked.append(number)

    heard = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, pass_on) for number in heard}  # ignored from the start, as by nohup: stays ignored
    try:
        yield asked
    finally:
        killer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def attributes() -> list | None:
    """What the terminal is set to, None where there is none to guard."""
    if termios is None:
        return None
    try:
        return termios.tcgetattr(sys.__stdin__.fileno())
    except (termios.error, OSError, ValueError, AttributeError):
        return None


def restore(before: list) -> None:
    """Put the terminal back. Does no harm to one that is in order already, or gone."""
    with contextlib.suppress(termios.error):
        termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSADRAIN, before)
    write(SCREEN_BACK + MODES_OFF)
    with contextlib.suppress(termios.error):  # keys and mouse reports that the view did not live to read are no commands
        termios.tcflush(sys.__stdin__.fileno(), termios.TCIFLUSH)


def write(text: str) -> None:
    """Write to where the dashboard draws, whatever `sys.stderr` is meanwhile; nothing if the terminal is gone."""
    with contextlib.suppress(OSError):
        os.write(sys.__stderr__.fileno(), text.encode(errors="replace"))
