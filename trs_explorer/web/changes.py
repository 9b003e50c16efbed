"""What a change of the page's state changes with it: the rules between fields."""

from collections.abc import Mapping

from trs_explorer.files import Json
from trs_explorer.web.state import SLICE_FIELDS

OF_A_RUN = ("at", "weights", "start", "hide")
OF_A_DATA_SET = ("image", "own", "second", "third", "eps", "span", "plane", "label", "surrogate", "target")
OF_A_SLICE = tuple(name for name in SLICE_FIELDS if name != "span")  # the point (a, b) lies elsewhere if one of them changes


def changed_fields(fields: Mapping[str, object], changes: Mapping[str, object], data_of: Mapping[str, str]) -> Json:
    """Return the fields after a change. Fields that no longer fit are left out: they get their defaults.

    fields: the complete state before, as JSON.
    changes: the fields that were changed, with their new values.
    data_of: the data set of every run.
    """
    changes = {name: value for name, value in changes.items() if not same(fields.get(name), value)}
    dropped: set[str] = set()
    if "run" in changes:
        dropped |= set(OF_A_RUN)
        if data_of.get(str(changes["run"])) != data_of.get(str(fields.get("run"))):
            dropped |= set(OF_A_DATA_SET)
    if "at" in changes:
        dropped.add("weights")
    if "attack" in changes and fields.get("options"):
        dropped.add("options")
    if "image" in changes:
        dropped.add("own")
    if "norm" in changes:
        dropped.add("eps")  # a radius in one norm says nothing in another
    if any(name in changes for name in OF_A_SLICE):
        dropped.add("start")
    kept = {name: value for name, value in fields.items() if name not in dropped - set(changes)}
    return {**kept, **changes}


def same(before: object, after: object) -> bool:
    """Whether two values of a field are the same, numbers as texts included."""
    try:
        return float(str(before)) == float(str(after))
    except ValueError:
        return ("" if before is None else str(before)) == ("" if after is None else str(after))
