"""Safe conversions of values from untrusted JSON to numbers and text. They accept any value and never raise."""

import math

from trs_explorer.files import printable

LONGEST_TEXT = 300  # characters: a note has 200 at most


def number(value: object) -> float | None:
    """The value as a finite float, None for anything else."""
    try:
        converted = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an int beyond all floats
        converted = math.nan
    return converted if math.isfinite(converted) else None


def whole(value: object) -> int | None:
    """The value as an int, None for anything that is not a number."""
    converted = number(value)
    return None if converted is None else int(converted)


def text(value: object, most: int = LONGEST_TEXT) -> str:
    """The value on one line of at most `most` printable characters, white space as single blanks."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        converted = number(value)
        return "?" if converted is None else f"{value:g}" if isinstance(value, float) or abs(value) >= 1e15 else str(value)
    if value is None:
        return "?"
    try:
        line = " ".join((value if isinstance(value, str) else str(value))[: 4 * most].split())
    except RecursionError:  # lists in lists in lists
        return "?"
    line = printable(line)
    return line if len(line) <= most else line[: most - 3] + "..."
