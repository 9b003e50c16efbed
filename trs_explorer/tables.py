"""CSV files that a spreadsheet shows without taking anything in them for a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what begins like this is computed by some spreadsheet, or hides what is


def to_csv(head: Sequence[object], rows: Iterable[Sequence[object]], *, about: str = "") -> str:
    """A table as CSV text, the names of its columns in its first line.

    about: what the table is of: a line that begins with "#", before the others.
    """
    text = io.StringIO()
    if about:
        text.write(f"# {_comment(about)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(value) for value in head])
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


def cell(value: object) -> object:
    """A value as it may stand in a CSV file: a text that could be a formula gets an apostrophe in front, a number stays as it is.

    None stays too, an empty cell. Half a surrogate pair, which no file can hold, becomes its escape.
    """
    if value is None or isinstance(value, int | float):
        return value
    text = _encodable(str(value))
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _comment(text: str) -> str:
    """One line, in which nothing after a separator begins a formula: spreadsheets split it into cells as well."""
    line = re.sub(r"\s*[\r\n]+\s*", " ", _encodable(text))
    return re.sub(r"([,;\t]\s*)(?=[=@]|[+-](?![0-9.]))", r"\1'", line)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
