"""Dash components as HTML text, for rooms that are drawn anew several times a second."""

from html import escape

from dash.development.base_component import Component

EMPTY = ("img", "br", "input")
ATTRIBUTES = {"className": "class", "htmlFor": "for"}


def markup(part: object) -> str:
    """The HTML of a component of dash.html, a text, a number, or a list of them; everything in it is escaped."""
    if part is None:
        return ""
    if isinstance(part, list | tuple):
        return "".join(map(markup, part))
    if not isinstance(part, Component):
        return escape(str(part))
    given = {name: value for name, value in part.to_plotly_json()["props"].items() if value is not None}
    inside = markup(given.pop("children", None))
    style = given.pop("style", None)
    if style:
        given["style"] = ";".join(f"{name}:{value}" for name, value in style.items())
    attributes = "".join(
        f' {ATTRIBUTES.get(name, name)}="{escape(str(value), quote=True)}"' for name, value in sorted(given.items())
    )
    tag = type(part).__name__.lower()
    return f"<{tag}{attributes}>" if tag in EMPTY else f"<{tag}{attributes}>{inside}</{tag}>"
