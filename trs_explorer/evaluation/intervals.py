"""Confidence intervals of rates: one method everywhere, in which an image counts once.

`wilson` is for a rate over images. `of_ratio` is the same for rates with several trials an image (pairs of members, attempts).
"""

from collections.abc import Sequence
from math import sqrt

# The 97.5 % point of the normal distribution: 95 % lie within it on both sides.
Z = 1.959963984540054


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of successes / n, within [0, 1]; (0, 1) for n = 0.

    It is valid near 0 and 1, too, where robust accuracies often are and the normal approximation has no width.
    It covers the choice of images, not the choice of the training's seed.
    Raises: ValueError unless 0 <= successes <= n.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"a rate needs 0 <= successes <= n, got {successes} of {n}")
    return of_share(successes / n, n) if n else (0.0, 1.0)


def of_share(share: float, n: float | int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share of n independent trials; n may be an effective number."""
    if n <= 0:
        return 0.0, 1.0
    middle = share + Z * Z / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    # The bound is exactly 0 or 1 at the ends; rounding would miss it by 1e-17.
    low = 0.0 if share == 0 else (middle - half) / scale
    high = 1.0 if share == 1 else (middle + half) / scale
    return low, high


def of_ratio(parts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The 95 % interval of sum(a) / sum(b) over images with counts (a, b), 0 <= a <= b; (0, 1) if all b are 0.

    An image counts once, whatever its b. This is Wilson's interval for an effective number of trials, chosen so that the variance
    is that of the ratio over images (linearised). If that variance is 0, the number is that of the images with b > 0. Where all
    b are equal and all trials of an image agree, it is `wilson` of the images.
    """
    parts = [(a, b) for a, b in parts if b]
    total = sum(b for _, b in parts)
    if not total:
        return 0.0, 1.0
    n, ratio = len(parts), sum(a for a, _ in parts) / total
    spread = sum((a - ratio * b) ** 2 for a, b in parts) / total**2
    return of_share(ratio, ratio * (1 - ratio) / spread if spread else n)
