"""Names and texts that strangers have chosen, files that they have put in the way, disks that take nothing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.files import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a run of räume ε 模型 🙂", "a run of räume ε 模型 🙂"),
        ("C:\\runs\\a", "C:\\runs\\a"),
        ("bad\udcffname", "bad\\xffname"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x9b31m", "\\x9b31m"),  # a control sequence in one character
        ("txt.\u202egnp", "txt.\\u202egnp"),  # turns the direction of what follows
        ("lone \ud800", "lone \\ud800"),
        (Path("/somewhere/a\x1b"), "/somewhere/a\\x1b"),
        (7, "7"),
    ],
)
def test_what_is_not_printable_is_shown_as_an_escape(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_any_text_becomes_printable_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    assert printable(shown) == shown
