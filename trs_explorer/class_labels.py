"""Names of classes as labels: printable, and short enough for their place. Classes without names are called by their numbers."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from trs_explorer.files import printable

IN_REGION, IN_TITLE, IN_KEY, IN_SENTENCE = 10, 10, 24, 40  # columns of text
UNDEFINED = "undefined"  # of an output that is not a number
CUT = "…"


def text_columns(text: str) -> int:
    """Return how many columns of a fixed-width font a text takes: two for each East Asian wide character, none for accents."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def fitted(text: str, most: int) -> str:
    """Return a text of at most `most` columns: … stands for a longer one's end."""
    if text_columns(text) <= most:
        return text
    kept = ""
    for character in text:
        if text_columns(kept + character) > most - 1:
            break
        kept += character
    return kept.rstrip() + CUT


def class_label(names: Sequence[str], c: int, most: int) -> str:
    """Return a class's name in at most `most` columns, other than every other class's; without names its number.

    names: of all classes, in the order of their numbers; empty: they have none.  c: the class's number; negative: none.
    """
    if c < 0:
        return UNDEFINED
    return _labels(tuple(names), most)[c] if names else str(c)


def whole_label(names: Sequence[str], c: int) -> str:
    """Return a class's whole name, for tables and tooltips; without names its number."""
    if c < 0:
        return UNDEFINED
    return printable(names[c]) if names else str(c)


@lru_cache(maxsize=64)
def _labels(names: tuple[str, ...], most: int) -> tuple[str, ...]:
    """Return short forms of all names. Those that would be the same end with their class's number."""
    texts = [fitted(" ".join(printable(name).split()), most) for name in names]
    count = Counter(texts)
    return tuple(
        text if count[text] == 1 else f"{fitted(text.rstrip(CUT), most - len(str(c)) - 1)} {c}" for c, text in enumerate(texts)
    )
