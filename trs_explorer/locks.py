"""Locks that the system frees at any death of their owner: a file each, locked and not only there."""

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
