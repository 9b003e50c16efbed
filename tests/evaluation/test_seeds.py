"""Statistics over seeds: Student's t against tables, quadrature and scipy; the paired test against scipy and by hand."""

import random
from fractions import Fraction
from itertools import product
from math import comb, gamma, inf, pi, sqrt
from statistics import fmean, stdev

import pytest

from trs_explorer.evaluation.seeds import paired_t_test, sign_test, t_interval, t_quantile, two_sided_p

# The 97.5 % points of every table of Student's t.
TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 9: 2.262, 19: 2.093, 30: 2.042, 120: 1.980}


def test_quantiles_are_those_of_the_tables() -> None:
    assert {df: round(t_quantile(df), 3) for df in TABLE} == TABLE


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 10])
@pytest.mark.parametrize("t", [0.3, 1.0, 2.5, 6.0])
def test_p_is_the_area_outside(df: int, t: float) -> None:
    """By Simpson's rule over the density in [-t, t]."""
    scale = gamma((df + 1) / 2) / (sqrt(df * pi) * gamma(df / 2))
    n = 400
    ends = [(1 if k in (0, n) else 4 if k % 2 else 2) * (1 + (t * k / n) ** 2 / df) ** (-(df + 1) / 2) for k in range(n + 1)]
    assert two_sided_p(t, df) == pytest.approx(1 - 2 * scale * sum(ends) * t / n / 3, abs=1e-9)
    assert two_sided_p(-t, df) == two_sided_p(t, df)


def test_p_at_its_ends() -> None:
    assert (two_sided_p(0.0, 3), two_sided_p(inf, 2), two_sided_p(inf, 3)) == (1, 0, 0)
    with pytest.raises(ValueError, match="1 degree of freedom or more, got 0"):
        two_sided_p(1.0, 0)


def test_the_interval_of_three_seeds_by_hand() -> None:
    low, high = t_interval([93.0, 94.0, 95.0])
    assert (low, high) == (pytest.approx(94 - 4.30265 / sqrt(3), abs=1e-4), pytest.approx(94 + 4.30265 / sqrt(3), abs=1e-4))
    assert t_interval([95.0, 93.0, 94.0]) == pytest.approx((low, high))
    assert t_interval([7.0, 7.0]) == (7, 7)
    with pytest.raises(ValueError, match="2 seeds or more, got 1"):
        t_interval([1.0])


@pytest.mark.slow
def test_the_interval_covers_the_mean_in_95_percent_of_experiments_of_three_seeds() -> None:
    draw = random.Random(0)
    inside = 0
    for _ in range(2000):
        low, high = t_interval([draw.gauss(50, 2) for _ in range(3)])
        inside += low <= 50 <= high
    assert 0.935 < inside / 2000 < 0.965


def test_the_paired_test_by_hand_and_in_either_order() -> None:
    a, b = [94.0, 93.0, 95.0], [90.0, 90.0, 90.0]
    test, other = paired_t_test(a, b), paired_t_test(b, a)
    assert (test.n, test.difference, test.t) == (3, 4, pytest.approx(4 * sqrt(3)))
    assert test.p == pytest.approx(1 - sqrt(48 / 50))  # with two degrees of freedom: 1 - t / sqrt(2 + t^2)
    assert (test.low, test.high) == t_interval([4.0, 3.0, 5.0])
    assert (test.p < 0.05) == (test.low > 0)
    assert (other.difference, other.t, other.p) == (-test.difference, -test.t, test.p)
    assert paired_t_test([a[k] for k in (2, 0, 1)], [b[k] for k in (2, 0, 1)]).p == pytest.approx(test.p)


def test_equal_differences() -> None:
    assert (paired_t_test([1.0, 2.0], [0.5, 1.5]).t, paired_t_test([1.0, 2.0], [0.5, 1.5]).p) == (inf, 0)
    assert (paired_t_test([1.0, 2.0], [1.0, 2.0]).t, paired_t_test([1.0, 2.0], [1.0, 2.0]).p) == (0, 1)
    with pytest.raises(ValueError, match="zip"):
        paired_t_test([1.0, 2.0], [1.0])


@pytest.mark.parametrize("n", [3, 4, 5])
def test_no_sign_flip_test_of_so_few_seeds_can_reach_five_percent(n: int) -> None:
    """Why the test is not a permutation test, as its docstring says."""
    differences = [1.0 + k for k in range(n)]  # all of one sign: the clearest case
    flipped = [sum(sign * one for sign, one in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=n)]
    p = sum(abs(one) >= sum(differences) for one in flipped) / len(flipped)
    assert p == 2 / 2**n > 0.05


def test_the_sign_test_is_the_tail_of_the_binomial_counted_out() -> None:
    for wins, losses in ((0, 0), (4, 0), (6, 0), (30, 14), (14, 30), (5, 5), (500, 440)):
        n = wins + losses
        tail = Fraction(2 * sum(comb(n, k) for k in range(min(wins, losses) + 1)), 2**n)
        assert sign_test(wins, losses) == pytest.approx(float(min(tail, Fraction(1))), rel=1e-9)
    assert sign_test(5, 0) > 0.05 > sign_test(6, 0)


@pytest.mark.slow
def test_scipy_agrees() -> None:
    from scipy import stats

    draw = random.Random(1)
    for df in range(1, 60):
        assert t_quantile(df) == pytest.approx(stats.t.ppf(0.975, df), abs=1e-9)
        for t in (0.01, 0.7, 3.0, 40.0):
            assert two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(t, df), abs=1e-12)
    assert sign_test(30, 14) == pytest.approx(stats.binomtest(30, 44).pvalue)
    for n in (2, 3, 5, 8):
        a, b = ([draw.uniform(0, 100) for _ in range(n)] for _ in range(2))
        test, theirs = paired_t_test(a, b), stats.ttest_rel(a, b)
        assert (test.t, test.p) == (pytest.approx(theirs.statistic), pytest.approx(theirs.pvalue))
        assert (test.low, test.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
        assert t_interval(a) == pytest.approx(stats.t.interval(0.95, n - 1, fmean(a), stdev(a) / sqrt(n)))
