"""What a request is about: the state that its fields make, and the members that the state names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trs_explorer.explore.library import Library, Loaded
from trs_explorer.options import UsageError
from trs_explorer.web.state import State, read

PREFERRED = "mnist-trs"
NO_OWN = "read-only: no pictures of one's own here"


@dataclass(frozen=True)
class Asked:
    """What a callback was asked, made whole: the state, on what, and what could not be had."""

    state: State
    loaded: Loaded
    complaints: list[str]
    dark: bool
    client: str


def understand(library: Library, wish: Mapping[str, object]) -> Asked:
    """Loads what a wish is about. Raises UsageError or RunError if that cannot be: in words, for the page.

    Not to be called in a turn: a run whose files are slow would keep all others waiting.
    """
    name, at = str(wish.get("run") or preferred(library)), str(wish.get("at") or "")
    run, complaints = library.run(name), []
    if at and at not in library.checkpoints(name):
        complaints.append(f"{name} has no checkpoint {at[:20]}: showing the newest")
        at = ""
    loaded = library.load(name, at)
    if library.readonly and wish.get("own"):
        wish = {**wish, "own": ""}
        complaints.append(NO_OWN)
    wish = {**wish, "at": at}
    state, more = read(wish, run=name, data=run.config.data, members=len(loaded.ensemble), images=len(loaded.data))
    if state.weights and not loaded.digest.startswith(state.weights):
        complaints.append(f"the link was made on other weights ({state.weights[:12]}); these are {loaded.digest[:12]}")
    state = replace(state, weights=loaded.digest[:12])
    return Asked(
        state, loaded, complaints + more, str(wish.get("dark")).lower() in ("1", "true"), str(wish.get("client", ""))[:64]
    )


def preferred(library: Library) -> str:
    """The run that the page opens on. Raises UsageError if there is none any more."""
    names = library.names
    if not names:
        raise UsageError("there is no run here any more")
    return PREFERRED if PREFERRED in names else names[0]
