"""The server's log in the terminal: short lines; nothing from a request can inject a terminal escape sequence."""

import logging
import os

from flask.logging import default_handler

from trs_explorer.files import printable


class _BriefFormatter(logging.Formatter):
    """Format a failed request as one line; with --debug, include its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        if not record.exc_info or os.environ.get("TRS_DEBUG") == "1":
            return "\n".join(map(printable, super().format(record).split("\n")))
        kind, error, _ = record.exc_info
        message = " ".join(f"{kind.__name__}: {error}".split())[:300]
        return printable(f"trs: a request failed: {message} (--debug shows where)")


FORMATTER = _BriefFormatter("%(levelname)s: %(message)s")


def quiet_waitress() -> None:
    """Let waitress log errors in our format; with --debug, warnings too."""
    log = logging.getLogger("waitress")
    if os.environ.get("TRS_DEBUG") != "1":
        log.setLevel(logging.ERROR)  # it warns whenever requests wait for a thread
    default_handler.setFormatter(FORMATTER)
    log.addHandler(default_handler)  # adding it twice has no effect
