"""The Explore page's controls, as Dash components. A control's id is the name of the state's field that it sets."""

import json
from collections.abc import Mapping, Sequence

import dash_bootstrap_components as dbc
from dash import html

from trs_explorer.attack_catalogue import ATTACKS, LOSSES
from trs_explorer.explore.gallery import FILTERS
from trs_explorer.figures.layers import LAYERS
from trs_explorer.files import Json
from trs_explorer.web import custom_attacks
from trs_explorer.web.changes import same
from trs_explorer.web.state import NONE_HIDDEN, NUMBERS, PLANES, SIZES, THEMES, State, default_eps

NORM_LABELS = {"linf": "max norm", "l2": "L2"}
EPS_STEPS = 120  # of the slider
TYPED_MS = 300  # without a key, after which a typed number counts

# Every control that sets a field, with the property that holds its value.
FIELDS = {
    "run": "value", "at": "value", "filter": "value", "label": "value", "image": "value", "plane": "value", "surrogate": "value",
    "target": "value", "second": "value", "third": "value", "span": "value", "seed": "value", "swap": "value", "layer": "value",
    "shown": "value", "eps": "value", "attack": "value", "loss": "value", "steps": "value", "step_size": "value",
    "restarts": "value",
    "options": "value", "norm": "value", "n": "value", "theme": "value", "present": "value", "bounds": "value",
    "start": "data", "own": "data",
}  # fmt: skip
NEWEST = "newest"  # a selection cannot show an empty value
SWITCHES = ("swap", "present", "bounds")
MAY_BE_EMPTY = ("start", "own", "options")

# The controls that only some states need, and when.
ATTACK_FORM = ("loss", "steps", "step_size", "restarts", "norm")


def select(name: str, label: str, choices: Mapping[str, str]) -> html.Label:
    """Build a labelled selection. choices: value to text."""
    return labelled(name, label, dbc.Select(id=name, options=options(choices)))


def number(name: str, label: object, *, step: float | str = 1) -> html.Label:
    """Build an input for a numeric field of the state, with its declared range and help."""
    option = NUMBERS[name]
    field = dbc.Input(id=name, type="number", min=option.low, max=option.high, step=step, debounce=TYPED_MS)
    return labelled(name, label, field, f"{option.help} [{option.range_text}]")


def switch(name: str, label: str, title: str) -> dbc.Switch:
    """Build a switch for a field that is 0 or 1."""
    return dbc.Switch(id=name, label=html.Span(label, title=title), value=False)


def labelled(name: str, label: object, field: object, title: str = "") -> html.Label:
    """Put a label before a field."""
    return html.Label([label, field], htmlFor=name, id=f"{name}-label", title=title)


def options(choices: Mapping[str, str]) -> list[Json]:
    """Return the options of a selection. choices: value to text."""
    return [{"value": value, "label": text} for value, text in choices.items()]


def sets(**fields: object) -> Json:
    """Return the attribute of a button that sets controls when it is clicked (assets/web/explorer.mjs)."""
    return {"data-set": json.dumps({name: [FIELDS[name], value] for name, value in fields.items()})}


def slice_controls() -> list:
    """Build what chooses the plane, and behind "more" what is rarely wanted."""
    return [
        select("plane", "plane", PLANES), select("surrogate", "surrogate", {}), select("target", "target", {}),
        select("layer", "layer", LAYERS), number("span", "± span", step="any"),
        html.Details([html.Summary("more"), html.Div([
            number("second", "2nd image"), number("third", "3rd image"), number("seed", "seed"),
            switch("swap", "swap axes", "exchange the axes (x)"),
            html.Fieldset([html.Legend("models"), dbc.Checklist(id="shown", options=[], value=[], inline=True)]),
        ], className="menu row")], className="pop"),
    ]  # fmt: skip


def attack_controls() -> list:
    """Build the form of the attack: radius and name, and its declared options behind "options"."""
    return [
        html.Label(["ε ", html.Output(id="eps-value")], htmlFor="eps"),
        dbc.Input(id="eps", type="range", min=0, max=1, step=0.005),
        select("attack", "attack", {name: name.upper() if name in ATTACKS else name for name in custom_attacks.names()}),
        select("n", "n", {str(n): str(n) for n in SIZES}),
        html.Details([html.Summary("options"), html.Div([
            select("norm", "norm", NORM_LABELS),
            number("steps", "steps"), number("step_size", "step size (0: chosen)", step="any"), number("restarts", "starts"),
            select("loss", "loss", {"default": "default", **{loss: loss for loss in LOSSES}}),
            dbc.Input(id="options", type="hidden", value=""), html.Div(id="custom-options", className="row"),
        ], className="menu row")], className="pop"),
    ]  # fmt: skip


def pick_controls() -> list:
    """Build the filters of the test images."""
    return [select("filter", "show", FILTERS), select("label", "class", {"-1": "all"})]


def header_controls(runs: Sequence[str]) -> list:
    """Build the choice of run and checkpoint, and of how the page looks."""
    return [select("run", "run", {name: name for name in runs}), select("at", "checkpoint", {NEWEST: NEWEST})]


def theme_select() -> html.Label:
    """Build the choice of the theme."""
    return select("theme", "theme", {name: name for name in THEMES})


def values(state: State, models: Sequence[str]) -> Json:
    """Return what the controls show for a state: field to value."""
    fields = state.to_json()
    shown = [str(k) for k in range(len(models)) if k not in state.hidden()]
    texts = ("run", "at", "filter", "label", "plane", "surrogate", "target", "layer", "attack", "loss", "norm", "n", "theme")
    shown_values = (
        fields
        | {name: str(fields[name]) for name in texts}
        | {name: bool(fields[name]) for name in SWITCHES}
        | {"shown": shown, "at": state.at or NEWEST}
    )
    return {name: shown_values[name] for name in FIELDS}


def changes(shown: Mapping[str, object], state: Mapping[str, object]) -> Json:
    """Return the fields that the controls show otherwise than a state has them.

    shown: what every control in FIELDS holds; None: a number that is being typed, or a selection without an option.
    state: its fields, and "members".
    """
    values = {name: value for name, value in shown.items() if value is not None and (value != "" or name in MAY_BE_EMPTY)}
    values |= {name: int(bool(values[name])) for name in SWITCHES if name in values}
    if values.get("at") == NEWEST:
        values["at"] = ""
    if isinstance(selected := values.pop("shown", None), list):
        hidden = [str(k) for k in range(int(str(state.get("members", 0))) + 1) if str(k) not in selected]
        values["hide"] = ",".join(hidden) or ("" if state.get("hide") in (None, "") else NONE_HIDDEN)
    return {name: value for name, value in values.items() if not same(state.get(name), value)}


def visible(state: State, *, plane_data: bool, imported: bool = False) -> dict[str, bool]:
    """Return for every control that only some states need whether this one does. imported: the run was trained elsewhere."""
    form = {name: custom_attacks.takes(state.attack, name) for name in ATTACK_FORM}
    images, image_data = state.plane == "images", not plane_data
    return form | {
        "at": not imported, "scrub": not imported, "second": images, "third": images, "plane": image_data,
        "span": image_data and not images, "seed": image_data, "upload": image_data,
        "target": state.plane == "gradients" or plane_data,
    }  # fmt: skip


def eps_range(state: State, data: str) -> tuple[float, float]:
    """Return the slider's end and its step, for the state's norm."""
    most = max(state.eps, min(1.0, 2 * default_eps(data, "linf")) if state.norm == "linf" else 2.5 * default_eps(data, "l2"))
    return most, float(f"{most / EPS_STEPS:.1g}")
