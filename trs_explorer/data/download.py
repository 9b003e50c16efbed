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

PIECE = 1 << 16  # bytes
PATIENCE = 10, 60  # seconds to connect, and between two pieces
ELSEWHERE = "or get the files elsewhere and give their folder as --data-dir"


def obtain(archive: Archive) -> Path:
    """The folder with the archive's files, whole; they are downloaded and unpacked first if they are not there.

    Says on stderr what is downloaded. A download that was interrupted goes on where it was.
    Raises: UsageError if there is no network, no room, or the home gives something else; what has arrived is kept if it can be
    part of the right file.
    """
    folder = archive.folder
    if archive.is_here:
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not archive.is_here:  # another process may have brought it meanwhile
                for left in (*folder.glob("tmp*"), *folder.glob(".*.tmp")):  # by a process that was killed
                    left.unlink()
                packed = fetch(archive.url, size=archive.size, sha256=archive.sha256, folder=folder)
                unpack(packed, archive)
                packed.unlink()
    except OSError as error:
        raise UsageError(f"{cannot_write(folder, error)}, {ELSEWHERE}") from error
    return folder


def fetch(url: str, *, size: int, sha256: str, folder: Path) -> Path:
    """The file behind url, in folder under its own name: downloaded, unless a file with that SHA-256 is there already.

    Until it is whole it is NAME.part; what of it is there is not asked for again. size: in bytes.
    Raises: UsageError if it cannot be had or is not the right one (then it is removed); OSError if it cannot be written.
    """
    name = url.rpartition("/")[2]
    part = folder / f"{name}.part"

    def download(url: str, whole: str, _: object) -> None:
        _fill(part, url, size)
        part.replace(whole)

    pooch.get_logger().setLevel("WARNING")  # it would announce what is said below
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", name, folder, downloader=download))
    except UsageError:
        raise
    except ValueError as error:  # pooch's first sentence names both checksums
        why = str(error).partition(". ")[0]
        raise UsageError(f"{url}: {why}. It was removed: try again, {ELSEWHERE}") from error


def unpack(packed: Path, archive: Archive) -> None:
    """Write the archive's files into its folder, each in one piece; nothing else in it is touched.

    Raises: UsageError if one is missing, not a plain file, or not of its size; OSError if it cannot be written.
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


def _copy(content: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)


def _fill(part: Path, url: str, size: int) -> None:
    """Let part grow to size bytes. Raises UsageError if url does not give the rest; what has arrived is kept."""
    have = part.stat().st_size if part.exists() else 0
    if have == size:  # whole, and interrupted before it was checked
        return
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=PATIENCE) as answer:
            have = _where_it_starts(answer, part, have, size)
            with part.open("ab" if have else "wb") as file, _shown(url, have, size) as show:
                for piece in answer.iter_content(PIECE):
                    have += file.write(piece[: size - have])
                    show(have)
                    if have == size:
                        break
    except requests.RequestException as error:
        if not part.exists():
            raise UsageError(f"{url} cannot be had ({_reason(error)}): connect to a network, {ELSEWHERE}") from error
        raise UsageError(f"{url}: {_broke_off(part, size)} ({_reason(error)})") from error
    except KeyboardInterrupt:
        if part.exists():
            print(_broke_off(part, size), file=sys.stderr)
        raise
    if have < size:
        raise UsageError(f"{url}: {_broke_off(part, size)}")


def _where_it_starts(answer: requests.Response, part: Path, have: int, size: int) -> int:
    """At which byte of the file the answer's body starts. Raises UsageError if it is not of the file that is wanted."""
    if answer.status_code not in (200, 206):
        if answer.status_code == 416:  # there is no rest: what is here is not of this file
            part.unlink(missing_ok=True)
        raise UsageError(f"{answer.url} answers {answer.status_code} {answer.reason}: try again later, {ELSEWHERE}")
    start, length = 0, answer.headers.get("Content-Length", "")
    if answer.status_code == 206:
        start = have
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise UsageError(f"{answer.url} does not answer from byte {have:,} on: remove {part}, and try again")
    if length.isdigit() and start + int(length) != size:
        got = f"a file of {start + int(length):,} bytes instead of {size:,}"
        raise UsageError(f"{answer.url} gives {got} (a login page?): try again later, {ELSEWHERE}")
    return start


def _broke_off(part: Path, size: int) -> str:
    return (
        f"stopped at {megabytes(part.stat().st_size)} of {megabytes(size)}, which are kept: the same command goes on from there"
    )


def _reason(error: BaseException) -> str:
    """What the system said, at the bottom of what requests and urllib3 have wrapped around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
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
def _shown(url: str, have: int, size: int) -> Iterator[Callable[[int], object]]:
    """A bar on stderr, moved by calling it with the bytes there are; one line where that is no terminal."""
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
