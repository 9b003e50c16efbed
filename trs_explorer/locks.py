"""File locks that the system frees when their owner dies, and a check whether a process lives."""

import os
from pathlib import Path

from filelock import FileLock, Timeout

from trs_explorer.files import is_regular


class Taken(Exception):
    """Another process holds the lock."""


def acquire(path: Path, timeout: float) -> FileLock:
    """Acquire the lock at path, waiting for `timeout` seconds at most.

    Raises: Taken if another process holds it; OSError if there can be no lock: no permission, a file system without locks, or
    something else at path.
    """
    if os.path.lexists(path) and (path.is_symlink() or not is_regular(path)):  # locking opens the file for writing, and may block
        raise OSError(f"{path.name} is no regular file: move it out of the way")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise Taken from None
    except NotImplementedError as error:
        raise OSError("the disk has no locks") from error
    return lock


def process_lives(pid: object) -> bool:
    """Whether a process with that ID exists; True where this cannot be found out, or the ID is unknown."""
    if not isinstance(pid, int) or pid <= 0 or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return not isinstance(error, ProcessLookupError | OverflowError)
    return True
