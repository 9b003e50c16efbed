"""A cache of arrays, bounded by bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np


class ArrayCache:
    """Arrays by key, up to a number of bytes; the least recently used are dropped first. Thread-safe."""

    def __init__(self, size: int = 512 << 20) -> None:
        """Hold up to `size` bytes."""
        self._size, self._used = size, 0
        self._lock = threading.Lock()
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def get(self, key: Hashable) -> np.ndarray | None:
        """Return the array stored under a key, read-only; None if there is none (any more)."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
            return self._arrays.get(key)

    def put(self, key: Hashable, array: np.ndarray) -> np.ndarray:
        """Store a copy of an array and return the copy: read-only, because many will read it.

        An array larger than the cache is copied and returned, but not stored.
        """
        stored = np.array(array)  # a copy: a view would keep the whole array alive
        stored.flags.writeable = False
        with self._lock:
            self._used -= self._arrays.pop(key).nbytes if key in self._arrays else 0
            if stored.nbytes <= self._size:
                self._arrays[key] = stored
                self._used += stored.nbytes
            while self._used > self._size:
                self._used -= self._arrays.popitem(last=False)[1].nbytes
        return stored
