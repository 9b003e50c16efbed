"""Requests of viewers to a running training."""

from trs_explorer.options import UsageError
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
