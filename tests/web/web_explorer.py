"""What the tests of the page know of the explorer that they look at."""

from dataclasses import dataclass

from trs_explorer.explore.library import Library


@dataclass(frozen=True)
class Explorer:
    """A running explorer: its address, and the library that it shows."""

    address: str
    library: Library
