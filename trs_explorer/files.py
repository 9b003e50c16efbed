"""Files that survive a crash, and JSON that may be damaged."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]


def write_atomically(path: Path, write: Callable[[Path], object], *, sync: bool = True) -> None:
    """Let `write` fill a temporary file beside path, make it durable, rename it to path. On error nothing is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        if sync:
            _fsync(temporary)
        temporary.replace(path)
        if sync:
            _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # directories cannot be opened there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path) -> Json | None:
    """The object in a JSON file; None if the file is missing, damaged, or holds something else."""
    try:
        value = json_or_none(path.read_text())
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
