"""What the lesson's components can hold: the checks of `web.posted` for its callbacks."""

from trs_explorer.figures.theme import LOOKS
from trs_explorer.web.posted import Checks, has, is_plain, is_text

ADDRESS = "/lesson/_dash-update-component"


def _are_fields(value: object) -> bool:
    return isinstance(value, dict) and all(is_text(name) and is_plain(held) for name, held in value.items())


def _is_of_a_card(value: object) -> bool:
    return _are_fields(value) and has(value, card=is_text)


CHECKS: Checks = {
    **dict.fromkeys(("client", "session", "poll", "beat"), is_plain),
    "address": is_text,
    "asked": _is_of_a_card,
    "act": _is_of_a_card,
    "look": lambda value: is_text(value) and value in LOOKS,
}
