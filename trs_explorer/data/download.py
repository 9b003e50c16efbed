"""Download an archive into the user's cache: resumable, with a checksum, then unpacked.

A file appears under its own name only when it is complete. One process at a time works on an archive; others wait for it.
"""

import functools
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pooch
import requests
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from trs_explorer.files import cannot_write, write_atomically
from trs_explorer.options import UsageError
from trs_explorer.sources import Archive, megabytes

CHUNK = 1 << 16  # bytes
TIMEOUT = 10, 60  # seconds to connect, and between two chunks
ELSEWHERE = "or get the files elsewhere and give their folder as --data-dir"


def obtain(archive: Archive) -> Path:
    """The folder with the archive's files. Missing files are downloaded and unpacked first.

    Prints on stderr what is downloaded. An interrupted download is resumed.
    Raises: UsageError if there is no network, no disk space, or the server sends something else. The received part is kept if
    it can belong to the right file.
    """
    folder = archive.folder
    if archive.is_here:
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _download_lock(folder):
            if not archive.is_here:  # another process may have downloaded it meanwhile
                for leftover in (*folder.glob("tmp*"), *folder.glob(".*.tmp")):  # of a killed process
                    leftover.unlink()
                packed = fetch(archive.url, size=archive.size, sha256=archive.sha256, folder=folder)
                unpack(packed, archive)
                packed.unlink()
    except OSError as error:
        raise UsageError(f"{cannot_write(folder, error)}, {ELSEWHERE}") from error
    return folder


def fetch(url: str, *, size: int, sha256: str, folder: Path) -> Path:
    """Download url into folder under its own name, unless a file with that SHA-256 is there already. Returns the file.

    Until it is complete its name is NAME.part; a part that is there is not downloaded again. size: in bytes.
    Raises: UsageError if the download fails or the file is wrong (then it is removed); OSError if it cannot be written.
    """
    name = url.rpartition("/")[2]
    part = folder / f"{name}.part"

    def download(url: str, target: str, _: object) -> None:
        _fill(part, url, size)
        part.replace(target)

    pooch.get_logger().setLevel("WARNING")  # it would print the same as we do
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", name, folder, downloader=download))
    except UsageError:
        raise
    except ValueError as error:  # pooch's first sentence names both checksums
        why = str(error).partition(". ")[0]
        raise UsageError(f"{url}: {why}. It was removed: try again, {ELSEWHERE}") from error


def unpack(packed: Path, archive: Archive) -> None:
    """Write the archive's files into its folder, each atomically. Other files in the archive are skipped.

    Raises: UsageError if a file is missing, not a regular file, or not of its size; OSError if it cannot be written.
    """
    missing = set(archive.files)
    try:
        with tarfile.open(packed, "r|gz") as members:
            for member in members:
                inside, _, name = member.name.rpartition("/")
                if inside != archive.inside or name not in missing:
                    continue
                if not member.isreg() or member.size != archive.files[name]:
                    what = f"no plain file of {archive.files[name]:,} bytes (it has {member.size:,})"
                    raise UsageError(f"{packed}: {member.name} is {what}: remove the archive, {ELSEWHERE}")
                content = members.extractfile(member)
                write_atomically(archive.folder / name, functools.partial(_copy, content))
                missing.remove(name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UsageError(f"{packed} cannot be unpacked ({error}): remove it and try again, {ELSEWHERE}") from error
    if missing:
        raise UsageError(f"{packed} has no {', '.join(sorted(missing))} in {archive.inside}: remove it, {ELSEWHERE}")


def _copy(content: IO[bytes] | None, path: Path) -> None:
    assert content is not None  # None only for what is not a regular file
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)


def _fill(part: Path, url: str, size: int) -> None:
    """Download the rest of a partial file of `size` bytes. Raises UsageError if that fails; the received part is kept."""
    have = part.stat().st_size if part.exists() else 0
    if have == size:  # complete, but interrupted before the checksum
        return
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            have = _body_start(response, part, have, size)
            with part.open("ab" if have else "wb") as file, _download_progress(url, have, size) as advance:
                for chunk in response.iter_content(CHUNK):
                    have += file.write(chunk[: size - have])
                    advance(have)
                    if have == size:
                        break
    except requests.RequestException as error:
        if not part.exists():
            raise UsageError(f"{url} cannot be had ({_reason(error)}): connect to a network, {ELSEWHERE}") from error
        raise UsageError(f"{url}: {_interrupted_message(part, size)} ({_reason(error)})") from error
    except KeyboardInterrupt:
        if part.exists():
            print(_interrupted_message(part, size), file=sys.stderr)
        raise
    if have < size:
        raise UsageError(f"{url}: {_interrupted_message(part, size)}")


def _body_start(response: requests.Response, part: Path, have: int, size: int) -> int:
    """The byte of the file at which the response's body starts. Raises UsageError if it is not from the right file."""
    if response.status_code not in (200, 206):
        if response.status_code == 416:  # there is no rest: the part is not of this file
            part.unlink(missing_ok=True)
        raise UsageError(f"{response.url} answers {response.status_code} {response.reason}: try again later, {ELSEWHERE}")
    start, length = 0, response.headers.get("Content-Length", "")
    if response.status_code == 206:
        start = have
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise UsageError(f"{response.url} does not answer from byte {have:,} on: remove {part}, and try again")
    if length.isdigit() and start + int(length) != size:
        got = f"a file of {start + int(length):,} bytes instead of {size:,}"
        raise UsageError(f"{response.url} gives {got} (a login page?): try again later, {ELSEWHERE}")
    return start


def _interrupted_message(part: Path, size: int) -> str:
    return (
        f"stopped at {megabytes(part.stat().st_size)} of {megabytes(size)}, which are kept: the same command continues from there"
    )


def _reason(error: BaseException) -> str:
    """The message of the innermost error that requests and urllib3 have wrapped."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def _download_lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "download.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another trs is downloading to {folder}: waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _download_progress(url: str, have: int, size: int) -> Iterator[Callable[[int], object]]:
    """A progress bar on stderr, moved by calling it with the bytes received so far; without a terminal, one line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        rest = f", from {megabytes(have)} on" if have else ""
        print(f"downloading {url} ({megabytes(size)}{rest})", file=sys.stderr)
        yield lambda now: None
        return
    columns = [TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(url.rpartition("/")[2], total=size, completed=have)
        yield lambda now: bar.update(task, completed=now)
