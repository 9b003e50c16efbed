import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.evaluation.intervals import of_ratio, of_share, wilson


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


def test_a_mean_of_shares_has_the_interval_of_a_share():
    assert of_share(0.8, 10) == wilson(8, 10)
    assert of_share(1.0, 5)[1] == 1.0
    assert of_share(1.0, 5)[0] < 0.6  # no certainty from five images
    assert of_share(0.3, 0) == (0.0, 1.0)


def test_a_ratio_over_images_counts_an_image_once():
    """Against a bootstrap over images; and cells of one image that fall together are one trial."""
    g = torch.Generator().manual_seed(0)
    b = torch.randint(0, 7, (200,), generator=g)
    hard = torch.rand(200, generator=g) < 0.3
    a = torch.where(hard, b, torch.minimum(b, torch.ones_like(b)))
    low, high = of_ratio(list(zip(a.tolist(), b.tolist(), strict=True)))
    drawn = torch.randint(200, (4000, 200), generator=g)
    ratios = a[drawn].sum(-1) / b[drawn].sum(-1)
    assert (low, high) == pytest.approx((ratios.quantile(0.025).item(), ratios.quantile(0.975).item()), abs=0.01)
    assert of_ratio([(6, 6)] * 30 + [(0, 6)] * 70 + [(0, 0)] * 9) == pytest.approx(wilson(30, 100), abs=1e-12)
    assert of_ratio([(1, 1)] * 3 + [(0, 1)] * 4) == pytest.approx(wilson(3, 7), abs=1e-12), "one trial an image: the same method"
    assert of_ratio([(0, 4)] * 50) == wilson(0, 50)
    assert of_ratio([(0, 0)]) == of_ratio([]) == (0.0, 1.0)
