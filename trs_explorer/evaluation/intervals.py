"""Confidence intervals of a share."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

# The 97.5 % point of the normal distribution: 95 % lie within it on both sides.
Z = 1.959963984540054


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of successes / n, within [0, 1]; (0, 1) for n = 0, where nothing is known.

    It holds near 0 and 1 too, where robust accuracies live and the textbook's normal interval has no width.
    It covers the choice of images, not that of the training's seed.
    Raises: ValueError unless 0 <= successes <= n.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"a share needs 0 <= successes <= n, got {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    middle = share + Z * Z / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    # The bound is exactly 0 or 1 at the ends; rounding would leave 1e-17 beside it.
    low = 0.0 if successes == 0 else (middle - half) / scale
    high = 1.0 if successes == n else (middle + half) / scale
    return low, high


def of_mean(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % normal interval of a mean of independent values in [0, 1], within [0, 1]; (0, 1) for fewer than two.

    For shares of several attempts an image: attempts on one image fail together, so the images are what is counted.
    """
    if len(values) < 2:
        return 0.0, 1.0
    middle = fmean(values)
    half = Z * stdev(values) / sqrt(len(values))
    return max(0.0, middle - half), min(1.0, middle + half)
