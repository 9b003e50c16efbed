"""A run's folder as bytes, for a cluster whose machines share no folder. Names in what comes back are checked."""

import io
import os
import re
import shutil
import tarfile
from pathlib import Path

from trs_explorer.files import cannot_write, open_for_reading, printable
from trs_explorer.runs import RunError

MOST_BYTES = 2 << 30
# The files of a run that another machine needs: no locks, no requests, nothing temporary.
KNOWN = re.compile(
    r"config\.json|events\.jsonl|status\.json|epoch-[0-9]{4,9}(-[0-9]{6,9})?\.safetensors|state-[0-9]{4,9}(-[0-9]{6,9})?\.pt"
    r"|results/[A-Za-z0-9_-]{1,100}\.json"
)


def pack(path: Path) -> bytes:
    """The known files of a run's folder. Raises RunError if there is more than MOST_BYTES."""
    files = [file for file in sorted([*path.glob("*"), *path.glob("results/*")]) if file.is_file() and not file.is_symlink()]
    known = [file for file in files if KNOWN.fullmatch(file.relative_to(path).as_posix())]
    if (size := sum(file.stat().st_size for file in known)) > MOST_BYTES:
        raise RunError(f"{path} has {size >> 20:,} MB, too much to fetch: use a folder that all machines share")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in known:
            entry = tarfile.TarInfo(file.relative_to(path).as_posix())
            entry.size = file.stat().st_size
            with open_for_reading(file) as content:
                tar.addfile(entry, content)
    return packed.getvalue()


def unpack(packed: bytes, path: Path) -> None:
    """Write the files of a packed run into the folder at path, whose present content they replace as a whole.

    Raises: RunError for a name that is not one of a run's files, a link, or too many bytes: then nothing is changed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        (temporary / "results").mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            left = MOST_BYTES
            for entry in tar:
                left -= entry.size
                if not entry.isreg() or not KNOWN.fullmatch(entry.name) or left < 0:
                    raise RunError(f"what came back for {path.name} has a file that no run has: {printable(entry.name)[:100]!r}")
                content = tar.extractfile(entry)
                assert content is not None
                (temporary / entry.name).write_bytes(content.read())
        _replace(temporary, path)
    except tarfile.TarError as error:
        raise RunError(f"what came back for {path.name} is damaged: {error}") from error
    except OSError as error:
        raise RunError(cannot_write(path, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, path: Path) -> None:
    """Put a folder in the place of another."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    temporary.rename(path)
    shutil.rmtree(old, ignore_errors=True)
