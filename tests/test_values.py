"""Numbers and texts out of JSON that a stranger may have written."""

import pytest

from trs_explorer.values import number, text, whole

DIGITS = 10**400


@pytest.mark.parametrize("value", [None, "3", True, float("nan"), float("inf"), [], {}, 10**400])
def test_what_is_no_number_is_none(value):
    assert number(value) is None
    assert whole(value) is None


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "?"),
        (DIGITS, "?"),
        (3, "3"),
        (0.25, "0.25"),
        (10**17, "1e+17"),
        (float("nan"), "?"),
        (" two\r\nlines\t", "two lines"),
        ("\x1b[2J", "\\x1b[2J"),
        (["a"], "['a']"),
    ],
)
def test_a_value_becomes_one_short_line(value: object, line: str) -> None:
    assert text(value) == line


@pytest.mark.parametrize("value", ["x" * 10_000, "\x1b" * 10_000])
def test_a_long_text_is_cut(value: str) -> None:
    assert len(text(value, 50)) == 50
    assert text(value, 50).endswith("...")
