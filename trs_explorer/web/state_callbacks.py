"""The callback that owns the page's state: every control, button and address goes through it, and it sets all of them."""

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

import dash
from dash import Input, Output, ctx, no_update
from dash import State as Held

from trs_explorer.catalogue import DATA
from trs_explorer.class_labels import IN_KEY, class_label
from trs_explorer.explore.library import Library, StillRead
from trs_explorer.explore.plane_attacks import AttackPaths
from trs_explorer.explore.slice_plane import model_names
from trs_explorer.explore.slices import is_heavy
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web import controls
from trs_explorer.web.changes import changed_fields
from trs_explorer.web.drawing import attack_response
from trs_explorer.web.history import checkpoint_label
from trs_explorer.web.page_request import PageRequest, parse_request, preferred_run
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_view import SliceView
from trs_explorer.web.state import ATTACK_FIELDS, SLICE_FIELDS, is_plane

SHOWN_ERRORS = (UsageError, RunError)  # whose message is shown on the page
SHOWN_IF = (
    "at", "scrub", "loss", "steps", "step_size", "restarts", "norm", "second", "third", "plane", "span", "seed", "upload",
    "target",
)  # fmt: skip
SOON_S = 0.12  # that the answer to a change of the attack waits for its result
MODEL_CHOICES = ("surrogate", "target")
# The stores that hold the state for a part of the page, and what that part depends on.
DEPENDS = {"slice-state": (*SLICE_FIELDS, "weights", "layer"), "attack-state": (*SLICE_FIELDS, "weights", *ATTACK_FIELDS)}


def add_state(app: dash.Dash, library: Library, slices: SliceCache) -> None:
    """Add the callback. The slice of a new state is begun at once: the page asks for it when it has got the state."""

    @app.callback(
        {
            "state": Output("state", "data"),
            "parts": {name: Output(name, "data") for name in DEPENDS},
            "needed": Output("needed", "data"),
            "search": Output("address", "search"),
            "notice": Output("notice", "children"),
            "fields": {name: Output(name, prop) for name, prop in controls.FIELDS.items()},
            "options": {name: Output(name, "options") for name in ("run", "at", "label", "shown", *MODEL_CHOICES)},
            "styles": {name: Output(f"{name}-label", "style") for name in SHOWN_IF},
            "eps": {"text": Output("eps-value", "children"), "max": Output("eps", "max"), "step": Output("eps", "step")},
            "scrub": {
                "value": Output("scrub", "value"),
                "max": Output("scrub", "max"),
                "text": Output("scrub-value", "children"),
            },
            "compare": Output("nav-compare", "href"),
            "light": Output("slice-poll", "disabled"),
            "attack": Output("attack-data", "data", allow_duplicate=True),
        },
        {
            "search": Input("address", "search"),
            "fields": {name: Input(name, prop) for name, prop in controls.FIELDS.items()},
            "scrub": Input("scrub", "value"),
            "newest": Input("newest", "data"),
            "before": Held("state", "data"),
            "shown": {
                "needed": Held("needed", "data"),
                "notice": Held("notice", "children"),
                "compare": Held("nav-compare", "href"),
                "eps": {"text": Held("eps-value", "children"), "max": Held("eps", "max"), "step": Held("eps", "step")},
                "scrub": {"max": Held("scrub", "max"), "text": Held("scrub-value", "children")},
            },
            "client": Held("client", "data"),
        },
        prevent_initial_call="initial_duplicate",
    )
    def set_state(
        search: str, fields: Json, scrub: object, newest: object, before: Json | None, shown: Json, client: object
    ) -> Json:
        del newest
        moved = _has_changed("scrub") and before
        wanted_fields = fields | ({"at": _checkpoint_at(library, before, scrub)} if moved and "error" not in before else {})
        wanted = _wanted(search or "", wanted_fields, before, {name: run.config.data for name, run in library.runs().items()})
        if wanted is None:
            raise dash.exceptions.PreventUpdate
        same = bool(before) and wanted | {"weights": before.get("weights")} == before  # only the run has changed
        unknown = _unknown(library, str(wanted.get("run") or ""))
        if unknown:
            wanted = {"theme": wanted.get("theme", "")}
        try:
            request = parse_request(library, wanted)
            request.warnings.extend([unknown] if unknown else [])
        except SHOWN_ERRORS as error:
            return _unusable(library, wanted, error)
        begun = slices.begin(request, str(client)[:64])
        answer = _answer(app, library, request, wanted, keep_address=before is None)
        if same and not request.warnings:  # a run that has saved more is no reason to take back what was said of the state
            answer["notice"] = no_update
        if same and answer["state"] == before:
            answer["search"] = no_update  # a link that was opened stays as it was
            answer["state"] = no_update  # nothing that follows from it changes
        if not before:
            return answer
        answer = _only_changes(answer, fields | {"scrub": scrub}, shown, before)
        parts = answer["parts"]
        if parts["slice-state"] is no_update and parts["attack-state"] is not no_update and (attack := _soon(request, begun)):
            slices.begin(_one_step_on(request, before), str(client)[:64])
            return answer | {"attack": attack, "parts": dict.fromkeys(parts, no_update)}
        return answer


