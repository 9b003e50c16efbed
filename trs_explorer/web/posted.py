"""Check the values that a browser posts into callbacks: one that the page cannot hold is refused in words.

The stores of the page hold what callbacks have put there, and callbacks rely on that. Anyone can post something else.
"""

import math
from collections.abc import Callable, Iterator, Mapping

from flask import Flask, Response, request

from trs_explorer.explore.slices import HEAVY_LEVELS
from trs_explorer.figures.layers import LAYERS
from trs_explorer.figures.theme import LOOKS
from trs_explorer.web.controls import FIELDS
from trs_explorer.web.state import State

ADDRESS = "/_dash-update-component"
MAX_MEMBERS = 1000
REFUSAL = "this is no value that the page holds: reload it"
Checks = Mapping[object, Callable[[object], bool]]  # by component id


def refuse_malformed(server: Flask, checks: Checks, address: str = ADDRESS) -> None:
    """Respond with status 400 to a callback's request with a value that its component cannot have.

    checks: what a component of the page can have; None, which any component may have, passes without a check.
    address: that of the page's callbacks.
    """

    @server.before_request
    def check() -> Response | None:
        if request.path != address:
            return None
        values = _values(request.get_json(silent=True))
        if all(value is None or name not in checks or checks[name](value) for name, value in values):
            return None
        return Response(REFUSAL, 400, mimetype="text/plain")


def _values(body: object) -> Iterator[tuple[object, object]]:
    """Yield the id and the value of every component in a request. Buttons, whose ids are no texts, are left out."""
    for group in ("inputs", "state"):
        parts = body.get(group) if isinstance(body, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and isinstance(part.get("id"), str):
                yield part["id"], part.get("value")


def is_number(value: object) -> bool:
    """Whether a value is a number that calculations can take."""
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)  # type: ignore[arg-type]


def is_text(value: object) -> bool:
    """Whether a value is a text that an answer can repeat: half a surrogate pair could not be encoded."""
    return isinstance(value, str) and value == value.encode("utf-8", "replace").decode()


def is_plain(value: object) -> bool:
    """Whether a value is a text, a number or a truth value."""
    return isinstance(value, bool) or is_text(value) or is_number(value)


def is_fields(value: object) -> bool:
    """Whether a value is a dictionary."""
    return isinstance(value, dict)


def are_texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(map(is_text, value))


def _is_state(value: object) -> bool:
    """Whether it is a resolved state with its number of members, or the reason why there is none."""
    if isinstance(value, dict) and "error" in value:
        return has(value, run=is_text, error=is_text)
    fields = {name: is_text if is_text(default) else is_number for name, default in State("").to_json().items()}
    return has(value, **fields | {"layer": _is_layer, "members": _is_member_count})


def _is_layer(value: object) -> bool:
    return is_text(value) and value in LAYERS


def _is_member_count(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_MEMBERS


def has(value: object, **checks: Callable[[object], bool]) -> bool:
    """Whether a value is a dictionary with these fields, each of which passes its check."""
    return isinstance(value, dict) and all(name in value and check(value[name]) for name, check in checks.items())


def _is_level(value: object) -> bool:
    return type(value) is int and 0 <= value <= len(HEAVY_LEVELS) + 1


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


CHECKS: Checks = {
    **dict.fromkeys((*FIELDS, "client", "scrub"), is_plain),
    "shown": are_texts,
    "address": is_text,
    "upload": is_text,
    "save-width": is_number,
    "needed": is_fields,
    "state": _is_state,
    "settled": _is_state,
    "slice-state": _is_state,
    "attack-state": _is_state,
    "film-state": _is_state,
    "gallery-key": is_text,
    "custom-options-html": is_text,
    "history-shown": lambda value: isinstance(value, list),
    "bounds-shown": lambda value: isinstance(value, list),
    "measured": lambda value: value == {} or has(value, state=_is_state),
    "attack-data": lambda value: has(value, about=is_fields),
    "next": lambda value: has(value, key=is_text, level=_is_level),
    "pointer": lambda value: has(value, key=is_text, point=_is_point),
    "look": lambda value: is_text(value) and value in LOOKS,
}
