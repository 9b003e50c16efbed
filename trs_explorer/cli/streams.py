"""Standard output and error that never end a command: closed ones, pipes that nobody reads, and encodings with few letters."""

import codecs
import contextlib
import errno
import io
import os
import sys

# What the program itself prints beyond ASCII. Other letters, such as those of a folder's name, become \xe4 and the like.
WORDS = {"ε": "eps", "δ": "delta", "β": "beta", "λ": "lambda", "→": "->", "←": "<-", "↓": "v", "↑": "^", "…": "...", "–": "-"}
WORDS |= {"—": "-", "−": "-", "×": "x", "·": ".", "±": "+-", "≤": "<=", "≥": ">=", "≈": "~", "²": "^2", "∞": "inf", "✕": "x"}
GONE = (errno.EPIPE, errno.EIO)  # nobody reads any more: `| head`, or a terminal that was closed

_lost: list[OSError] = []


def prepare() -> None:
    """Give this process three standard streams that can be used whatever it was started with.

    One that is closed (`>&-`) leads nowhere. What an encoding lacks is written in words. Where nobody reads any more, the work
    goes on in silence; where the output cannot be written, too, and `lost` tells.
    """
    _lost.clear()
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))):
        if getattr(sys, name) is None:
            _point_nowhere(number, flags)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    codecs.register_error("trs-words", _in_words)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        if isinstance(getattr(buffer, "raw", buffer), io.FileIO):  # Windows' console is none
            stream.flush()
            file = _Patient(stream.fileno(), "w", closefd=False)
            unbuffered = isinstance(buffer, io.FileIO)  # as PYTHONUNBUFFERED asks
            own = {"line_buffering": name == "stderr" or stream.isatty(), "write_through": unbuffered}
            patient = io.TextIOWrapper(file if unbuffered else io.BufferedWriter(file), stream.encoding, "trs-words", **own)
            setattr(sys, name, patient)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="trs-words")


def lost() -> OSError | None:
    """Write what is still buffered; why something could not be written, None if everything was, or nobody reads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # ValueError: somebody has closed it
            stream.flush()
    return next(iter(_lost), None)


class _Patient(io.FileIO):
    """A file whose writes always seem to succeed: the first one that does not is kept, later ones lead nowhere."""

    def write(self, data) -> int:
        try:
            written = super().write(data)
        except OSError as error:
            _point_nowhere(self.fileno(), os.O_WRONLY)
            if error.errno not in GONE:
                _lost.append(error)
            return memoryview(data).nbytes
        return 0 if written is None else written


def _point_nowhere(number: int, flags: int) -> None:
    """Let a file descriptor lead to the null device, whether it is open or not."""
    nowhere = os.open(os.devnull, flags)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def _in_words(error: UnicodeError) -> tuple[str, int]:
    """What is written for letters that an encoding lacks: an error handler as `codecs.register_error` has it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(WORDS.get(one) or one.encode("ascii", "backslashreplace").decode() for one in letters), error.end
