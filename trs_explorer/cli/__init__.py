"""The `trs` command. Torch and textual are imported inside commands only: `trs --help` answers at once."""

import os
import sys

from trs_explorer.options import UsageError
from trs_explorer.runs import RunError

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main() -> None:
    """Run `trs`. Errors are one or two lines; exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
        os.environ["TRS_DEBUG"] = "1"  # for the dashboard, which is a process of its own
    from typer import Abort

    from trs_explorer.cli.app import app

    try:
        raise SystemExit(app(standalone_mode=False) or DONE)
    except (KeyboardInterrupt, Abort):
        raise SystemExit(INTERRUPTED) from None
    except UsageError as error:
        _fail(error, debug, WRONG_USAGE)
    except (RunError, OSError, RuntimeError, ValueError) as error:
        if hasattr(error, "format_message"):
            _usage(error)
        _fail(error, debug, FAILED)
    except MemoryError as error:
        _fail(error, debug, FAILED)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _usage(error)


def _usage(error: Exception) -> None:
    """What Typer finds wrong with a command line, in one line. Its exceptions have moved between modules: by their method."""
    message = error.format_message().rstrip(".")
    if message:  # bare `trs` has printed the help and has none
        print(f"trs: {message}. See: trs --help", file=sys.stderr)
    raise SystemExit(WRONG_USAGE)


def _fail(error: Exception, debug: bool, status: int) -> None:
    if debug:
        raise error
    print(f"trs: {error or type(error).__name__}", file=sys.stderr)
    raise SystemExit(status)