def _soon(request: PageRequest, begun: Future[tuple[SliceView, AttackPaths] | None]) -> Json | None:
    """Return the attacks of a state with it, which saves the page a request; None if they take long, or failed."""
    with suppress(TimeoutError, *SHOWN_ERRORS):
        if made := begun.result(SOON_S):
            return attack_response(request, *made)
    return None


def _one_step_on(request: PageRequest, before: Json) -> PageRequest:
    """Return the request that follows if the radius goes on as it has from the state before to this one."""
    eps = request.state.eps
    following = round(2 * eps - before.get("eps", eps), 9)  # what the slider holds is a decimal fraction
    return replace(request, state=replace(request.state, eps=following if following >= 0 else eps))


def _unknown(library: Library, run: str) -> str:
    """Say that there is no such run, and which one is shown instead; "" if there is, or none was named."""
    if not run or run in library.names or not library.names:
        return ""
    return f"there is no run {run[:80]} here: this is {preferred_run(library)}"


def _wanted(search: str, fields: Json, before: Json | None, data_of: dict[str, str]) -> Json | None:
    """Return the fields that the page should show now; None if nothing has changed.

    All controls are compared with the state before, not the one alone that has triggered the callback: Dash drops the answer to a
    request when a newer one starts, and the change that it was about would be lost.
    """
    if before is None or ctx.triggered_id in (None, "address"):
        return dict(parse_qsl(search.lstrip("?")))
    if "error" in before:  # the controls do not hold what was asked for: only what has just been changed counts
        before, touched = before["asked"], [*map(_has_changed, fields)]
        fields = {name: value for (name, value), now in zip(fields.items(), touched, strict=True) if now}
        if not fields:
            return before
    changed = changed_fields(before, controls.changes(fields, before), data_of)
    if changed == before and not _has_changed("newest"):
        return None
    return {**changed, "weights": ""}  # a link alone names the weights that it was made with


def _has_changed(component: str) -> bool:
    """Whether a component is one of those that have triggered the callback: Dash joins what changes in quick succession."""
    return component in ctx.triggered_prop_ids.values()


def _only_changes(answer: Json, held: Json, shown: Json, before: Json) -> Json:
    """Leave out what the page shows already: Dash takes 100 ms and more to set all of it again.

    held: what the controls hold.
    shown: what is on the page besides, in the parts of the answer.
    """
    fields = {name: no_update if _shows(held.get(name), value) else value for name, value in answer["fields"].items()}
    now, needed = answer["needed"], shown["needed"] or {}
    styles = {name: no_update if now.get(name) == needed.get(name) else style for name, style in answer["styles"].items()}
    same_run = answer["state"] is no_update or ("error" not in before and answer["state"]["run"] == before.get("run"))
    kept = {"options": dict.fromkeys(answer["options"], no_update)} if same_run and not _has_changed("newest") else {}
    kept |= {"light": no_update} if same_run else {}
    unchanged = [name for name, part in DEPENDS.items() if all(answer["parts"][name].get(k) == before.get(k) for k in part)]
    kept["parts"] = answer["parts"] | dict.fromkeys([] if "error" in before else unchanged, no_update)
    shown = {**shown, "scrub": {**shown["scrub"], "value": held["scrub"]}}
    parts = {
        name: {k: no_update if _shows(shown[name][k], v) else v for k, v in answer[name].items()} for name in ("eps", "scrub")
    }
    texts = {name: no_update if _shows(shown[name], answer[name]) else answer[name] for name in ("needed", "notice", "compare")}
    return answer | {"fields": fields, "styles": styles} | parts | texts | kept


def _shows(shown: object, value: object) -> bool:
    return shown is not None and type(shown) is type(value) and shown == value


