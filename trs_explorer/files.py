"""Files that survive a crash, files that a stranger may have made, and JSON that may be damaged."""

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

Json = dict[str, Any]
MOST_JSON = 1 << 20  # bytes of a config or a status: real ones have two thousand


def printable(text: object) -> str:
    """A text that any terminal can show: what is no printable character (control, surrogate, direction) as an escape.

    A byte of a file's name that is no UTF-8 is given as that byte: \\xff. What is printable already stays as it is.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that it cannot decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def write_atomically(path: Path, write: Callable[[Path], object], *, sync: bool = True) -> None:
    """Let `write` fill a temporary file beside path, make it durable, rename it to path. On error nothing is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # never write through a link that somebody has left there
    try:
        write(temporary)
        if sync:
            _fsync(temporary)
        temporary.replace(path)
        if sync:
            _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def open_for_reading(path: Path) -> BinaryIO:
    """Open a regular file for reading, without waiting for the other end of a pipe.

    A link is followed: runs may live on another disk. Raises: OSError if it cannot be opened or is no regular file.
    """
    return os.fdopen(_open_regular(path, os.O_RDONLY), "rb")


def open_for_appending(path: Path) -> BinaryIO:
    """Open a regular file for appending, made if it is not there. Raises: OSError for a link or anything but a regular file."""
    return os.fdopen(_open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)), "ab")


def read_bytes(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes. Raises: OSError if it is larger, no regular file, or cannot be read."""
    with open_for_reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
    if size > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", str(path))
    return content


def _open_regular(path: Path, flags: int) -> int:
    """Open with flags, never blocking; the descriptor of a regular file, or OSError in words."""
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # some systems have none of the first two, most none of the third
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO) and path.is_symlink():
            raise OSError(error.errno, "it is a link: not followed", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return handle


def _fsync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # directories cannot be opened there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path, most: int = MOST_JSON) -> Json | None:
    """The object in a JSON file (UTF-8, a byte order mark allowed) of at most `most` bytes.

    None if the file is missing, damaged, too large, not a regular file, or holds something else.
    """
    try:
        value = json_or_none(read_bytes(path, most).decode("utf-8-sig"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def json_or_none(text: bytes | str) -> Any:
    """A text's JSON value; None if it is damaged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_lines(lines: list[bytes]) -> list[Any]:
    """Every line's JSON value, None for a damaged one. All lines at once is faster, and nearly always possible."""
    with contextlib.suppress(ValueError):
        values: list[Any] = orjson.loads(b"[" + b",".join(lines) + b"]")
        if len(values) == len(lines):
            return values
    return [json_or_none(line) for line in lines]


def finite(value: Any, name: str, bad: list[str]) -> Any:
    """A value with null for every NaN and infinity in it; their names, from `name` on, are added to bad."""
    if isinstance(value, float) and not math.isfinite(value):
        bad.append(name)
        return None
    if isinstance(value, Mapping):
        return {key: finite(item, f"{name}.{key}", bad) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item, f"{name}[{i}]", bad) for i, item in enumerate(value)]
    return value
