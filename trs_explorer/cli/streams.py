"""Standard streams that never end a command: not when closed, in a broken pipe, or with an encoding of few characters."""

import codecs
import contextlib
import errno
import io
import os
import sys

# Substitutes for the non-ASCII characters that the program prints. Others, as in a folder's name, become \xe4 and the like.
SUBSTITUTES = {
    "ε": "eps",
    "δ": "delta",
    "β": "beta",
    "λ": "lambda",
    "→": "->",
    "←": "<-",
    "↓": "v",
    "↑": "^",
    "…": "...",
    "–": "-",
}
SUBSTITUTES |= {
    "—": "-",
    "−": "-",
    "×": "x",
    "·": ".",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "²": "^2",
    "∞": "inf",
    "✕": "x",
}
GONE = (errno.EPIPE, errno.EIO)  # the reader is gone: `| head`, or a closed terminal

_errors: list[OSError] = []


def prepare() -> None:
    """Give this process three usable standard streams, whatever it was started with.

    A closed stream (`>&-`) becomes the null device. Characters that the encoding lacks are replaced. After a write fails the
    command continues without output; `write_error` returns the error, unless only the reader is gone.
    """
    _errors.clear()
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))):
        if getattr(sys, name) is None:
            _point_to_null(number, flags)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    codecs.register_error("trs-substitutes", _replace)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        if isinstance(getattr(buffer, "raw", buffer), io.FileIO):  # Windows' console is not
            stream.flush()
            file = _IgnoringErrors(stream.fileno(), "w", closefd=False)
            unbuffered = isinstance(buffer, io.FileIO)  # as PYTHONUNBUFFERED asks
            options = {"line_buffering": name == "stderr" or stream.isatty(), "write_through": unbuffered}
            wrapped = io.TextIOWrapper(
                file if unbuffered else io.BufferedWriter(file), stream.encoding, "trs-substitutes", **options
            )
            setattr(sys, name, wrapped)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="trs-substitutes")


def write_error() -> OSError | None:
    """Flush the streams. Returns the first error of a write; None if all was written, or the reader is gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            stream.flush()
    return next(iter(_errors), None)


class _IgnoringErrors(io.FileIO):
    """A file whose writes always seem to succeed: the first error is recorded, later writes go to the null device."""

    def write(self, data) -> int:
        try:
            written = super().write(data)
        except OSError as error:
            _point_to_null(self.fileno(), os.O_WRONLY)
            if error.errno not in GONE:
                _errors.append(error)
            return memoryview(data).nbytes
        return 0 if written is None else written


def _point_to_null(number: int, flags: int) -> None:
    """Point a file descriptor, open or not, to the null device."""
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks: an error handler for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(SUBSTITUTES.get(one) or one.encode("ascii", "backslashreplace").decode() for one in characters), error.end
