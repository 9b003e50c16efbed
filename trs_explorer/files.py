"""Files that survive a crash, files that a stranger may have made, and JSON that may be damaged."""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

Json = dict[str, Any]
MOST_JSON = 1 << 20  # bytes of a config or a status: real ones have two thousand


def printable(text: object) -> str:
    """A text that any terminal can show: what is no printable character (control, surrogate, direction) as an escape.

    A byte of a file's name that is no UTF-8 is given as that byte, in hex. What is printable already stays as it is.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that it cannot decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def natural_order(name: str) -> tuple[list[str | int], str]:
    """The key by which names are sorted as people number things: a-2 before a-10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))], name


def reason(error: OSError) -> str:
    """What the system says of an error, without the number and the path."""
    return printable(error.strerror or error)


def cannot_write(path: Path, error: OSError, then: str = "") -> str:
    """One line for something that could not be written: where, why, and the way out, which depends on why.

    then: what to do after that, such as "continue with --resume RUN".
    """
    why, way_out = reason(error), _WAYS_OUT.get(error.errno or 0, "")
    if error.errno in (errno.EINVAL, errno.ELOOP) and isinstance(error.filename, str):
        path = Path(error.filename)
    if error.errno in (errno.ENOENT, errno.ESTALE) and not os.path.lexists(path):
        why, way_out = "it was removed or moved meanwhile", "Put it back"
    ways = ", then ".join(part for part in (way_out, then) if part)
    return f"cannot write to {printable(path)}: {why}{'. ' + ways[0].upper() + ways[1:] if ways else ''}"


_WAYS_OUT = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room, or have the quota raised",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "Get permission to write there",
    errno.EPERM: "Get permission to write there",
    errno.EROFS: "Make the disk writable",
    errno.EEXIST: "Move the file, or the link that leads nowhere, out of the way",
    errno.ENOTDIR: "Move the file that is in the way of a folder",
    errno.EISDIR: "Move the folder that is in the way of a file",
    errno.EINVAL: "Move it out of the way",  # with ELOOP what `open_for_appending` refuses
    errno.ELOOP: "Move it out of the way",
}


def is_regular(path: Path) -> bool:
    """Whether path, or what a link there leads to, is a regular file. False for what cannot be looked at."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def write_atomically(path: Path, write: Callable[[Path], object], *, sync: bool = True) -> None:
    """Let `write` fill a temporary file beside path, make it durable, rename it to path. On error nothing is left.

    What a process leaves that is killed in it: see `leftovers`.
    """
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


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file, of which no more than a block is held. Raises: OSError."""
    digest = hashlib.sha256()
    with open_for_reading(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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

    None if the file is missing, damaged, too large, not a regular file, or holds something else. Numbers as in `json_or_none`.
    """
    try:
        value = json_or_none(read_bytes(path, most).decode("utf-8-sig"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_report(path: Path, most: int = MOST_JSON) -> Json | None:
    """What `read_json` gives, to be shown: a lone surrogate, which nothing can print or send, is a question mark."""
    value = read_json(path, most)
    try:
        orjson.dumps(value)
    except TypeError:  # a surrogate, or nested deep
        try:
            value = json_or_none(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
        except RecursionError:
            return None
    return value


def json_or_none(text: bytes | str) -> Any:
    """A text's JSON value; None if it is damaged.

    A number too large for a float is NaN, and so is an infinity: a whole number of 400 digits, or int(inf), breaks whatever
    computes with it. A whole number of more than 64 bits is a float.
    """
    try:
        return orjson.loads(text)  # as strict as fast: the other one also reads NaN, and surrogates in the names of files
    except ValueError:
        pass
    try:
        return json.loads(text, parse_int=_whole, parse_float=_number, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        return None


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= 20 and -(1 << 63) <= int(text) < 1 << 64 else _number(text)


def _number(text: str) -> float:
    return value if math.isfinite(value := float(text)) else math.nan


def parse_lines(lines: list[bytes]) -> list[Any]:
    """Every line's JSON value, None for a damaged one: NaN, too large a number and a lone surrogate are damage too.

    All lines at once is faster, and nearly always possible.
    """
    with contextlib.suppress(ValueError):
        values: list[Any] = orjson.loads(b"[" + b",".join(lines) + b"]")
        if len(values) == len(lines):
            return values
    return [_parsed(line) for line in lines]


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:
        return None


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
