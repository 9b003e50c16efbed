"""A run's log and the requests of viewers to its trainer: append-only files of one JSON object per line.

Readers hold at most one block of text at a time, whatever the file contains.
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

MOST_LINE = 1 << 20  # bytes of a line with its newline, and of a block: ours have a few thousand, a longer line is damaged
MOST_SKIPPED = 1 << 28  # bytes of a damaged line that one call skips: the rest counts as another line, so that readers progress


class Folder(Protocol):
    """What this module needs of a run."""

    @property
    def path(self) -> Path:
        """The run's folder."""


@dataclass(frozen=True)
class Batch:
    """Events read from a file, the offset where to continue, and the number of damaged lines."""

    events: list[Json]
    offset: int
    damaged: int


# --- events ----------------------------------------------------------------------------------------------------------


class EventWriter:
    """Appends events, one flushed line each. Opening it removes an incomplete last line, which a crash left."""

    def __init__(self, run: Folder) -> None:
        """Open a run's log for appending. Raises OSError if it cannot be written, or is a link or not a regular file."""
        self._file = _append_after_whole_lines(run.path / "events.jsonl")

    def write(self, kind: str, **fields: object) -> Json:
        """Write and return one event. NaN and infinities become null, and "nonfinite" names their fields."""
        event: Json = {"v": 1, "kind": kind, "t": round(time.time(), 3)}
        nonfinite: list[str] = []
        event.update({name: finite(value, name, nonfinite) for name, value in fields.items()})
        if nonfinite:
            event["nonfinite"] = nonfinite
        self._file.write(_as_line(event))
        self._file.flush()
        return event

    def close(self) -> None:
        """Close the file. A line that did not fit on a full disk is lost; `write` has already raised for it."""
        with contextlib.suppress(OSError):
            self._file.close()


def read_events(run: Folder, offset: int = 0, size: int = -1) -> Batch:
    """Read a run's events from a byte offset on, see `read_lines`. Raises: OSError."""
    return read_lines(run.path / "events.jsonl", offset, size)


# --- control ---------------------------------------------------------------------------------------------------------


def request(run: Folder, action: str, **fields: object) -> None:
    """Send a request to a run's trainer. action: pause, resume, save, stop, note (text) or set (name, value)."""
    event: Json = {"v": 1, "kind": "control", "t": round(time.time(), 3), "action": action, **fields}
    with open_for_appending(run.path / "control.jsonl") as file:
        file.write(_as_line(event))


class ControlReader:
    """Reads the requests since the trainer started; those to an earlier trainer are ignored.

    A file that is missing or damaged is not an error: there are no requests then.
    """

    def __init__(self, run: Folder) -> None:
        """Start at the present end of the file."""
        self._path = run.path / "control.jsonl"
        self._offset = self._size()

    def _size(self) -> int:
        return self._path.stat().st_size if is_regular(self._path) else 0

    def poll(self) -> list[Json]:
        """The requests since the last call, at most MOST_LINE bytes of them. Takes two stats when there are none."""
        with contextlib.suppress(OSError):
            if self._size() > self._offset:
                batch = read_lines(self._path, self._offset, MOST_LINE)
                self._offset = batch.offset
                return [event for event in batch.events if event["kind"] == "control" and _is_flat(event)]
        return []


def _is_flat(event: Json) -> bool:
    """Whether an event contains no lists and objects. Requests have none, and the trainer copies their fields into its log."""
    return not any(isinstance(value, list | dict) for value in event.values())


# --- lines -----------------------------------------------------------------------------------------------------------


def read_lines(path: Path, offset: int, size: int = -1) -> Batch:
    """Read whole events. An incomplete last line is left for the next call; lines that are not events are counted as damaged.

    path: the file.
    offset: where to start, in bytes; negative counts from the end.
    size: the most bytes to read, though a first line is always read whole; negative reads to the end.

    If the file is missing or shorter than the offset, the batch is empty and its offset 0: the next call starts again.
    Raises: OSError if the file cannot be read or is not a regular file.
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
            lines, read, skipped = _read_block(file, offset, last - offset, whole=offset == start)
            if not read:
                break
            offset += read
            damaged += skipped
            for event in parse_lines(lines):
                if isinstance(event, dict) and isinstance(event.get("kind"), str):
                    events.append(event)
                else:
                    damaged += 1
    return Batch(events, offset, damaged)


def _read_block(file: BinaryIO, offset: int, most: int, *, whole: bool) -> tuple[list[bytes], int, int]:
    """Read at most `most` bytes; returns whole lines, the number of bytes used, and 1 for a skipped line that is too long.

    whole: continue beyond `most` until the first line ends.
    """
    file.seek(offset)
    block = file.read(min(most, MOST_LINE))
    if b"\n" not in block and whole:
        block += file.readline(MOST_LINE - len(block))
    if end := block.rfind(b"\n") + 1:
        return block[: end - 1].split(b"\n"), end, 0
    if len(block) < MOST_LINE:
        return [], 0, 0
    skipped = len(block)
    while skipped < MOST_SKIPPED and (rest := file.readline(MOST_LINE)):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            return [], skipped, 1
    return ([], skipped, 1) if skipped >= MOST_SKIPPED else ([], 0, 0)


def newest_first(path: Path, text: bytes) -> Iterator[Json]:
    """The events whose lines contain a text, newest first. Only those lines are parsed. Raises: OSError."""
    try:
        file = open_for_reading(path)
    except FileNotFoundError:
        return
    with file:
        end = file.seek(0, os.SEEK_END)
        rest, damaged = (
            b"",
            True,
        )  # rest: the end of a line that begins in an earlier block; after the last newline it is incomplete
        while end:
            start = max(0, end - MOST_LINE)
            file.seek(start)
            pieces = (file.read(end - start) + rest).split(b"\n")
            if damaged:
                pieces[-1] = b""
            rest, *lines = pieces if start else [b"", *pieces]
            if damaged := len(rest) >= MOST_LINE or (damaged and not lines):
                rest = b""
            for line in reversed(lines):
                if text in line and len(line) < MOST_LINE:
                    (event,) = parse_lines([line])
                    if isinstance(event, dict) and isinstance(event.get("kind"), str):
                        yield event
            end = start


def _append_after_whole_lines(path: Path) -> BinaryIO:
    """Open a file for appending, after removing an incomplete last line. Raises: OSError."""
    file = open_for_appending(path)
    try:
        handle = file.fileno()
        end = os.lseek(handle, 0, os.SEEK_END)
        while end:
            start = max(0, end - MOST_LINE)
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
    """An event as a line. A lone surrogate, as in the name of a file that is not UTF-8, becomes a question mark."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"
