"""Numbers and texts out of JSON that a stranger may have written: anything may stand anywhere, and nothing here raises."""

import math

from trs_explorer.files import printable

LONGEST_TEXT = 300  # characters: a note has 200 at most


def number(value: object) -> float | None:
    """The value as a finite float, None for anything else."""
    try:
        found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an int beyond all floats
        found = math.nan
    return found if math.isfinite(found) else None


def whole(value: object) -> int | None:
    """The value as an int, None for anything that is not a number."""
    found = number(value)
    return None if found is None else int(found)


def text(value: object, most: int = LONGEST_TEXT) -> str:
    """The value on one line of at most `most` printable characters, white space as single blanks."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = number(value)
        return "?" if found is None else f"{value:g}" if isinstance(value, float) or abs(value) >= 1e15 else str(value)
    if value is None:
        return "?"
    try:
        words = " ".join((value if isinstance(value, str) else str(value))[: 4 * most].split())
    except RecursionError:  # lists in lists in lists
        return "?"
    line = printable(words)
    return line if len(line) <= most else line[: most - 3] + "..."
