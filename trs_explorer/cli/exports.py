"""Write the files of --csv, --json, --html and `trs export`: each complete or not at all, and before anything is printed."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.files import printable, write_atomically
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.tables import to_csv

IMAGES_SUFFIXES = (".npz", ".pt", ".safetensors")
ImagesFileOption = Annotated[
    Path | None,
    typer.Option(
        "--save-images",
        help="Also write clean and adversarial images, labels and outcomes to this .npz, .pt or .safetensors file. An "
        "interrupted measurement then starts anew: nothing of it is kept.",
    ),
]
Content = str | bytes | Callable[[Path], object]  # of a file: text, bytes, or a function that fills a large (temporary) file


def check_parent(file: Path | None) -> None:
    """Raise UsageError for a file that cannot be written: before the work and not after it."""
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


def check_suffix(file: Path | None, flag: str, suffixes: Sequence[str]) -> None:
    """Raise UsageError for a file whose name has none of the suffixes, by which its format is chosen."""
    if file is not None and file.suffix not in suffixes:
        raise UsageError(f"{flag} {file}: the name must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}")


@contextmanager
def exported(*files: tuple[Path | None, Callable[[], Content]]) -> Iterator[None]:
    """Write each file that has a path, with what the function beside it returns; then run the code inside in any case.

    Raises: RunError after that if files could not be written, with their names and why.
    """
    failed = []
    for path, content in files:
        if path is not None:
            try:
                write_file(path, content())
            except OSError as error:
                failed.append(f"cannot write {path}: {error.strerror or error}")
    yield
    if failed:
        raise RunError("\n".join(failed))


def write_file(path: Path, content: Content) -> None:
    """Write a file, text in UTF-8, atomically; a pipe, a device or standard output directly. Raises: OSError."""
    if callable(content):
        write_atomically(path.resolve(), content)
        return
    if _is_standard_output(path):
        if isinstance(content, str):
            sys.stdout.write(content)  # through the stream: two writers would overwrite one another
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
        return
    exists = path.exists()
    content = content.encode() if isinstance(content, str) else content
    if exists and not (path.is_file() and os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)):
        path.write_bytes(content)
        return

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)
        if exists:
            shutil.copymode(path, temporary)

    write_atomically(path.resolve(), write)  # a link stays a link


def _is_standard_output(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # no such file, or standard output is not a file
        return False


def as_json(value: object) -> str:
    """A result, or several, as the text of a JSON file."""
    return json.dumps(value, indent=1) + "\n"


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The text of a CSV file that is safe in a spreadsheet (no formula) and in a terminal (no control characters)."""
    return to_csv(header, ([printable(value) if isinstance(value, str) else value for value in row] for row in rows))
