"""How much memory there is, and what its lack looks like. No torch."""

import contextlib
import os
from pathlib import Path

GUESS = 8 << 30  # bytes, on systems that do not say
_CGROUP = Path("/sys/fs/cgroup")


def total_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's."""
    most = GUESS
    with contextlib.suppress(OSError, ValueError, AttributeError):
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        most = min(most, int((_CGROUP / "memory.max").read_text()))
    return most


def free_memory() -> int:
    """Return the bytes that this process could still use: what the machine and its container have free."""
    free = total_memory() // 2
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(0, limit - used))
    return free


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough: Python's, or torch's on a CPU or a GPU."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "not enough memory", "allocate memory", "cublas_status_alloc_failed")
    )
