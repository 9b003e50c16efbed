"""What the server says in the terminal: short lines, in which nothing that was asked for can be an escape sequence."""

import logging
import os

from flask.logging import default_handler

from trs_explorer.files import printable


class _Brief(logging.Formatter):
    """A failed request in one line; with --debug its traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        if not record.exc_info or os.environ.get("TRS_DEBUG") == "1":
            return "\n".join(map(printable, super().format(record).split("\n")))
        kind, error, _ = record.exc_info
        words = " ".join(f"{kind.__name__}: {error}".split())[:300]
        return printable(f"trs: a request failed: {words} (--debug shows where)")


LINES = _Brief("%(levelname)s: %(message)s")


def quiet_waitress() -> None:
    """Let waitress say what has failed, in our lines; with --debug its warnings too."""
    log = logging.getLogger("waitress")
    if os.environ.get("TRS_DEBUG") != "1":
        log.setLevel(logging.ERROR)  # it warns whenever requests wait for a thread
    default_handler.setFormatter(LINES)
    log.addHandler(default_handler)  # which is there only once, however often it is added
