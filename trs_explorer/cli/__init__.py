"""The `trs` command. Torch and textual are imported inside commands only: `trs --help` answers at once."""

import os
import sys

from trs_explorer.options import UsageError
from trs_explorer.runs import RunError


def main() -> None:
    """Run `trs`. Errors are one or two lines; exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    from trs_explorer.cli.app import app

    try:
        app()
    except UsageError as error:
        _fail(error, debug, 2)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except (RunError, OSError, RuntimeError, ValueError) as error:
        _fail(error, debug, 1)


def _fail(error: Exception, debug: bool, status: int) -> None:
    if debug:
        raise error
    print(f"trs: {error}", file=sys.stderr)
    raise SystemExit(status)
