"""Who lives: locks that the system frees at any death of their owner, and numbers of processes."""

import os
from pathlib import Path

from filelock import FileLock, Timeout

from trs_explorer.files import is_regular


class Taken(Exception):
    """Another process holds the lock."""


def acquire(path: Path, timeout: float) -> FileLock:
    """Hold the lock at path, after waiting `timeout` seconds at most.

    Raises: Taken; OSError where there can be none: no permission, a disk without locks, something else at path.
    """
    if os.path.lexists(path) and (path.is_symlink() or not is_regular(path)):  # locking opens it for writing, and may wait
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
    """Whether there is a process of that number; True where the system does not tell, or no number is known."""
    if not isinstance(pid, int) or pid <= 0 or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return not isinstance(error, ProcessLookupError | OverflowError)
    return True
