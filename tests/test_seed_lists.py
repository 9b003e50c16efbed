"""Several seeds as one text."""

import pytest

from trs_explorer.options import UsageError
from trs_explorer.seeds import parse_seeds


def test_seeds_are_ranges_and_lists() -> None:
    assert parse_seeds("0-4") == [0, 1, 2, 3, 4]
    assert parse_seeds("0,3,7") == [0, 3, 7]
    assert parse_seeds(" 5-6, 1,5 ") == [1, 5, 6]
    for text in ("", "x", "-1", "1-", "3-1", "0-5000", "1.5", "2147483648", "0-2-4"):
        with pytest.raises(UsageError, match=r"^--seeds?\b"):
            parse_seeds(text)
    with pytest.raises(UsageError, match=r"^seeds takes seeds such as"):
        parse_seeds("x", name="seeds")
