"""Files that a user asks for, by --csv, --json or --html: whole or not there, and written before anything is printed."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trs_explorer.files import printable, write_atomically
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.tables import to_csv


def check_parent(file: Path | None) -> None:
    """Refuse a file to write whose folder is not there, before the work and not after it."""
    if file is None:
        return
    if str(file) == "-":
        raise UsageError("-: name a file (/dev/stdout is standard output)")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.parent} to write to")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: name a file")
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise UsageError(f"{file} cannot be written: permission is missing")


@contextmanager
def exported(*files: tuple[Path | None, Callable[[], str]]) -> Iterator[None]:
    """Write each file that has a name, from the function beside it; what is done inside is done whether or not that works.

    Raises: RunError after that, which names the files that could not be written and why.
    """
    failed = []
    for path, text in files:
        if path is not None:
            try:
                write_text(path, text())
            except OSError as error:
                failed.append(f"cannot write {path}: {error.strerror or error}")
    yield
    if failed:
        raise RunError("\n".join(failed))


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, all of it or nothing; to a pipe, a device or standard output as they come. Raises: OSError."""
    if _is_standard_output(path):
        sys.stdout.write(text)  # not by its name: the two would overwrite one another
        return
    there = path.exists()
    content = text.encode()
    if there and not (path.is_file() and os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)):
        path.write_bytes(content)
        return

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)
        if there:
            shutil.copymode(path, temporary)

    write_atomically(path.resolve(), write)  # a link stays one


def _is_standard_output(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # no such file; no file at all behind standard output
        return False


def as_json(value: object) -> str:
    """A result, or several, as the text of a JSON file."""
    return json.dumps(value, indent=1) + "\n"


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The text of a CSV file, in which no text is a formula or does something to a terminal."""
    return to_csv(header, ([printable(value) if isinstance(value, str) else value for value in row] for row in rows))
