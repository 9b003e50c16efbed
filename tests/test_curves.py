"""Events as arrays: what is damaged becomes NaN. Thinned curves: no spike, no end and no gap is lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.curves import column, pair_means, term_rows, thin

LARGEST = 1.7e308
COSINE = [[1.0, 0.05, 0.07], [0.05, 1.0, 0.09], [0.07, 0.09, 1.0]]


def test_a_column_survives_what_is_odd():
    values = column([{"a": 1}, {}, {"a": None}, {"a": {}}, {"a": 2.5}], "a")
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, np.nan, 2.5])


def test_pair_means_leave_the_diagonal_out():
    hole = [[1.0, None], [0.5, 1.0]]
    np.testing.assert_allclose(pair_means([{"cosine": COSINE}] * 2), [0.07, 0.07])
    np.testing.assert_allclose(pair_means([{"log_odds_cosine": COSINE, "cosine": None}], "log_odds_cosine"), [0.07])
    np.testing.assert_allclose(
        pair_means([{"cosine": COSINE}, {}, {"cosine": hole}, {"cosine": [[1], [2]]}]), [0.07, np.nan, 0.5, np.nan]
    )


def test_terms_of_a_damaged_step_are_empty():
    assert term_rows([{"terms": {"ce": 1.0}}, {"terms": "torn"}, {}]) == [{"ce": 1.0}, {}, {}]


def test_one_hole_in_a_matrix_counts_alike_however_the_log_is_cut() -> None:
    hole = {"cosine": [[1.0, None], [0.5, 1.0]]}
    np.testing.assert_array_equal(pair_means([hole]), [0.5])
    np.testing.assert_array_equal(pair_means([hole, {}]), [0.5, np.nan])
    huge = {"cosine": [[1.0, LARGEST], [LARGEST, 1.0]]}
    np.testing.assert_allclose(pair_means([huge]), [LARGEST])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 60))
def test_thinning_keeps_ends_and_extremes(values, most):
    y = np.array(values)
    x = np.arange(len(y), dtype=float)
    thin_x, thin_y = thin(x, y, most)
    assert len(thin_x) <= most
    assert (thin_y.min(), thin_y.max()) == (y.min(), y.max())
    assert (thin_x[0], thin_x[-1]) == (x[0], x[-1])
    assert (np.diff(thin_x) > 0).all()
    np.testing.assert_array_equal(thin_y, y[thin_x.astype(int)])


def test_a_curve_that_is_short_enough_is_not_thinned():
    x, y = thin(np.arange(3.0), np.array([1.0, np.nan, 2.0]), 4)
    np.testing.assert_array_equal((x, y), ([0, 1, 2], [1, np.nan, 2]))
    assert len(thin(np.array([]), np.array([]), 400)[0]) == 0


def test_thinning_keeps_spikes_beside_gaps_and_long_gaps():
    y = np.ones(5000)
    y[1000:2000] = np.nan
    y[1234], y[4321] = 50.0, -3.0
    x, kept = thin(np.arange(5000.0), y, 400)
    assert len(x) <= 400
    assert {50.0, -3.0} <= set(kept)
    assert (np.diff(x) > 0).all()
    assert np.isnan(kept[(x > 1300) & (x < 1900)]).all()
    assert not np.isnan(kept[(x < 990) | (x > 2010)]).any()
