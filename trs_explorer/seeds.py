"""Several seeds as one text: 0-4 or 0,3,7. No torch."""

import re

from trs_explorer.config import SETTINGS
from trs_explorer.options import UsageError

MOST = 1000  # seeds of one command


def parse_seeds(text: str, *, name: str = "--seeds") -> list[int]:
    """The seeds of a text such as 0-4, 0,3,7 or both: each once, ascending.

    - name: of the flag or the key that has the text, for messages.

    Raises: UsageError for any other text, a seed out of range, or more than MOST.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{name}: give at least one value")
    seeds: set[int] = set()
    for part in parts:
        found = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", part)
        if found is None:
            raise UsageError(f"{name} takes seeds such as 0-4 or 0,3,7, got {part!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first >= MOST:
            raise UsageError(f"{name} {part}: a range goes from a smaller to a larger seed, {MOST} seeds at most")
        SETTINGS["seed"].check(last)
        seeds.update(range(first, last + 1))
    if len(seeds) > MOST:
        raise UsageError(f"{name}: {MOST} seeds at most, got {len(seeds)}")
    return sorted(seeds)
