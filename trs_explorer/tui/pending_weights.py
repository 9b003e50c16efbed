"""Loss weights that were requested from the trainer and are not confirmed in the log yet."""

import time
from collections.abc import Mapping

from trs_explorer.values import number

CONFIRM_S = 3.0  # after this, a weight that the trainer has not confirmed counts as not changed


class PendingWeights:
    """Requested weights by name. While one is pending, the next key press continues from it, so that presses accumulate."""

    def __init__(self) -> None:
        """Start without requests."""
        self._values: dict[str, float] = {}
        self._requested_at = 0.0

    def add(self, name: str, value: float) -> None:
        """Remember a request."""
        self._values[name], self._requested_at = value, time.monotonic()

    def get(self, name: str, confirmed: object) -> float:
        """The requested value of a weight, or the confirmed one if none is pending."""
        return self._values.get(name, number(confirmed) or 0.0)

    def remove_confirmed(self, options: Mapping[str, float]) -> None:
        """Remove weights that the log contains by now, and those that took too long. options: the weights in the log."""
        late = time.monotonic() - self._requested_at > CONFIRM_S
        self._values = {name: value for name, value in self._values.items() if not late and options.get(name) != value}


def scaled(value: float, factor: float) -> float:
    """A weight times a factor, with four digits; a weight of 0 can be raised, to 0.01."""
    return float(f"{value * factor:.4g}") if value else (0.01 if factor > 1 else 0.0)
