"""Elements of pages that are plain HTML: sections, labelled controls."""

from dash import html

from trs_explorer.web.markup import Field
from trs_explorer.web.state import NUMBERS


def scrolling(name: str, label: str) -> html.Div:
    """Build a container for a table that may be wider than its section: it scrolls, with the keyboard too."""
    return html.Div(id=name, tabIndex=0, role="group", **{"aria-label": label})


def section(name: str, title: str, children: list) -> html.Section:
    """Build a section of the page with its heading."""
    return html.Section([html.H2(title, id=f"{name}-title"), *children], id=name, **{"aria-labelledby": f"{name}-title"})


def select(name: str, label: str, choices: dict[str, str]) -> html.Label:
    """Build a labelled selection."""
    return html.Label([label, " ", html.Select(options(choices), id=name)], htmlFor=name)


def number_field(name: str, label: str, *, step: float | str = 1) -> html.Label:
    """Build an input for a numeric field of the state, with its range."""
    option = NUMBERS[name]
    field = Field(id=name, type="number", min=option.low, max=option.high, step=step)
    return html.Label([label, " ", field], htmlFor=name, title=f"{option.help} [{option.range_text}]", id=f"{name}-label")


def options(choices: dict[str, str]) -> list[html.Option]:
    """Build the options of a selection. choices: value to text."""
    return [html.Option(text, value=value) for value, text in choices.items()]
