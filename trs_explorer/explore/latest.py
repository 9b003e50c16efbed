"""Slots in which only the newest request counts, such as the slice that one browser tab shows."""

import threading
import weakref
from collections.abc import Hashable


class Ticket:
    """The place of a request in its slot, and of those after it that are about the same."""

    def __init__(self, about: Hashable) -> None:
        self.about = about
        self._superseded = False

    def cancelled(self) -> bool:
        """Whether a newer request has entered the slot."""
        return self._superseded


class Latest:
    """Slots by name; a new request in a slot cancels the one before it, unless both are about the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Weak: a slot disappears with the request that holds its newest ticket, so closed pages cost nothing.
        self._newest: weakref.WeakValueDictionary[str, Ticket] = weakref.WeakValueDictionary()

    def enter(self, slot: str, about: Hashable) -> Ticket:
        """Return a ticket for a new request in this slot; a previous one about something else is cancelled."""
        ticket = Ticket(about)
        with self._lock:
            previous = self._newest.get(slot)
            if previous is not None and previous.about == about:
                return previous
            if previous is not None:
                previous._superseded = True
            self._newest[slot] = ticket
        return ticket
