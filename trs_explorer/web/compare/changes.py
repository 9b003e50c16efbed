"""What a change on the Compare page changes with it: the rules between fields."""

from collections.abc import Mapping

from trs_explorer.files import Json
from trs_explorer.web.changes import same
from trs_explorer.web.compare.pair import FIELDS

OF_AN_ATTACK = ("options",)
OF_A_DATA_SET = ("image", "span", "eps", "along", "b")
OTHER_SIDE = {"a": "b", "b": "a"}


def changed_fields(fields: Mapping[str, object], changes: Mapping[str, object], data_of: Mapping[str, str]) -> Json:
    """Return the fields after a change. Fields that no longer fit are left out: they get their defaults.

    fields: the complete state before, as JSON.
    changes: the fields that were changed, with their new values.
    data_of: the data set of every run.
    """
    dropped: set[str] = set()
    if "a" in changes and data_of.get(str(changes["a"])) != data_of.get(str(fields.get("a"))):
        dropped |= set(OF_A_DATA_SET)
    if "attack" in changes and fields.get("options"):
        dropped |= set(OF_AN_ATTACK)
    if "norm" in changes:
        dropped.add("eps")  # a radius in one norm says nothing in another
    kept = {name: value for name, value in fields.items() if name not in dropped - set(changes)}
    return {**kept, **changes}


def swapped(fields: Mapping[str, object]) -> Json:
    """Return the fields with A and B exchanged, and the plane's gradients with them."""
    along = str(fields.get("along") or "")
    return {**fields, "a": fields.get("b", ""), "b": fields.get("a", ""), "along": OTHER_SIDE.get(along, along)}


def changes(shown: Mapping[str, object], state: Mapping[str, object]) -> Json:
    """Return the fields that the controls show otherwise than a state has them.

    shown: what every control holds; None or "": a number that is being typed, a selection without an option, no custom options.
    """
    held = {name: shown.get(name) for name in FIELDS}
    given = {name: value for name, value in held.items() if value is not None and (value != "" or name in OF_AN_ATTACK)}
    return {name: value for name, value in given.items() if not same(state.get(name), value)}
