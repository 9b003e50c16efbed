import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.evaluation.intervals import of_mean, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Known values (8 of 10, 81 of 263: Newcombe, Statistics in Medicine 17, 1998, method 3; the ends by z^2 / (n + z^2)).
        (8, 10, 0.4902, 0.9433),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_known_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_holds_the_share_lies_in_0_1_and_mirrors(counts):
    successes, n = counts
    low, high = wilson(successes, n)
    assert 0 <= low <= (successes / n if n else 0.5) <= high <= 1
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        wilson(successes, n)


def test_interval_of_a_mean():
    """Twenty of 0 and twenty of 1: the mean .5, its standard error .5 * sqrt(40 / 39) / sqrt(40)."""
    low, high = of_mean([0.0] * 20 + [1.0] * 20)
    assert (low, high) == pytest.approx((0.5 - 0.15694, 0.5 + 0.15694), abs=1e-4)
    assert of_mean([1.0] * 5) == (1.0, 1.0)
    assert of_mean([0.3]) == of_mean([]) == (0.0, 1.0)
    assert of_mean([0.0, 0.0, 0.0, 1.0])[0] == 0.0
