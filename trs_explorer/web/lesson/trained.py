"""The pairs that were trained in the lesson, by browser tab: cards 3 and 4 show them beside the stored ones."""

import threading
from collections import OrderedDict

from trs_explorer.explore.two_nets import CORNERS, Settings
from trs_explorer.files import Json

MAX_SESSIONS, MAX_PAIRS = 256, 64


class Trained:
    """The figures of trained pairs, by session and settings; the sessions used last are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, OrderedDict[Settings, Json]] = OrderedDict()

    def add(self, session: str, settings: Settings, figures: Json) -> None:
        """Keep a pair's figures for a session."""
        with self._lock:
            pairs = self._sessions.setdefault(session, OrderedDict())
            self._sessions.move_to_end(session)
            pairs[settings] = figures
            while len(pairs) > MAX_PAIRS:
                pairs.popitem(last=False)
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)

    def of(self, session: str) -> list[tuple[Settings, Json]]:
        """Return a session's pairs, in the order of their first training."""
        with self._lock:
            return list(self._sessions.get(session, OrderedDict()).items())


TRAINED = Trained()


def corner_of(settings: Settings) -> str:
    """Return the name of the settings' weights; the weights themselves if they have none."""
    weights = settings.lambda_a, settings.neighbours, settings.smooth
    return next((corner for corner, those in CORNERS.items() if those == weights), ", ".join(f"{weight:g}" for weight in weights))
