"""Which two runs are compared, and with what settings: a wish from the address made whole."""

from collections.abc import Mapping
from dataclasses import dataclass

from trs_explorer.config import same_split
from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.asked import Asked, preferred, understand
from trs_explorer.web.state import is_plane

BASELINE = "dverge"  # the method that B is unless told otherwise
ALONG = {"both": "gradient of A x gradient of B", "a": "gradient of A x random", "b": "gradient of B x random"}
SHARED = ("image", "seed", "span", "eps", "norm", "attack", "steps", "n")  # fields of State that both runs share
FIELDS = ("a", "b", "along", *SHARED)  # of the address


@dataclass(frozen=True)
class Pair:
    """Two runs on the same data, in the same state.

    along: what the plane goes along, a key of ALONG.  complaints: what could not be had, in words.
    """

    a: Asked
    b: Asked
    along: str
    complaints: list[str]

    @property
    def sides(self) -> dict[str, Asked]:
        """Both, by the name of the side."""
        return {"a": self.a, "b": self.b}

    @property
    def names(self) -> dict[str, str]:
        """The runs' names by side."""
        return {side: asked.loaded.name for side, asked in self.sides.items()}

    def to_json(self) -> Json:
        """The fields of the address, as they were understood."""
        return {**self.names, "along": self.along, **{name: getattr(self.a.state, name) for name in SHARED}}


def pair_of(library: Library, wish: Mapping[str, object]) -> Pair:
    """The pair that comes nearest to a wish. Raises UsageError or RunError if one of the runs cannot be had: in words."""
    complaints = []
    first = str(wish.get("a") or _first(library))
    data = library.run(first).config.data
    second = str(wish.get("b") or other(library, first))
    if not same_split(library.run(first).config, library.run(second).config, "test"):
        nearest, theirs = other(library, first), library.run(second).config.data
        where = f"on {theirs}, {first} on {data}" if theirs != data else f"on other {data} images than {first}"
        complaints.append(f"{second} is {where}: B is {nearest}")
        second = nearest
    along = str(wish.get("along") or "both")
    if along not in ALONG:
        complaints.append(f"along is one of {', '.join(ALONG)}, not {along[:40]!r}")
        along = "both"
    shared = {name: wish.get(name) for name in (*SHARED, "dark")} | {"client": wish.get("client", "")}
    a, b = (understand(library, {**shared, "run": name}) for name in (first, second))
    return Pair(a, b, "a" if is_plane(data) else along, [*complaints, *dict.fromkeys([*a.complaints, *b.complaints])])


def _first(library: Library) -> str:
    """The run that the page opens on: the explorer's, if it has been saved, else the first that has."""
    saved = [name for name in library.names if _is_saved(library, name)]
    return next((name for name in (preferred(library), *saved) if name in saved), preferred(library))


def other(library: Library, name: str) -> str:
    """What a run is compared with: the baseline's run on the same data, else any other that has been saved, else itself."""
    mine, known = library.run(name).config, library.runs()
    others = [one for one, run in known.items() if one != name and same_split(run.config, mine, "test")]
    same = [one for one in others if _is_saved(library, one)]
    baseline = [one for one in same if known[one].config.method == BASELINE]
    return next(iter(baseline + same), name)


def _is_saved(library: Library, name: str) -> bool:
    """Whether a run has a checkpoint; not, if it cannot be looked into or has just been removed."""
    try:
        return bool(library.checkpoints(name))
    except (RunError, UsageError):
        return False
