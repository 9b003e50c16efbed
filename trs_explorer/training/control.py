"""Requests of viewers to a running training, and signals that stop it: they reach all of its processes at the same step."""

from collections.abc import Sequence
from threading import Event

from trs_explorer.events import ControlReader
from trs_explorer.options import UsageError
from trs_explorer.training.processes import REQUESTS, STOP, Processes
from trs_explorer.training.state import State

ACTIONS = ("pause", "resume", "save", "stop", "note", "set")


def apply(state: State, request: dict) -> dict:
    """Set a loss weight if the request is "set"; returns the fields of its echo in the log.

    The echo has an "error" if the request is refused. Other actions are carried out by the loop.
    """
    echo = {name: request[name] for name in ("action", "name", "value", "text") if name in request}
    if request.get("action") not in ACTIONS:
        return {**echo, "error": f"there is no action {request.get('action')!r}"}
    if request["action"] == "set":
        name = str(request.get("name"))
        try:
            method = state.run.config.about_method
            if not name.startswith("lambda_") or name not in method.defaults or name in method.fixed:
                raise UsageError(f"{state.run.config.method} has no weight {name!r} to change")
            state.options[name] = method.options[name].check(request.get("value"))
        except UsageError as error:
            return {**echo, "error": str(error)}
    return echo


class Inbox:
    """What reaches a training between two steps: requests of viewers, and whether a signal to any process stops it."""

    def __init__(self, requests: ControlReader | None, stop: Event | None, processes: Processes) -> None:
        """Start empty.

        requests: of the viewers; None in the processes that follow.
        stop: set by signals to this process.
        """
        self.processes, self._reader, self._stop = processes, requests, stop or Event()
        self._pending: list[dict] = []
        self._stopped = False

    @property
    def stops(self) -> bool:
        """Whether the training ends after the present step; the same in all processes."""
        return self._stopped or (self.processes.size == 1 and self._stop.is_set())

    def stop_all(self) -> None:
        """Stop the training on a request, which all processes carry out."""
        self._stopped = True
        self._stop.set()

    def set_flags(self) -> None:
        """Set the flags that this process sends in the next exchange: what is new here."""
        if self.processes.size > 1:
            self._pending += self._reader.poll() if self._reader else []
            self.processes.flags = [self._stop.is_set(), bool(self._pending)]

    def exchange_flags(self) -> None:
        """Send and receive what is new without a step."""
        self.set_flags()
        self.processes.exchange_flags()

    def receive(self) -> Sequence[dict]:
        """Return the requests that have come; after an exchange, if there are several processes."""
        if self.processes.size == 1:
            return self._reader.poll() if self._reader else []
        if self.processes.received[STOP]:
            self.stop_all()
        if not self.processes.received[REQUESTS]:
            return []
        requests, self._pending = self.processes.broadcast(self._pending), []
        return requests
