"""What viewers ask of a running training."""

from trs_explorer.catalogue import METHODS
from trs_explorer.options import HYPER_PARAMETERS, UsageError
from trs_explorer.training.state import State

ACTIONS = ("pause", "resume", "save", "stop", "note", "set")


def apply(state: State, asked: dict) -> dict:
    """Set a lambda if that is asked; returns what the echo in the log says, with an "error" for what cannot be done."""
    echo = {name: asked[name] for name in ("action", "name", "value", "text") if name in asked}
    if asked.get("action") not in ACTIONS:
        return {**echo, "error": f"there is no action {asked.get('action')!r}"}
    if asked["action"] == "set":
        name = str(asked.get("name"))
        try:
            method = METHODS[state.run.config.method]
            if not name.startswith("lambda_") or name not in method.defaults or name in method.fixed:
                raise UsageError(f"{state.run.config.method} has no weight {name!r} to change")
            state.options[name] = HYPER_PARAMETERS[name].check(asked.get("value"))
        except UsageError as error:
            return {**echo, "error": str(error)}
    return echo
