"""Statistics of trainings that differ only in the seed: the t interval of their mean, and the tests that compare two methods.

In the t interval and the paired t test the seed is the unit of replication: n counts trainings, not images. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import atan, cos, exp, inf, lgamma, log, pi, sin, sqrt
from statistics import fmean, stdev

ALPHA = 0.05  # two-sided, of intervals and tests


def two_sided_p(t: float, df: int) -> float:
    """The probability that |T| >= |t| for Student's t with df degrees of freedom; 0 for an infinite t.

    Raises: ValueError if df < 1.
    Source: the finite sums for integer df (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4).
    """
    if df < 1:
        raise ValueError(f"Student's t needs 1 degree of freedom or more, got {df}")
    angle = atan(abs(t) / sqrt(df))
    term, total = (cos(angle), 0.0) if df % 2 else (1.0, 0.0)
    for k in range(1 + df % 2, df, 2):  # powers df % 2, df % 2 + 2, ..., df - 2 of the cosine
        total += term
        term *= cos(angle) ** 2 * k / (k + 1)
    inside = 2 / pi * (angle + sin(angle) * total) if df % 2 else sin(angle) * total
    return max(0.0, 1 - inside)


@cache
def t_quantile(df: int) -> float:
    """The 97.5 % point of Student's t with df degrees of freedom: 95 % lie within it on both sides."""
    low, high = 0.0, 20.0  # 12.7 at df 1, less from there on
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, df) > ALPHA else (low, middle)
    return high


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval of the mean over trainings, from one value a seed.

    It covers the choice of the seed, on the same test images; n is the number of seeds. It assumes that the values are
    independent and about normal, which a handful cannot show. The interval may leave the range of the values, as [0, 100].
    Raises: ValueError for fewer than two values: one training says nothing of others.
    """
    if len(values) < 2:
        raise ValueError(f"an interval between trainings needs 2 seeds or more, got {len(values)}")
    half = t_quantile(len(values) - 1) * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


@dataclass(frozen=True)
class PairedTest:
    """The paired t test of two methods over n seeds.

    - difference, low, high: the mean difference of the first and the second, and its 95 % interval.
    - t: the statistic, with n - 1 degrees of freedom; infinite if all differences are the same and not 0.
    - p: two-sided.
    """

    n: int
    difference: float
    low: float
    high: float
    t: float
    p: float


def paired_t_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Test whether two methods differ over seeds: first[k] and second[k] are of trainings with the same seed.

    Assumptions: the differences, one a seed, are independent and about normal. Equal variances of the methods are not needed.
    Trainings of one seed share the order of the batches, and what else the seed decides: pairing takes that out. Where they share
    nothing, the test is still valid, but has n - 1 degrees of freedom instead of up to 2 n - 2 (our choice: valid in any case).
    Not a sign-flip (permutation) test: with n seeds its smallest two-sided p is 2 / 2^n, which is above .05 for n <= 5.

    If all differences are the same, t is infinite and p is 0, or 1 if they are 0.
    Raises: ValueError for fewer than two pairs, or unpaired values.
    Source: Student (W. S. Gosset), "The probable error of a mean", Biometrika 6, 1908.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    low, high = t_interval(differences)
    n, mean, spread = len(differences), fmean(differences), stdev(differences)
    t = mean / (spread / sqrt(n)) if spread else (inf if mean > 0 else -inf if mean < 0 else 0.0)
    return PairedTest(n, mean, low, high, t, two_sided_p(t, n - 1))


def sign_test(wins: int, losses: int) -> float:
    """The two-sided p of the exact sign test: that wins and losses differ as much or more if either is as likely; 1 for none.

    With one outcome an image of each method it is McNemar's test in its exact form.
    Source: W. J. Dixon and A. M. Mood, "The statistical sign test", JASA 41, 1946; Q. McNemar, "Note on the sampling error of the
    difference between correlated proportions or percentages", Psychometrika 12, 1947.
    """
    n, fewer = wins + losses, min(wins, losses)
    tail = sum(exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2)) for k in range(fewer + 1))
    return min(1.0, 2 * tail)
