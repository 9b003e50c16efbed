"""What the Compare page's components can hold: the checks of `web.posted` for its callbacks."""

from trs_explorer.figures.theme import LOOKS
from trs_explorer.web.compare.pair import FIELDS
from trs_explorer.web.posted import Checks, has, is_plain, is_text

ADDRESS = "/compare/_dash-update-component"
MAX_COUNT = 10**9  # of clicks


def _is_state(value: object) -> bool:
    """Whether it has all fields of the address, also beside the reason why they cannot be used."""
    return _are_fields(value) and has(value, **dict.fromkeys(FIELDS, is_plain), swaps=_is_count)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _are_fields(value: object) -> bool:
    return isinstance(value, dict) and all(is_text(name) and is_plain(held) for name, held in value.items())


CHECKS: Checks = {
    **dict.fromkeys((*FIELDS, "client", "beat", "poll", "alive"), is_plain),
    "address": is_text,
    "swap": _is_count,
    "state": _is_state,
    **dict.fromkeys(("run-fields", "slice-fields", "attack-fields", "measure-fields", "settled", "remembered"), _are_fields),
    "fine": lambda value: has(value, a=is_text, b=is_text),
    "live-drawn": is_text,
    "custom-options-html": is_text,
    "newest": lambda value: isinstance(value, dict),
    "look": lambda value: is_text(value) and value in LOOKS,
}