def _checkpoint_at(library: Library, state: Json, place: object) -> str | None:
    """Return the checkpoint at a place of the slider; "newest" for the last one, so that a running training is followed."""
    try:
        checkpoints = library.checkpoints(str(state.get("run")))
    except SHOWN_ERRORS:
        return None
    if not str(place).isdecimal() or int(str(place)) >= len(checkpoints):
        return None
    k = int(str(place))
    return controls.NEWEST if k == len(checkpoints) - 1 else checkpoints[k]


def _scrubber(checkpoints: Sequence[str], chosen: str) -> Json:
    place = checkpoints.index(chosen) if chosen in checkpoints else max(0, len(checkpoints) - 1)
    text = checkpoint_label(checkpoints[place]) if checkpoints else "nothing saved yet"
    return {
        "value": place,
        "max": max(0, len(checkpoints) - 1),
        "text": text + ("" if chosen else ", newest") * bool(checkpoints),
    }


def _answer(app: dash.Dash, library: Library, request: PageRequest, wanted: Json, *, keep_address: bool) -> Json:
    state, members = request.state, len(request.loaded.ensemble)
    names, data = model_names(members), request.loaded.data.name
    needed = controls.visible(state, plane_data=is_plane(data), imported=request.loaded.run.config.imported)
    fields = state.to_json() | {"members": members}
    checkpoints = library.checkpoints(state.run)
    most, step = controls.eps_range(state, data)
    numbered = controls.options({str(k): name for k, name in enumerate(names)})
    handed_on = {name: getattr(state, name) for name in ("image", "norm", "attack", "steps", "options")}  # to Compare
    compare = {"a": state.run, **handed_on, "eps": f"{state.eps:g}"}
    runs = library.names
    # A bare address stays bare until something is changed.
    search = "?" + urlencode({name: value for name, value in state.to_json().items() if value != ""})
    return {
        "state": fields,
        "parts": dict.fromkeys(DEPENDS, fields),
        "needed": needed,
        "search": no_update if keep_address and not wanted else search,
        "notice": "\n".join(request.warnings),
        "fields": controls.values(state, names),
        "options": {
            "run": controls.options({name: name for name in runs}),
            "at": controls.options({controls.NEWEST: controls.NEWEST, **{name: checkpoint_label(name) for name in checkpoints}}),
            "label": controls.options({"-1": "all", **_class_choices(data)}),
            "shown": numbered, "surrogate": numbered, "target": numbered,
        },
        "styles": {name: {} if needed[name] else {"display": "none"} for name in SHOWN_IF},
        "eps": {"text": f"{state.eps:.3g} ({controls.NORM_LABELS[state.norm]})", "max": most, "step": step},
        "scrub": _scrubber(checkpoints, state.at),
        "compare": app.get_relative_path("/compare") + "?" + urlencode(compare),
        "light": not is_heavy(request.loaded.ensemble, request.loaded.data.images(slice(0, 1))[0]),
        "attack": no_update,
    }  # fmt: skip


def _of_trainings(library: Library, run: str) -> Json:
    """Return the style of controls that only trainings need, for a run that cannot be shown."""
    listed = library.runs().get(run)
    return {"display": "none"} if listed and listed.config.imported else {}


def _class_choices(data: str) -> dict[str, str]:
    """Return the choices of a class: its number to its name."""
    names = DATA[data].class_names
    return {str(c): class_label(names, c, IN_KEY) for c in range(DATA[data].classes)}


def _unusable(library: Library, wanted: Json, error: Exception) -> Json:
    """Return the page for a run that cannot be shown: its name and the reason; everything else stays as it is.

    wanted: the fields that were asked for, which the next change begins from.
    """
    run = str(wanted.get("run") or (preferred_run(library) if library.names else ""))
    names = {name: name for name in library.names}
    busy = isinstance(error, StillRead)
    words = f"{run} is still being read: it appears here as soon as it is there" if busy else str(error)
    state = {"run": run if run in names else "", "error": words, "live": run in names, "asked": wanted, "busy": busy}
    return {
        "state": state,
        "parts": dict.fromkeys(DEPENDS, state),
        "needed": no_update,
        "search": no_update,
        "notice": "",
        "fields": dict.fromkeys(controls.FIELDS, no_update) | ({"run": run} if run in names else {}),
        "options": {"run": controls.options(names)} | dict.fromkeys(("at", "label", "shown", *MODEL_CHOICES), no_update),
        "styles": dict.fromkeys(SHOWN_IF, no_update) | dict.fromkeys(("at", "scrub"), _of_trainings(library, run)),
        "eps": {"text": no_update, "max": no_update, "step": no_update},
        "scrub": dict.fromkeys(("value", "max", "text"), no_update),
        "compare": no_update,
        "light": True,
        "attack": no_update,
    }
