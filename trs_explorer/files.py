"""Crash-safe writing of files, and safe reading of files and JSON that may be damaged or hostile."""

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
MAX_JSON_BYTES = 1 << 20  # of a config or a status; real ones have two thousand


def printable(text: object) -> str:
    """The text with escapes for all unprintable characters (control, surrogate, direction), so that any terminal can show it.

    A byte of a file's name that is not UTF-8 becomes that byte in hex. Printable text stays as it is.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that it cannot decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def natural_order(name: str) -> tuple[list[str | int], str]:
    """The sort key for names with numbers in them: a-2 before a-10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))], name


def reason(error: OSError) -> str:
    """The system's message for an error, without the number and the path."""
    return printable(error.strerror or error)


def cannot_write(path: Path, error: OSError, then: str = "") -> str:
    """The one-line message for a failed write: where, why, and the remedy.

    then: what to do after the remedy, such as "continue with --resume RUN".
    """
    why, remedy = reason(error), _REMEDIES.get(error.errno or 0, "")
    if error.errno in (errno.EINVAL, errno.ELOOP) and isinstance(error.filename, str):
        path = Path(error.filename)
    if error.errno in (errno.ENOENT, errno.ESTALE) and not os.path.lexists(path):
        why, remedy = "it was removed or moved meanwhile", "Put it back"
    steps = ", then ".join(part for part in (remedy, then) if part)
    return f"cannot write to {printable(path)}: {why}{'. ' + steps[0].upper() + steps[1:] if steps else ''}"


_REMEDIES = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room, or have the quota raised",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "Get permission to write there",
    errno.EPERM: "Get permission to write there",
    errno.EROFS: "Make the disk writable",
    errno.EEXIST: "Move the file, or the link that leads nowhere, out of the way",
    errno.ENOTDIR: "Move the file that is in the way of a folder",
    errno.EISDIR: "Move the folder that is in the way of a file",
    errno.EINVAL: "Move it out of the way",  # with ELOOP: refused by `open_for_appending`
    errno.ELOOP: "Move it out of the way",
}


def is_regular(path: Path) -> bool:
    """Whether path, or the target of a link there, is a regular file. False if this cannot be found out."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def write_atomically(path: Path, write: Callable[[Path], object], *, sync: bool = True) -> None:
    """Replace the file at path in one step: `write` fills a temporary file beside it, which is synced and renamed.

    On error nothing is left. A process that is killed here leaves the temporary file: see `leftovers`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # never write through a link at this path
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
    """Open a regular file for reading; never block on a pipe. Links are followed: runs may be on another disk.

    Raises: OSError if it cannot be opened or is not a regular file.
    """
    return os.fdopen(_open_regular(path, os.O_RDONLY), "rb")


def open_for_appending(path: Path) -> BinaryIO:
    """Open a regular file for appending; create it if it does not exist. Raises: OSError for a link or another kind of file."""
    return os.fdopen(_open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)), "ab")


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes. Raises: OSError if it is larger, not a regular file, or cannot be read."""
    with open_for_reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else b""
    if size > limit or len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))
    return content


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file, read block by block. Raises: OSError."""
    digest = hashlib.sha256()
    with open_for_reading(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _open_regular(path: Path, flags: int) -> int:
    """Open a regular file with flags, never blocking. Returns the descriptor. Raises: OSError with a readable message."""
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # not every system has these flags
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


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> Json | None:
    """The object in a JSON file (UTF-8, a byte order mark allowed) of at most `limit` bytes.

    None if the file is missing, damaged, too large, not a regular file, or holds another JSON value. Numbers: see `json_or_none`.
    """
    try:
        value = json_or_none(read_bytes(path, limit).decode("utf-8-sig"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_report(path: Path, limit: int = MAX_JSON_BYTES) -> Json | None:
    """As `read_json`, for display: a lone surrogate, which cannot be printed or sent, becomes a question mark."""
    value = read_json(path, limit)
    try:
        orjson.dumps(value)
    except TypeError:  # a surrogate, or nested deep
        try:
            value = json_or_none(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
        except RecursionError:
            return None
    return value


def json_or_none(text: bytes | str) -> Any:
    """Parse JSON; None if it is damaged.

    Numbers too large for a float and infinities become NaN: an integer of 400 digits, or int(inf), would break the code that
    computes with it. Integers of more than 64 bits become floats.
    """
    try:
        return orjson.loads(text)  # fast and strict; the other parser also reads NaN, and surrogates in the names of files
    except ValueError:
        pass
    try:
        return json.loads(text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        return None


def _parse_int(text: str) -> int | float:
    return int(text) if len(text) <= 20 and -(1 << 63) <= int(text) < 1 << 64 else _parse_float(text)


def _parse_float(text: str) -> float:
    return value if math.isfinite(value := float(text)) else math.nan


def parse_lines(lines: list[bytes]) -> list[Any]:
    """Parse every line as JSON; None for a damaged one. NaN, too large a number and a lone surrogate are damage, too.

    All lines are parsed in one call if possible, which is faster.
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
    """The value with null in place of every NaN and infinity. Their names, which begin with `name`, are added to bad."""
    if isinstance(value, float) and not math.isfinite(value):
        bad.append(name)
        return None
    if isinstance(value, Mapping):
        return {key: finite(item, f"{name}.{key}", bad) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item, f"{name}[{i}]", bad) for i, item in enumerate(value)]
    return value
