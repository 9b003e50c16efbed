"""The callback that owns the Compare page's state: every control, button and address goes through it, and it sets all of them."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import dash
from dash import Input, Output, ctx, no_update
from dash import State as Held

from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.web import controls, custom_attacks
from trs_explorer.web.changes import same
from trs_explorer.web.compare.changes import changed_fields, changes, swapped
from trs_explorer.web.compare.pair import FIELDS, WEIGHTS, Pair, parse_pair, run_a
from trs_explorer.web.compare.stored_results import runs_on_same_data
from trs_explorer.web.state import ATTACK_OPTION_FIELDS, NUMBERS, is_plane
from trs_explorer.web.state_callbacks import SHOWN_ERRORS

RUN_FIELDS = ("a", "b", *WEIGHTS.values())
SLICE_FIELDS = (*RUN_FIELDS, "along", "image", "seed", "span")
ATTACK_FIELDS = ("eps", "norm", "attack", *ATTACK_OPTION_FIELDS)
# The parts of the state that sections depend on: a change of ε draws no slice anew.
PARTS = {
    "run-fields": RUN_FIELDS,
    "slice-fields": SLICE_FIELDS,
    "attack-fields": (*SLICE_FIELDS, *ATTACK_FIELDS),
    "measure-fields": (*RUN_FIELDS, *ATTACK_FIELDS, "seed", "n"),
}
SHOWN_IF = (*controls.ATTACK_FORM, "along", "span", "seed")
HANDED_ON = ("image", "eps", "norm", "attack", "steps", "options")  # to Explore


def add_state(app: dash.Dash, library: Library, url_prefix: str) -> None:
    """Add the callback."""

    @app.callback(
        {
            "state": Output("state", "data"),
            "parts": {name: Output(name, "data") for name in PARTS},
            "search": Output("address", "search"),
            "notice": Output("notice", "children"),
            "fields": {name: Output(name, "value") for name in FIELDS},
            "offers": {side: Output(side, "options") for side in "ab"},
            "styles": {name: Output(f"{name}-label", "style") for name in SHOWN_IF},
            "eps": {"text": Output("eps-value", "children"), "max": Output("eps", "max"), "step": Output("eps", "step")},
            "explore": Output("nav-explore", "href"),
            "remembered": Output("remembered", "data"),
        },
        {
            "search": Input("address", "search"),
            "fields": {name: Input(name, "value") for name in FIELDS},
            "swaps": Input("swap", "n_clicks"),
            "newest": Input("newest", "data"),
            "before": Held("state", "data"),
            "remembered": Held("remembered", "data"),
        },
    )
    def set_state(
        search: str, fields: Json, swaps: int | None, newest: object, before: Json | None, remembered: Json | None
    ) -> Json:
        del newest
        data_of = {name: run.config.data for name, run in library.runs().items()}
        chosen: Json = {}
        is_link = is_swapped = False
        if before is None or ctx.triggered_id in (None, "address"):
            is_link = True
            wanted: Json = dict(parse_qsl((search or "").lstrip("?")))
        else:
            # All controls are compared with the state before, and clicks are counted: Dash drops the answer to a request when a
            # newer one starts, and the change that it was about would be lost.
            chosen = changes(fields, before)
            wanted = changed_fields(before, chosen, data_of)
            is_swapped = ((swaps or 0) - before["swaps"]) % 2 == 1
            wanted = swapped(wanted) if is_swapped else wanted
        if wanted == before and ctx.triggered_id != "newest":
            raise dash.exceptions.PreventUpdate
        kept = dict(remembered or {})
        if "b" in chosen and not is_swapped:
            kept[data_of.get(str(wanted.get("a")), "")] = str(wanted["b"])
        same_as_before = wanted == before
        if not is_link:
            wanted = {name: value for name, value in wanted.items() if name not in WEIGHTS.values()}  # a page shows the newest
        wanted = _with_remembered(library, wanted, kept) | {"swaps": swaps or 0}
        try:
            pair = parse_pair(library, wanted)
        except SHOWN_ERRORS as error:
            answer = _unusable(library, wanted, error)
        else:
            # The address is written once the page has changed something: a link that was opened stays as it was.
            answer = _answer(library, pair, wanted, url_prefix, keep_address=before is None and bool(search))
            if same_as_before and not pair.warnings:  # a run that has saved more is no reason to take back what was said
                answer["notice"] = no_update
        answer["remembered"] = no_update if kept == (remembered or {}) else kept
        return _only_changes(answer, fields, before) if before else answer


def _with_remembered(library: Library, wanted: Json, remembered: Mapping[str, object]) -> Json:
    """Fill in the run B that the user has chosen last on the data of A, where none is named and it is still there."""
    if wanted.get("b"):
        return wanted
    try:
        a = run_a(library, wanted)
        name = str(remembered.get(library.run(a).config.data) or "")
        fits = name != a and name in runs_on_same_data(library, library.run(a).config)
    except SHOWN_ERRORS:
        return wanted
    return {**wanted, "b": name} if fits else wanted


def _answer(library: Library, pair: Pair, wanted: Json, url_prefix: str, *, keep_address: bool) -> Json:
    fields, state, data = pair.to_json(), pair.a.state, pair.a.loaded.data.name
    offers = {"a": library.names, "b": runs_on_same_data(library, pair.a.loaded.run.config)}
    weights = {WEIGHTS[side]: request.loaded.digest for side, request in pair.sides.items()}
    resolved = fields | weights | {"data": data, "swaps": wanted["swaps"], "offers": _as_text(offers)}
    needed, (most, step) = _needed(state.attack, data), controls.eps_range(state, data)
    handed_on = {"run": fields["a"], **{name: fields[name] for name in HANDED_ON}}
    return {
        "state": resolved,
        "parts": {name: {field: resolved[field] for field in part} for name, part in PARTS.items()},
        "search": no_update if keep_address else f"?{urlencode(pair.address())}",
        "notice": "\n".join(pair.warnings),
        "fields": {name: value if name in NUMBERS and name != "n" else str(value) for name, value in fields.items()},
        "offers": {side: controls.options({name: name for name in names}) for side, names in offers.items()},
        "styles": {name: {} if needed[name] else {"display": "none"} for name in SHOWN_IF},
        "eps": {"text": f"{state.eps:.3g} ({controls.NORM_LABELS[state.norm]})", "max": most, "step": step},
        "explore": f"{url_prefix}/?{urlencode(handed_on)}",
    }


def _needed(attack: str, data: str) -> dict[str, bool]:
    """Return for every control that only some states need whether this one does."""
    form = {name: custom_attacks.takes(attack, name) for name in controls.ATTACK_FORM}
    return form | dict.fromkeys(("along", "span", "seed"), not is_plane(data))


def _as_text(offers: Mapping[str, list[str]]) -> str:
    """Return what both selections offer, to see whether it has changed."""
    return "\n".join(["A", *offers["a"], "B", *offers["b"]])


def _unusable(library: Library, wanted: Json, error: Exception) -> Json:
    """Return the page for runs that cannot be shown: their names and the reason; everything else stays as it is."""
    names = library.names
    offers = {"a": names, "b": names}
    fields = {name: wanted.get(name) or "" for name in FIELDS}
    failed = {**fields, "error": str(error)}
    return {
        "state": failed | {"swaps": wanted["swaps"], "offers": _as_text(offers), "data": ""},
        "parts": dict.fromkeys(PARTS, failed),
        "search": no_update,
        "notice": "",
        "fields": {name: fields[name] if fields[name] in names else no_update for name in FIELDS},
        "offers": {side: controls.options({name: name for name in names}) for side in offers},
        "styles": dict.fromkeys(SHOWN_IF, no_update),
        "eps": {"text": no_update, "max": no_update, "step": no_update},
        "explore": no_update,
    }


def _only_changes(answer: Json, shown: Json, before: Json) -> Json:
    """Leave out what the page shows already: Dash takes 100 ms and more to set all of it again. shown: what the controls hold."""
    state, kept = answer["state"], dict(answer)
    kept["fields"] = {
        name: no_update if shown.get(name) is not None and same(shown[name], value) else value
        for name, value in answer["fields"].items()
    }
    if "error" not in state and "error" not in before:
        unchanged = {name for name, part in answer["parts"].items() if all(before.get(field) == part[field] for field in part)}
        kept["parts"] = {name: no_update if name in unchanged else part for name, part in answer["parts"].items()}
        if (state["attack"], state["data"]) == (before.get("attack"), before.get("data")):
            kept["styles"] = dict.fromkeys(answer["styles"], no_update)
    if state["offers"] == before.get("offers"):
        kept["offers"] = dict.fromkeys(answer["offers"], no_update)
    return kept
