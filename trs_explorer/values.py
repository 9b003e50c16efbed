"""Safe numbers and texts from JSON that may come from a stranger: any value is accepted, and nothing here raises."""

import math

from trs_explorer.files import printable

LONGEST_TEXT = 300  # characters: a note has 200 at most


def number(value: object) -> float | None:
    """The value as a finite float, None for anything else."""
    try:
        finite = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an int beyond all floats
        finite = math.nan
    return finite if math.isfinite(finite) else None


def whole(value: object) -> int | None:
    """The value as an int, None for anything that is not a number."""
    finite = number(value)
    return None if finite is None else int(finite)


def text(value: object, most: int = LONGEST_TEXT) -> str:
    """The value as one line of at most `most` printable characters, with white space collapsed to single spaces."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        finite = number(value)
        return "?" if finite is None else f"{value:g}" if isinstance(value, float) or abs(value) >= 1e15 else str(value)
    if value is None:
        return "?"
    try:
        collapsed = " ".join((value if isinstance(value, str) else str(value))[: 4 * most].split())
    except RecursionError:  # lists in lists in lists
        return "?"
    line = printable(collapsed)
    return line if len(line) <= most else line[: most - 3] + "..."
