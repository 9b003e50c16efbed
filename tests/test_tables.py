"""CSV that a spreadsheet opens: nothing in it is a formula, and no number has changed."""

import csv
import io

import pytest

from trs_explorer.tables import cell, to_csv

FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx", "\n=1", "=", "-", '=HYPERLINK("http://x","y")')
HARMLESS = ("", "pgd", "a=b", "F1", "'x", "1-2", " ", "ε")
NUMBERS = ("-0.25", "+1", "-1e-05", "-inf", "nan", "12")


@pytest.mark.parametrize("text", FORMULAS)
def test_what_could_be_a_formula_is_a_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [*HARMLESS, *NUMBERS, -1, -0.5, float("-inf"), None, True])
def test_everything_else_stays_as_it_is(value: object) -> None:
    assert cell(value) == value or value != value


def test_a_table_is_read_back_with_its_head_first() -> None:
    rows = [("=a", -1.5, None), ('b,\n"c"', "-2", "\ud800")]
    text = to_csv(("-name", "rate", "more"), rows)
    read = list(csv.reader(io.StringIO(text)))
    assert read == [["'-name", "rate", "more"], ["'=a", "-1.5", ""], ['b,\n"c"', "-2", "\\ud800"]]
    assert text.encode()


def test_what_it_is_about_is_one_line_without_a_formula_in_any_of_its_parts() -> None:
    first, second, *_ = to_csv(["a"], [], about="run x,=1+1; \n@y, -z, eps, -0.3").split("\n")
    assert (first, second) == ("# run x,'=1+1; '@y, '-z, eps, -0.3", "a")
