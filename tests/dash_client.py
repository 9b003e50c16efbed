"""Call the Dash callbacks of the explorer's pages as a browser would, through the server's test client."""

import json
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import dash
from werkzeug.test import TestResponse

from trs_explorer.web.compare.page import FILLED as COMPARE_FILLED
from trs_explorer.web.controls import FIELDS
from trs_explorer.web.markup import EMPTY
from trs_explorer.web.page import FILLED as EXPLORE_FILLED

State = dict[str, Any]
Component = Any  # as JSON: {"type", "props"}, a list of these, a text, or None
ADDRESS = "_dash-update-component"  # of callbacks, below the page's own
FILLED = (*EXPLORE_FILLED, *COMPARE_FILLED)


def post(
    app: dash.Dash, output: str, *, changed: str | Sequence[str] = "", clicked: State | None = None, **values: object
) -> TestResponse:
    """Return the response to a request of the callback with this output, such as "slice-data.data".

    output: one of the callback's outputs, or its name in `callback_map`.
    changed: the properties that have changed, such as "state.data"; by default the callback's first input.
    clicked: the id of the button that was clicked, if one was.
    values: of the inputs and of what the callback reads besides, by component id, with _ for -. None for the rest.
    """
    name, _, prop = output.partition(".")
    output = f"{name}-html.data" if name in FILLED and prop == "children" else output
    key, callback = next((k, c) for k, c in app.callback_map.items() if output in (k, *outputs_of(k)))
    by_id = {name.replace("_", "-"): value for name, value in values.items()} | values

    def part(one: State) -> object:
        if one["id"].startswith("{"):  # a pattern, which the ids of buttons match
            return [{"id": clicked, "property": one["property"], "value": 1}] if clicked else []
        return {**one, "value": by_id.get(one["id"])}

    first = callback["inputs"][0]
    if clicked:
        changed = f"{json.dumps(clicked, sort_keys=True, separators=(',', ':'))}.n_clicks"
    outputs = [dict(zip(("id", "property"), one.rsplit(".", 1), strict=True)) for one in outputs_of(key)]
    body = {
        "output": key,
        "outputs": outputs if key.startswith("..") else outputs[0],
        "inputs": [part(one) for one in callback["inputs"]],
        "state": [part(one) for one in callback["state"]],
        "changedPropIds": [changed or f"{first['id']}.{first['property']}"] if isinstance(changed, str) else list(changed),
    }
    return app.server.test_client().post(app.config.routes_pathname_prefix + ADDRESS, json=body)


def outputs_of(key: str) -> list[str]:
    """Return a callback's outputs, as "component.property". key: its name in `callback_map`."""
    return key.strip(".").split("...")


def call(
    app: dash.Dash, output: str, *, changed: str | Sequence[str] = "", clicked: State | None = None, **values: object
) -> State:
    """Return what a callback changes: {"component.property": value}, without what stays as it is. Arguments: see `post`.

    What a callback sends as HTML text is parsed: "matrix.children" is the content that the element "matrix" then has.
    """
    response = post(app, output, changed=changed, clicked=clicked, **values)
    assert response.status_code in (200, 204), (output, response.status_code, response.data)
    changes = json.loads(response.data)["response"] if response.data else {}
    # An output that several callbacks set has a hash after its name.
    named = {f"{name}.{prop.partition('@')[0]}": value for name, props in changes.items() for prop, value in props.items()}
    filled = {f"{name}.children": parsed(named[f"{name}-html.data"]) for name in FILLED if f"{name}-html.data" in named}
    return named | filled


def parsed(text: str) -> Component:
    """Return HTML as components."""
    reader = _Reader()
    reader.feed(text or "")
    reader.close()
    return reader.root


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root: list[Component] = []
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        children: list[Component] = []
        self.open[-1].append({"type": tag.capitalize(), "props": {**{k: v or "" for k, v in attrs}, "children": children}})
        if tag not in EMPTY:
            self.open.append(children)

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].append(data)


def resolve(app: dash.Dash, **fields: object) -> State:
    """Return what opening an address with these fields sets on the page."""
    return open_link(app, "?" + urlencode(fields))


def open_link(app: dash.Dash, search: str) -> State:
    """Return what opening an address with this query string sets on the page."""
    return call(app, "state.data", changed="address.search", address=search)


def state_of(app: dash.Dash, **fields: object) -> State:
    """Return the resolved state of an address with these fields."""
    return resolve(app, **fields)["state.data"]


def controls_of(app: dash.Dash, state: State) -> State:
    """Return what every control shows for a state."""
    answer = resolve(app, **{name: value for name, value in state.items() if name != "members"})
    return {name: answer[f"{name}.{prop}"] for name, prop in FIELDS.items()}


def set_control(app: dash.Dash, state: State, name: str, value: object) -> State:
    """Return what the page sets after a user has set one control. state: the page's before, which all other controls show."""
    shown = {**controls_of(app, state), name: value}
    return call(app, "state.data", changed=f"{name}.{FIELDS[name]}", state=state, **shown)


def click(app: dash.Dash, state: State, fields: State) -> State:
    """Return what the page sets after a click on a button. state: the page's before.  fields: what it sets, as in `buttons`."""
    shown = {**controls_of(app, state), **fields}
    return call(app, "state.data", changed=[f"{name}.{FIELDS[name]}" for name in fields], state=state, **shown)


def save(app: dash.Dash, state: State, kind: str, **values: object) -> State:
    """Return what a click in the "save" menu sets. values: such as save_width and save_white."""
    return call(app, "download.data", clicked={"save": kind}, state=state, **values)


def parts(component: Component, kind: str = "") -> Iterator[State]:
    """Yield a component and all components within it, in order. kind: only of this type, such as "Button"."""
    if isinstance(component, list):
        for one in component:
            yield from parts(one, kind)
    elif isinstance(component, dict) and "props" in component:
        if kind in ("", component["type"]):
            yield component
        yield from parts(component["props"].get("children"), kind)


def texts(component: Component) -> str:
    """Return all texts in a component, joined by spaces."""
    if isinstance(component, list):
        return " ".join(map(texts, component))
    if isinstance(component, dict):
        return texts(component.get("props", {}).get("children"))
    return "" if component is None else str(component)


def rows(table: Component) -> list[list[str]]:
    """Return the texts of a table's cells, row by row, the head first."""
    return [[texts(cell["props"].get("children")) for cell in row["props"]["children"]] for row in parts(table, "Tr")]


def buttons(component: Component) -> list[State]:
    """Return the controls that the buttons in a component set, in order: {control: value}."""
    texts_of = [button["props"].get("data-set") for button in parts(component, "Button")]
    return [{name: value for name, (_, value) in json.loads(text).items()} for text in texts_of if text]
