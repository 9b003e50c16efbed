"""CSV text that a spreadsheet shows as it is, without running anything in it as a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # some spreadsheets run a cell that begins so, or hide such a cell


def to_csv(head: Sequence[object], rows: Iterable[Sequence[object]], *, about: str = "") -> str:
    """A table as CSV text; the first line has the names of the columns.

    about: a description of the table, written before the header as a line that begins with "#".
    """
    text = io.StringIO()
    if about:
        text.write(f"# {_comment(about)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(value) for value in head])
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


def cell(value: object) -> object:
    """A value for a CSV file: text that could be a formula gets an apostrophe in front; numbers and None (an empty cell) stay.

    A lone surrogate, which no UTF-8 file can hold, becomes its escape.
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
    """The text on one line, with an apostrophe before what could be a formula: spreadsheets split this line into cells, too."""
    line = re.sub(r"\s*[\r\n]+\s*", " ", _encodable(text))
    return re.sub(r"([,;\t]\s*)(?=[=@]|[+-](?![0-9.]))", r"\1'", line)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
