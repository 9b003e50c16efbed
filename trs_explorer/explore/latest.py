"""Slots in which only the newest request counts, such as the slice that one browser tab shows."""

import threading
import weakref


class Ticket:
    """One request's place in its slot."""

    def __init__(self) -> None:
        self._superseded = False

    def cancelled(self) -> bool:
        """Whether a newer request has entered the slot."""
        return self._superseded


class Latest:
    """Slots by name; a new request in a slot cancels the one before it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Weak: a slot disappears with the request that holds its newest ticket, so closed pages cost nothing.
        self._newest: weakref.WeakValueDictionary[str, Ticket] = weakref.WeakValueDictionary()

    def enter(self, slot: str) -> Ticket:
        """Return a ticket for a new request in this slot, and cancel the previous request."""
        ticket = Ticket()
        with self._lock:
            previous = self._newest.get(slot)
            if previous is not None:
                previous._superseded = True
            self._newest[slot] = ticket
        return ticket
