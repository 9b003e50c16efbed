"""A card of the lesson, and the elements that cards are built of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import dash_bootstrap_components as dbc
from dash import html


@dataclass(frozen=True)
class Teacher:
    """A card's notes for the teacher's page: minutes to plan for it, what to say and ask, and common misconceptions."""

    minutes: float
    say: str
    ask: str
    wrong: str


@dataclass(frozen=True)
class Card:
    """One card: all its texts and controls. Its picture is drawn by assets/web/lesson/NAME.mjs, or by its module's `view`.

    name: used in its address, /lesson/NAME.
    title, lead: the heading, and what the picture shows.
    stage: the elements that hold the picture.
    controls: the elements that change the state.
    question, choices, right: the question, the possible answers, and the number of the correct one.
    answer: paragraphs, shown after the guess.
    paper, measured: what the paper says, and what we measure.
    teacher: notes for the teacher's page.
    fields: the state's fields with their initial values. They are in the address; the component {"field": NAME} holds one.
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


def slider(name: str, label: str, *, low: float, high: float, step: float, unit: str = "") -> html.Label:
    """Build a slider with its value beside it. The initial value is in the card's fields."""
    control = dbc.Input(id={"field": name}, type="range", min=low, max=high, step=step)
    value = html.Output(**{"data-value-of": name, "data-unit": unit})
    return html.Label([html.Span(label), control, value], className="slider", **{"data-field": name})


def whole_number(name: str, label: str, *, high: int) -> html.Label:
    """Build an input for a whole number from 0 on. label: what stands before it."""
    control = dbc.Input(id={"field": name}, type="number", min=0, max=high, step=1)
    return html.Label([html.Span(label), control], **{"data-field": name})


def choice(text: object, /, *, title: str = "", **fields: float | str) -> html.Button:
    """Build a button that sets these fields of the card's state; it is pressed while the state has them."""
    sets = json.dumps(fields)
    return html.Button(
        text, id={"set": sets}, **({"title": title} if title else {}), **{"data-set": sets, "aria-pressed": "false"}
    )


def toggle(text: object, /, name: str, *values: str) -> html.Button:
    """Build a button that adds these values to a field which is a list with commas, or, if it is a single one, removes it."""
    sets = json.dumps({name: values})
    return html.Button(text, id={"toggle": sets}, **{"data-toggle": sets, "aria-pressed": "false"})


def act(text: object, /, **fields: object) -> html.Button:
    """Build a button that asks for a view with these fields besides the card's state; it starts a measurement."""
    return html.Button(text, id={"act": json.dumps(fields)})


def figure(name: str) -> html.Div:
    """Build a place for a figure of the card's view."""
    return html.Div(id={"figure": name}, className="figure", **{"data-figure": name})


def part(name: str) -> html.Div:
    """Build a place for components of the card's view."""
    return html.Div(**{"data-markup": name})


def scrolling(label: str, *children: object) -> html.Div:
    """Build a box that scrolls sideways if its content is wider, and shows so by a shadow. label: what it holds, in words."""
    return html.Div(list(children), className="scrolling", tabIndex=0, role="region", **{"aria-label": label})


def out(name: str) -> html.Span:
    """Build a place for a text that the card writes."""
    return html.Span(**{"data-out": name})


def number(name: str, text: object) -> html.Div:
    """Build a large number that the card writes, with a caption below."""
    return html.Div([html.Div(out(name), className="big"), html.Small(text)])


def after(children: object) -> html.Div:
    """Build a part that is hidden until the class has guessed."""
    return html.Div(children, **{"data-after": True})
