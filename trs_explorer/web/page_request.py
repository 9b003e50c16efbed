"""Parse a request of the page: the state that its fields describe, and the ensemble that the state is about."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trs_explorer.explore.library import Library, Loaded
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.web.state import State, is_plane, parse_state

PREFERRED = "mnist-trs"  # the run that the page opens on, if it is there
NO_UPLOADS = "read-only: pictures cannot be uploaded here"


@dataclass(frozen=True)
class PageRequest:
    """A parsed request.

    state: the complete, valid state.
    loaded: the ensemble and data that the state is about.
    warnings: for each field that had to be changed, a sentence that says why.
    client: the browser tab's id, empty if it sent none.
    """

    state: State
    loaded: Loaded
    warnings: list[str]
    client: str

    def resolved_fields(self, fields: Mapping[str, object]) -> Json:
        """Return the state for the page, the names of the fields that differ from the request, and the warnings."""
        resolved = self.state.to_json()
        corrected = [name for name, value in resolved.items() if not _same_value(fields.get(name), value)]
        return {"fixed": resolved, "corrected": corrected, "notice": "\n".join(self.warnings)}


def parse_request(library: Library, fields: Mapping[str, object]) -> PageRequest:
    """Parse a request's fields and load the ensemble they name.

    Do not call it while holding the compute lock: a run whose files are slow to read would block every other request.
    Raises: UsageError or RunError, with a message for the page, if the run or checkpoint cannot be loaded.
    """
    name, checkpoint = str(fields.get("run") or preferred_run(library)), str(fields.get("at") or "")
    run, warnings = library.run(name), []
    if checkpoint and checkpoint not in library.checkpoints(name):
        warnings.append(f"{name} has no checkpoint {checkpoint[:20]}: showing the newest")
        checkpoint = ""
    loaded = library.load(name, checkpoint)
    if library.readonly and fields.get("own"):
        fields = {**fields, "own": ""}
        warnings.append(NO_UPLOADS)
    fields = {**fields, "at": checkpoint}
    state, state_warnings = parse_state(
        fields, run=name, data=run.config.data, members=len(loaded.ensemble), images=len(loaded.data)
    )
    if state.weights and not loaded.digest.startswith(state.weights):
        warnings.append(f"the link was made with other weights ({state.weights[:12]}); these are {loaded.digest[:12]}")
    return PageRequest(
        state=replace(state, weights=loaded.digest[:12]),
        loaded=loaded,
        warnings=warnings + state_warnings,
        client=str(fields.get("client", ""))[:64],
    )


def image_name(request: PageRequest) -> str:
    """Return what the request's image is called in a caption."""
    if request.state.own:
        return "uploaded picture"
    return f"{'test point' if is_plane(request.loaded.data.name) else 'test image'} {request.state.image}"


def preferred_run(library: Library) -> str:
    """Return the run that the page opens on: one whose code may run, if there is one. Raises UsageError if there is none."""
    names = library.names
    if not names:
        raise UsageError("there is no run here any more")
    return PREFERRED if PREFERRED in names else next(filter(library.may_run, names), names[0])


def _same_value(requested: object, value: object) -> bool:
    """Whether a field has the requested value; true if nothing was requested."""
    if requested in (None, ""):
        return True
    try:
        return float(str(requested)) == float(str(value))
    except ValueError:
        return str(requested) == str(value)
