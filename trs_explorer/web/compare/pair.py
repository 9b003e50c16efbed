"""Parse a request of the Compare page: which two runs are compared, with which settings."""

from collections.abc import Mapping
from dataclasses import dataclass

from trs_explorer.config import same_split
from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.history import shown_checkpoint
from trs_explorer.web.page_request import PageRequest, parse_request, preferred_run
from trs_explorer.web.state import ATTACK_OPTION_FIELDS, is_plane

BASELINE = "dverge"  # the method of the default run B
ALONG = {
    "both": "gradients of A and of B",
    "a": "gradient of A, a random direction",
    "b": "gradient of B, a random direction",
}
# Fields of `State` that both runs share.
SHARED = ("image", "seed", "span", "eps", "norm", "attack", *ATTACK_OPTION_FIELDS, "n", "theme")
FIELDS = ("a", "b", "along", *SHARED)  # of the address that a control shows
WEIGHTS = {"a": "weights_a", "b": "weights_b"}  # fields of the address besides: which weights a link was made with
WEIGHTS_DIGITS = 12


@dataclass(frozen=True)
class Pair:
    """Two runs on the same data, in the same state.

    a, b: the parsed requests of the two sides.
    along: the plane's axes, a key of ALONG.
    warnings: a sentence for each field that had to be changed.
    """

    a: PageRequest
    b: PageRequest
    along: str
    warnings: list[str]

    @property
    def sides(self) -> dict[str, PageRequest]:
        """Return both requests by side, "a" and "b"."""
        return {"a": self.a, "b": self.b}

    @property
    def names(self) -> dict[str, str]:
        """Return the runs' names by side."""
        return {side: request.loaded.name for side, request in self.sides.items()}

    def to_json(self) -> Json:
        """Return the resolved fields that controls show."""
        return {**self.names, "along": self.along, **{name: getattr(self.a.state, name) for name in SHARED}}

    def address(self) -> Json:
        """Return the fields of a link: also the first digits of both weights' SHA-256."""
        return self.to_json() | {WEIGHTS[side]: one.loaded.digest[:WEIGHTS_DIGITS] for side, one in self.sides.items()}


def parse_pair(library: Library, fields: Mapping[str, object]) -> Pair:
    """Return the valid pair nearest to a request's fields. Raises UsageError or RunError if a run's weights cannot be loaded."""
    warnings: list[str] = []
    first = _readable(library, fields.get("a"), _first(library), "A", warnings)
    data = library.run(first).config.data
    second = _readable(library, fields.get("b"), default_opponent(library, first), "B", warnings)
    if not same_split(library.run(first).config, library.run(second).config, "test"):
        replacement, theirs = default_opponent(library, first), library.run(second).config.data
        where = f"on {theirs}, {first} on {data}" if theirs != data else f"on other {data} images than {first}"
        warnings.append(f"{second} is {where}: B is {replacement}")
        second = replacement
    along = str(fields.get("along") or "both")
    if along not in ALONG:
        warnings.append(f"along must be one of {', '.join(ALONG)}, got {along[:40]!r}")
        along = "both"
    shared = {name: fields.get(name) for name in SHARED} | {"client": fields.get("client", "")}
    a, b = (parse_request(library, {**shared, "run": name}) for name in (first, second))
    pair = Pair(a, b, "a" if is_plane(data) else along, [*warnings, *dict.fromkeys([*a.warnings, *b.warnings])])
    for side, request in pair.sides.items():
        linked, shown = str(fields.get(WEIGHTS[side]) or ""), request.loaded.digest
        if not shown.startswith(linked):
            now = f"{side.upper()} is {pair.names[side]}, {shown_checkpoint(request.loaded)}"
            pair.warnings.append(
                f"{now}: the link was made with other weights ({linked[:WEIGHTS_DIGITS]}; these are {shown[:WEIGHTS_DIGITS]})"
            )
    return pair


def run_a(library: Library, fields: Mapping[str, object]) -> str:
    """Return the name of the run A that a request's fields describe."""
    return _readable(library, fields.get("a"), _first(library), "A", [])


def _readable(library: Library, name: object, replacement: str, side: str, warnings: list[str]) -> str:
    """Return the run of that name if there is one that can be read, else its replacement, with a warning."""
    if not name:
        return replacement
    try:
        library.run(str(name))
    except (RunError, UsageError) as error:
        warnings.append(f"{error}: {side} is {replacement}")
        return replacement
    return str(name)


def _first(library: Library) -> str:
    """Return the default run A: the explorer's, if it can be shown, else the first run that can."""
    saved = [name for name in library.names if _can_be_shown(library, name)]
    return next((name for name in (preferred_run(library), *saved) if name in saved), preferred_run(library))


def default_opponent(library: Library, name: str) -> str:
    """Return what a run is compared with: a baseline run on the same data, else any other with a checkpoint, else itself."""
    config, library_runs = library.run(name).config, library.runs()
    others = [other for other, run in library_runs.items() if other != name and same_split(run.config, config, "test")]
    saved = [other for other in others if _can_be_shown(library, other)]
    baselines = [other for other in saved if library_runs[other].config.method == BASELINE]
    return next(iter(baselines + saved), name)


def _can_be_shown(library: Library, name: str) -> bool:
    """Whether a run has a checkpoint, and its code may run; false if it cannot be read or has just been removed."""
    try:
        return bool(library.checkpoints(name)) and library.may_run(name)
    except (RunError, UsageError):
        return False
