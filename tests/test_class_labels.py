"""Names of classes as labels: never too long, never the same for two classes, never unprintable."""

import pytest

from trs_explorer.class_labels import UNDEFINED, class_label, fitted, text_columns, whole_label

HOSTILE = ("<img src=x onerror=alert(1)>", "a\u202eb\nc", "漢字漢字漢字漢字漢字", "e\u0301" * 30, "x" * 200)
ALIKE = tuple(f"a long name that begins like the others {k}" for k in range(1000))


def test_a_wide_letter_takes_two_columns_and_an_accent_none():
    assert [text_columns(text) for text in ("abc", "漢字", "e\u0301", "")] == [3, 4, 1, 0]


@pytest.mark.parametrize("most", [6, 10, 24])
@pytest.mark.parametrize("names", [HOSTILE, ALIKE])
def test_labels_fit_are_all_different_and_printable(names, most):
    labels = [class_label(names, c, most) for c in range(len(names))]
    assert max(map(text_columns, labels)) <= most
    assert len(set(labels)) == len(names)
    assert all(label.isprintable() for label in labels)


def test_a_name_that_fits_stays_as_it_is():
    assert fitted("red", 3) == class_label(["red", "green"], 0, 3) == "red"
    assert fitted("green", 4) == "gre…"


def test_classes_without_names_are_called_by_their_numbers_and_no_class_is_undefined():
    assert [class_label((), 7, 3), whole_label((), 7), class_label((), -1, 10), whole_label(["a", "b"], -1)] == [
        "7", "7", UNDEFINED, UNDEFINED
    ]  # fmt: skip


def test_the_whole_name_is_whole_and_printable():
    assert whole_label(HOSTILE, 4) == "x" * 200
    assert whole_label(HOSTILE, 1) == "a\\u202eb\\nc"
