"""A card's state as an address has it: every field has a valid value, and a sentence says which of them the address had not."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from dash.development.base_component import Component

from trs_explorer.web.lesson.card import Card

PARTS = ("controls", "question", "answer", "sources", "nav")  # that an address can hide
KEPT = ("lock", "hide", "theme")  # what stays from card to card
THEMES = ("light", "dark")


@dataclass(frozen=True)
class CardState:
    """What is shown of a card.

    card: the card.
    fields: its fields' values.
    guess: the number of the choice that was taken, from 1; 0: none yet.
    reveal: whether the answer is shown.
    lock, hide, theme: whether controls are disabled; the PARTS that are hidden; one of THEMES, "" for the browser's.
    notices: sentences about what the address had wrong.
    """

    card: Card
    fields: Mapping[str, float | str]
    guess: int = 0
    reveal: bool = False
    lock: bool = False
    hide: tuple[str, ...] = ()
    theme: str = ""
    notices: tuple[str, ...] = ()

    @property
    def sealed(self) -> bool:
        """Whether this is a question for a test: locked, and without its answer."""
        return self.lock and "answer" in self.hide

    @property
    def values(self) -> dict[str, float | str]:
        """All fields, with those that every card has: what the page's components hold. "" stands for nothing."""
        kept = {"lock": int(self.lock) or "", "hide": ",".join(self.hide), "theme": self.theme}
        return {**self.fields, "guess": self.guess or "", "reveal": int(self.reveal) or "", **kept}


def parse_address(cards: Sequence[Card], pathname: str, search: str) -> CardState:
    """Return the state of an address. The first card if it names none; initial values for fields that it has not, or wrong.

    pathname, search: as the browser's location has them. Only the path's last part counts: a proxy's prefix may stand before it.
    """
    query = dict(parse_qsl(search.lstrip("?")))
    name = pathname.rstrip("/").rpartition("/")[2]
    card = next((card for card in cards if card.name == name), cards[0])
    fields, notices, limits = {}, [], limits_of(card)
    for field, initial in card.fields.items():
        fields[field], notice = _parse(field, query.get(field, ""), initial, limits.get(field))
        notices += [notice] if notice else []
    hide = tuple(part for part in query.get("hide", "").split(",") if part in PARTS)
    guess, lock = (_number(query.get(field, "")) for field in ("guess", "lock"))
    sealed = lock == 1 and "answer" in hide
    return CardState(
        card,
        fields,
        guess=int(guess) if guess in range(1, len(card.choices) + 1) else 0,
        reveal=_number(query.get("reveal", "")) == 1 and not sealed,
        lock=lock == 1,
        hide=hide,
        theme=query["theme"] if query.get("theme") in THEMES else "",
        notices=tuple(notices),
    )


def limits_of(card: Card) -> dict[str, tuple[float, float]]:
    """Return the least and the largest value of every control of a card that has them, by field."""
    limits = {}
    for component in components(card.stage, card.controls):
        name = field_of(component)
        if name and getattr(component, "min", None) is not None:
            limits[name] = (component.min, component.max)
    return limits


def components(*parts: object) -> Iterator[Component]:
    """Yield all components in these, and within them."""
    for part in parts:
        if isinstance(part, list | tuple):
            yield from components(*part)
        elif isinstance(part, Component):
            yield part
            yield from components(getattr(part, "children", None))


def field_of(component: Component) -> str:
    """Return the field that a component sets; "" if it sets none."""
    name = getattr(component, "id", None)
    return name.get("field", "") if isinstance(name, dict) else ""


def _parse(name: str, raw: str, initial: float | str, limits: tuple[float, float] | None) -> tuple[float | str, str]:
    """Return a field's value, and a sentence if it is not what the address says."""
    if raw == "" or isinstance(initial, str):
        return raw or initial, ""
    value = _number(raw)
    shown: float = initial if math.isnan(value) else value
    if limits:
        shown = min(max(shown, limits[0]), limits[1])
    shown = int(shown) if float(shown).is_integer() else shown
    between = f" from {limits[0]:g} to {limits[1]:g}" if limits else ""
    return shown, "" if shown == value else f"{name} takes a number{between}, got {raw[:30]}: showing {shown:g}"


def _number(raw: str) -> float:
    """Return the number that a text is; nan if it is none, or not finite."""
    try:
        value = float(raw)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
