"""A run's log and what viewers ask of its trainer: files of one JSON object a line, appended to by one and read by many.

Whatever is in them, no more than a block of their text is held at a time.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from trs_explorer.files import Json, finite, is_regular, open_for_appending, open_for_reading, parse_lines

LONGEST = 1 << 20  # bytes of a line with its newline, and of a block: ours have a few thousand, a longer one is damaged
ENDLESS = 1 << 28  # bytes after which the rest of a line counts as another: whoever asks again and again gets on


class Folder(Protocol):
    """A run, as far as is needed here."""

    @property
    def path(self) -> Path:
        """The run's folder."""


@dataclass(frozen=True)
class Batch:
    """Events read, where to read on, and how many lines were not readable."""

    events: list[Json]
    offset: int
    damaged: int


# --- events ----------------------------------------------------------------------------------------------------------


class EventWriter:
    """Appends events, one flushed line each. Opening it cuts off a last line that a crash left torn."""

    def __init__(self, run: Folder) -> None:
        """Open run's log for appending. Raises OSError if it cannot be written, or is a link or no regular file."""
        self._file = _append_after_whole_lines(run.path / "events.jsonl")

    def write(self, kind: str, **fields: object) -> Json:
        """Write and return one event. NaN and infinities become null; "nonfinite" then names where they were."""
        event: Json = {"v": 1, "kind": kind, "t": round(time.time(), 3)}
        bad: list[str] = []
        event.update({name: finite(value, name, bad) for name, value in fields.items()})
        if bad:
            event["nonfinite"] = bad
        self._file.write(_as_line(event))
        self._file.flush()
        return event

    def close(self) -> None:
        """Close the file. A line that a full disk did not take is lost: whoever wrote it was told."""
        with contextlib.suppress(OSError):
            self._file.close()


def read_events(run: Folder, offset: int = 0, size: int = -1) -> Batch:
    """Whole events from a byte offset on (negative: from the end), of `size` bytes at most. A torn last line waits.

    See `read_lines`. Raises: OSError.
    """
    return read_lines(run.path / "events.jsonl", offset, size)


# --- control ---------------------------------------------------------------------------------------------------------


def request(run: Folder, action: str, **fields: object) -> None:
    """Ask run's trainer for something: pause, resume, save, stop, note (text), set (name, value)."""
    asked: Json = {"v": 1, "kind": "control", "t": round(time.time(), 3), "action": action, **fields}
    with open_for_appending(run.path / "control.jsonl") as file:
        file.write(_as_line(asked))


class ControlReader:
    """New requests since the trainer started; what was asked of a trainer that is gone is not carried out.

    Whatever becomes of the file, it is no error: nothing comes in then.
    """

    def __init__(self, run: Folder) -> None:
        """Start at the file's present end."""
        self._path = run.path / "control.jsonl"
        self._offset = self._size()

    def _size(self) -> int:
        return self._path.stat().st_size if is_regular(self._path) else 0

    def poll(self) -> list[Json]:
        """The requests since the last call, LONGEST bytes of them at most. Costs two stats when there are none."""
        with contextlib.suppress(OSError):
            if self._size() > self._offset:
                batch = read_lines(self._path, self._offset, LONGEST)
                self._offset = batch.offset
                return [event for event in batch.events if event["kind"] == "control" and _is_flat(event)]
        return []


def _is_flat(event: Json) -> bool:
    """Whether there are no lists and objects in an event: no request has any, and the trainer's log would take them over."""
    return not any(isinstance(value, list | dict) for value in event.values())


# --- lines -----------------------------------------------------------------------------------------------------------


def read_lines(path: Path, offset: int, size: int = -1) -> Batch:
    """Whole events from a byte offset on (negative: from the end). A torn last line waits; what is no event is counted.

    size: of the text, at most, but a first line is read whole however long it is; negative: all there is now.
    A file that is gone, or shorter than the offset, is read anew: the batch is empty and its offset 0.
    Raises: OSError if it cannot be read or is no regular file.
    """
    events, damaged = [], 0
    try:
        file = open_for_reading(path)
    except FileNotFoundError:
        return Batch([], 0, 0)
    with file:
        end = file.seek(0, os.SEEK_END)
        if offset > end:
            return Batch([], 0, 0)
        start = offset = offset if offset >= 0 else max(0, end + offset)
        last = end if size < 0 else min(end, offset + size)
        while offset < last:
            lines, read, bad = _block(file, offset, last - offset, whole=offset == start)
            if not read:
                break
            offset += read
            damaged += bad
            for event in parse_lines(lines):
                if isinstance(event, dict) and isinstance(event.get("kind"), str):
                    events.append(event)
                else:
                    damaged += 1
    return Batch(events, offset, damaged)


def _block(file: BinaryIO, offset: int, most: int, *, whole: bool) -> tuple[list[bytes], int, int]:
    """Some whole lines, their bytes, and 1 in their place for a line that is too long; nothing if none ends within `most`.

    whole: read on, beyond `most`, until a first line ends.
    """
    file.seek(offset)
    block = file.read(min(most, LONGEST))
    if b"\n" not in block and whole:
        block += file.readline(LONGEST - len(block))
    if end := block.rfind(b"\n") + 1:
        return block[: end - 1].split(b"\n"), end, 0
    if len(block) < LONGEST:
        return [], 0, 0
    passed = len(block)
    while passed < ENDLESS and (rest := file.readline(LONGEST)):
        passed += len(rest)
        if rest.endswith(b"\n"):
            return [], passed, 1
    return ([], passed, 1) if passed >= ENDLESS else ([], 0, 0)


def newest_first(path: Path, text: bytes) -> Iterator[Json]:
    """The events in whose lines there is a text, from the last one back. Only those lines are parsed. Raises: OSError."""
    try:
        file = open_for_reading(path)
    except FileNotFoundError:
        return
    with file:
        end = file.seek(0, os.SEEK_END)
        rest, damaged = b"", True  # the end of a line that begins in an earlier block; what follows the last newline is torn
        while end:
            start = max(0, end - LONGEST)
            file.seek(start)
            pieces = (file.read(end - start) + rest).split(b"\n")
            if damaged:
                pieces[-1] = b""
            rest, *lines = pieces if start else [b"", *pieces]
            if damaged := len(rest) >= LONGEST or (damaged and not lines):
                rest = b""
            for line in reversed(lines):
                if text in line and len(line) < LONGEST:
                    (event,) = parse_lines([line])
                    if isinstance(event, dict) and isinstance(event.get("kind"), str):
                        yield event
            end = start


def _append_after_whole_lines(path: Path) -> BinaryIO:
    """Open for appending, after cutting off a last line that a crash has left torn. Raises: OSError."""
    file = open_for_appending(path)
    try:
        handle = file.fileno()
        end = os.lseek(handle, 0, os.SEEK_END)
        while end:
            start = max(0, end - LONGEST)
            os.lseek(handle, start, os.SEEK_SET)
            if newline := os.read(handle, end - start).rfind(b"\n") + 1:
                end = start + newline
                break
            end = start
        file.truncate(end)
    except OSError:
        file.close()
        raise
    return file


def _as_line(event: Json) -> bytes:
    """An event as a line. A lone surrogate, as in the name of a file that is no UTF-8, becomes a question mark."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"
