"""Dash components as HTML text: React takes longer to start, and to draw a room anew, than all the rest."""

from html import escape

from dash.development.base_component import Component

EMPTY = ("img", "br", "input")
ATTRIBUTES = {"className": "class", "htmlFor": "for"}


class Field:
    """An <input>: dash.html has none, and that of dash.dcc is React's."""

    def __init__(self, **attributes: object) -> None:
        self.attributes = attributes


class Html:
    """HTML that is ours, such as Dash's own parts of the page: it goes as it is into what is around it."""

    def __init__(self, text: str) -> None:
        self.text = text


def markup(part: object) -> str:
    """The HTML of a component of dash.html, a text, a number, or a list of them; everything in it is escaped."""
    if part is None:
        return ""
    if isinstance(part, list | tuple):
        return "".join(map(markup, part))
    if isinstance(part, Html):
        return part.text
    if not isinstance(part, Component | Field):
        return _text(part)
    props = part.attributes if isinstance(part, Field) else part.to_plotly_json()["props"]
    given = {name: value for name, value in props.items() if value is not None}
    inside = markup(given.pop("children", None))
    style = given.pop("style", None)
    if style:
        given["style"] = ";".join(f"{name}:{value}" for name, value in style.items())
    named = {ATTRIBUTES.get(name, name): value for name, value in sorted(given.items()) if value is not False}
    texts = {name: "" if value is True else f'="{_text(value)}"' for name, value in named.items()}
    attributes = "".join(f" {name}{text}" for name, text in texts.items())
    tag = "input" if isinstance(part, Field) else type(part).__name__.lower()
    return f"<{tag}{attributes}>" if tag in EMPTY else f"<{tag}{attributes}>{inside}</{tag}>"


def _text(value: object) -> str:
    """A value escaped, for an element or an attribute. Half a surrogate pair, which a page cannot hold, becomes its escape."""
    return escape(str(value).encode("utf-8", "backslashreplace").decode())
