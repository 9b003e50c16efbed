"""A curve of bounded size that keeps its spikes."""

from bisect import bisect_right

import numpy as np

from trs_explorer.curves import thin
from trs_explorer.matrices import mean


class Series:
    """Values over steps. When it is full it thins itself to half: old parts become coarser, minima and maxima remain."""

    def __init__(self, capacity: int = 4096) -> None:
        """Create an empty series of at most `capacity` points."""
        self._capacity = capacity
        self._steps: list[float] = []
        self._values: list[float] = []

    def __len__(self) -> int:
        return len(self._steps)

    def copy(self) -> "Series":
        """An independent copy."""
        other = Series(self._capacity)
        other._steps, other._values = self._steps.copy(), self._values.copy()
        return other

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self._values[-1] if self._values else None

    @property
    def lowest(self) -> float | None:
        """The smallest value."""
        return min(self._values, default=None)

    def extend(self, steps: np.ndarray, values: np.ndarray) -> None:
        """Append values at their steps, except those that are not finite."""
        finite = np.isfinite(values)
        self._steps += steps[finite].tolist()
        self._values += values[finite].tolist()
        if len(self._steps) > self._capacity:
            x, y = thin(np.array(self._steps), np.array(self._values), self._capacity // 2)
            self._steps, self._values = x.tolist(), y.tolist()

    def cut(self, step: float) -> None:
        """Remove the points after `step`: a resumed training repeats those steps."""
        keep = bisect_right(self._steps, step)
        del self._steps[keep:], self._values[keep:]

    def points(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values, thinned to at most `most` points."""
        return thin(np.array(self._steps, dtype=float), np.array(self._values, dtype=float), max(4, most))

    def trend(self, window: int = 40) -> int:
        """1 if the newer half of the last `window` values is on average over 5 % above the older half, -1 if below, else 0."""
        recent = self._values[-window:]
        if len(recent) < 2:
            return 0
        half = len(recent) // 2
        old, new = mean(recent[:half]) or 0.0, mean(recent[half:]) or 0.0
        return 0 if abs(new - old) <= 0.05 * abs(old) else (1 if new > old else -1)
