"""What a card is, and the parts that cards are made of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from dash import html

from trs_explorer.files import Json
from trs_explorer.web.markup import Field


@dataclass(frozen=True)
class Teacher:
    """What the teacher's page has of a card: minutes in a short round, what to say, to ask, and what a class gets wrong."""

    minutes: float
    say: str
    ask: str
    wrong: str


@dataclass(frozen=True)
class Card:
    """One card, all words and controls; what it draws is its script's.

    name: in its address, /lesson/NAME, and its script's.  lead: what there is to see.  stage: what the script draws into.
    right: the number of the choice that is true.  answer: paragraphs.  paper, measured: who says what.
    fields: the state, with what it begins with; a field is in the address, and a control with its name changes it.
    """

    name: str
    title: str
    lead: str
    stage: object
    controls: object
    question: str
    choices: tuple[str, ...]
    right: int
    answer: tuple[object, ...]
    paper: str
    measured: object
    teacher: Teacher
    fields: Mapping[str, float | str] = field(default_factory=dict)

    def meta(self) -> Json:
        """What the scripts must know."""
        return {
            "name": self.name,
            "title": self.title,
            "right": self.right,
            "choices": len(self.choices),
            "fields": dict(self.fields),
        }


def slider(name: str, label: str, *, low: float, high: float, step: float, unit: str = "") -> html.Label:
    """A control for a number, its value beside it; the scripts write both. What it begins with stands in the card's fields."""
    bar = Field(type="range", min=low, max=high, step=step, value=low, **{"data-field": name})
    value = html.Output(**{"data-value-of": name, "data-unit": unit})
    return html.Label([html.Span(label), bar, value], className="slider")


def choice(text: str, /, *, title: str = "", **fields: float | str) -> html.Button:
    """A button that puts these fields into the card's state; pressed while the state has them."""
    return html.Button(text, **({"title": title} if title else {}), **{"data-set": json.dumps(fields), "aria-pressed": "false"})


def out(name: str) -> html.Span:
    """A text that the card's script writes, by lesson.write."""
    return html.Span(**{"data-out": name})


def number(name: str, text: object) -> html.Div:
    """A large number that the card's script writes, and below it what it is."""
    return html.Div([html.Div(out(name), className="big"), html.Small(text)])


def after(children: object) -> html.Div:
    """What may only be seen once the class has guessed."""
    return html.Div(children, **{"data-after": True})
