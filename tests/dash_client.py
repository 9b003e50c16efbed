"""Call the explorer's Dash callbacks as a browser would, through the server's test client."""

import json
from typing import Any

import dash

State = dict[str, Any]


def call(app: dash.Dash, output: str, *, changed: str = "", **values: object) -> dict[str, Any]:
    """What the callback with this output ("slice-data.data") answers: {"component.property": value}, without what stays.

    changed: the input that has changed, such as "state.data"; by default the first one.
    values: of inputs and held properties, by component id with _ for -; None for the rest, [] for buttons.
    """
    key, callback = next((k, c) for k, c in app.callback_map.items() if output in k.strip(".").split("..."))
    value_of = {name.replace("_", "-"): value for name, value in values.items()} | values

    def part(one: dict) -> object:
        if one["id"].startswith("{"):  # buttons: none of them is on the page
            buttons = value_of.get("buttons") or []
            return [{"id": button, "property": one["property"], "value": 1} for button in buttons]
        return {**one, "value": value_of.get(one["id"])}

    outputs = [dict(zip(("id", "property"), one.rsplit(".", 1), strict=True)) for one in key.strip(".").split("...")]
    body = {
        "output": key,
        "outputs": outputs if key.startswith("..") else outputs[0],
        "inputs": [part(one) for one in callback["inputs"]],
        "state": [part(one) for one in callback["state"]],
        "changedPropIds": [changed or "{id}.{property}".format(**callback["inputs"][0])],
    }
    answer = app.server.test_client().post("/_dash-update-component", json=body)
    assert answer.status_code in (200, 204), answer.data
    found = json.loads(answer.data)["response"] if answer.data else {}
    return {f"{name}.{prop}": value for name, props in found.items() for prop, value in props.items()}


def resolve(app: dash.Dash, **fields: object) -> dict[str, Any]:
    """What the page is told about a state that an address describes."""
    from urllib.parse import urlencode

    return call(app, "state.data", changed="address.search", search=None, address="?" + urlencode(fields))


def state_of(app: dash.Dash, **fields: object) -> State:
    """The resolved state of an address."""
    return resolve(app, **fields)["state.data"]


def texts(component: object) -> str:
    """All texts in a component (as JSON), joined by spaces."""
    if isinstance(component, list):
        return " ".join(map(texts, component))
    if isinstance(component, dict):
        return texts(component.get("props", {}).get("children"))
    return "" if component is None else str(component)


def buttons(component: object) -> list[dict[str, Any]]:
    """What the buttons in a component (as JSON) set, in order."""
    if isinstance(component, list):
        return [one for part in component for one in buttons(part)]
    if not isinstance(component, dict):
        return []
    props = component.get("props", {})
    own = [json.loads(props["id"]["set"])] if isinstance(props.get("id"), dict) and "set" in props["id"] else []
    return own + buttons(props.get("children"))
