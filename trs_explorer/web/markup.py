"""Render Dash components as HTML text: React would take longer to start, and to redraw a section, than everything else."""

from html import escape

from dash.development.base_component import Component

EMPTY = ("img", "br", "input")
HTML_NAMES = {"className": "class", "htmlFor": "for"}


class Field:
    """An <input> element: dash.html has none, and the one in dash.dcc needs React."""

    def __init__(self, **attributes: object) -> None:
        self.attributes = attributes


class Html:
    """Trusted HTML, such as Dash's own parts of the page, that is not escaped."""

    def __init__(self, text: str) -> None:
        self.text = text


def markup(part: object) -> str:
    """Render a dash.html component, a text, a number, or a list of these; every text and attribute is escaped."""
    if part is None:
        return ""
    if isinstance(part, list | tuple):
        return "".join(map(markup, part))
    if isinstance(part, Html):
        return part.text
    if not isinstance(part, Component | Field):
        return _text(part)
    props = part.attributes if isinstance(part, Field) else part.to_plotly_json()["props"]
    attributes = {name: value for name, value in props.items() if value is not None}
    content = markup(attributes.pop("children", None))
    style = attributes.pop("style", None)
    if style:
        attributes["style"] = ";".join(f"{name}:{value}" for name, value in style.items())
    named = {HTML_NAMES.get(name, name): value for name, value in sorted(attributes.items()) if value is not False}
    texts = {name: "" if value is True else f'="{_text(value)}"' for name, value in named.items()}
    rendered = "".join(f" {name}{text}" for name, text in texts.items())
    tag = "input" if isinstance(part, Field) else type(part).__name__.lower()
    return f"<{tag}{rendered}>" if tag in EMPTY else f"<{tag}{rendered}>{content}</{tag}>"


def _text(value: object) -> str:
    """Escape a value for an element or an attribute. An unpaired surrogate, which HTML cannot hold, becomes its escape."""
    return escape(str(value).encode("utf-8", "backslashreplace").decode())
