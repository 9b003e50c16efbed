"""The `trs` command. Torch and textual are imported inside commands only: `trs --help` answers at once.

Nothing large is imported before `main` runs, so that Ctrl-C never ends in a traceback.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
RANK_0_FIRST_S = 10.0


def main() -> None:
    """Run `trs`. Errors are one or two lines; exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        status = _run()
    except KeyboardInterrupt:
        status = INTERRUPTED
    raise SystemExit(status)


def _run() -> int:
    """Run the command line. Returns the exit status: also 1 if a command succeeded and its output could not be written."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
        os.environ["TRS_DEBUG"] = "1"  # for the dashboard, which is a process of its own
    from trs_explorer.cli import streams

    streams.prepare()
    status = _command(debug)
    error = streams.write_error()
    if error is not None:
        print(f"trs: cannot write to standard output: {error.strerror or error}", file=sys.stderr)
    return status or (FAILED if error else DONE)


def _command(debug: bool) -> int:
    with exit_on_interrupt():
        from typer import Abort

        from trs_explorer import plugins
        from trs_explorer.cli.app import app
        from trs_explorer.options import UsageError
        from trs_explorer.runs import RunError

    try:
        return int(app(standalone_mode=False) or DONE)
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        return int(end.code or DONE)
    except (KeyboardInterrupt, Abort):
        return INTERRUPTED
    except UsageError as error:
        return _fail(error, debug, WRONG_USAGE)
    except (RunError, OSError, RuntimeError, ValueError) as error:
        if hasattr(error, "format_message"):
            return _usage(error)
        return _fail(error, debug, FAILED)
    except MemoryError as error:
        return _fail(error, debug, FAILED)
    except Exception as error:
        if hasattr(error, "format_message"):
            return _usage(error)
        if plugins.where(error):
            return _fail(error, debug, FAILED)
        raise


@contextlib.contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process at once: for imports, which have nothing to save; an exception would make torch abort."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # SIGINT is ignored, or handled by the program that calls `main`
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _usage(error: Exception) -> int:
    """Print what Typer reports about a wrong command line, in one line. Its exceptions are recognised by this method."""
    message = error.format_message().rstrip(".")
    _let_rank_0_speak_first()
    if message:  # empty for bare `trs`, which has printed the help
        print(f"trs: {message}. See: trs --help", file=sys.stderr)
    return WRONG_USAGE


def started_by_torchrun() -> bool:
    """Whether torchrun has started this process beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def _let_rank_0_speak_first() -> None:
    """Under torchrun, wait for rank 0 if this is another process: what all have to say is then said once.

    For torchrun ends the others, silently, as soon as one has failed.
    """
    if started_by_torchrun() and os.environ.get("RANK") != "0":
        time.sleep(RANK_0_FIRST_S)


def _fail(error: Exception, debug: bool, status: int) -> int:
    """Print an error in one or two lines. Returns the exit status."""
    if debug:
        raise error
    _let_rank_0_speak_first()
    from trs_explorer.files import printable

    print("trs: " + "\n".join(map(printable, error_message(error).splitlines())), file=sys.stderr)
    return status


def error_message(error: Exception) -> str:
    """An error as text; for a file its name and what is wrong with it, without the system's error number.

    An error in code of others is named with the line of its file.
    """
    from trs_explorer.options import UsageError
    from trs_explorer.plugins import where
    from trs_explorer.runs import RunError

    if not isinstance(error, UsageError | RunError) and (line := where(error)):
        return line
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error) or type(error).__name__
