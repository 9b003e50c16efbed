"""The callbacks of the slices: grids from coarse to fine, the attacks on them, and the crosshair's readout."""

from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, html, no_update
from dash import State as Held

from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import Cancelled, assemble
from trs_explorer.figures.layers import LAYERS
from trs_explorer.files import Json
from trs_explorer.web.drawing import attack_fields, attack_response, share_table, slice_parts
from trs_explorer.web.markup import markup
from trs_explorer.web.page_request import parse_request
from trs_explorer.web.readout import readout
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.state_callbacks import SHOWN_ERRORS

ATTACK_WORDS = ("attack-words", "slice-words", "start-words", "fooled-words")  # the elements with what is said of the attacks


def add_slices(app: dash.Dash, library: Library, slices: SliceCache) -> None:
    """Add the callbacks.

    The store "next" says which step of which slice the page asks for: grids from coarse to fine, then the finest one's other
    layers. Whatever has triggered `draw`, that step is its answer: the browser drops an answer when a newer request starts.
    """

    @app.callback(
        Output("slice-data", "data"),
        Output("slice-error", "children"),
        Output("slice-status", "children"),
        Output("share-table-html", "data"),
        Input("slice-state", "data"),
        Input("next", "data"),
        Held("client", "data"),
    )
    def draw(state: Json | None, following: Json | None, client: str) -> tuple:
        if not state:
            raise dash.exceptions.PreventUpdate
        if "error" in state:
            return None, state["error"], "", ""
        try:
            request = parse_request(library, state)
            with PROCESS_LOCK.hold():
                view = slices.view(request)
            step = int(following["level"]) if following and following["key"] == view.key else 0
            if step > view.levels:  # the page has all of it
                return no_update, "", no_update, no_update
            level, layers = (step, [state["layer"]]) if step < view.levels else (view.levels - 1, list(LAYERS))
            samples = [slices.samples(view, k, str(client)[:64]) for k in range(level + 1)]
            slices.go_on(view, level + 1, str(client)[:64])
        except Cancelled:  # a newer request has superseded this one
            raise dash.exceptions.PreventUpdate from None
        except SHOWN_ERRORS as error:
            return None, str(error), "", ""
        n = view.grids[level]
        table = markup(share_table(view, assemble(samples, view.grids))) if step == view.levels else no_update
        parts = slice_parts(view, samples, layers)
        slices.drawn(view).set()
        return parts | {"next": step + 1}, no_update if step else "", f"{n} x {n} points", table

    @app.callback(
        Output("slice-progress", "children"),
        Input("slice-poll", "n_intervals"),
        Held("client", "data"),
        prevent_initial_call=True,
    )
    def progress(beat: object, client: str) -> str:
        del beat
        return slices.progress(str(client)[:64])

    @app.callback(Output("attack-data", "data"), Input("attack-state", "data"), Held("attack-data", "data"))
    def attack(state: Json | None, shown: Json | None) -> Json | None:
        if not state or "error" in state:
            return None
        try:
            request = parse_request(library, state)
            if shown and shown["about"] == attack_fields(request):
                raise dash.exceptions.PreventUpdate
            with PROCESS_LOCK.hold():
                view = slices.view(request)
        except SHOWN_ERRORS:
            return None  # the slice's own callback shows the message
        try:
            return attack_response(request, view, slices.attacks(request, view))
        except SHOWN_ERRORS as error:  # of an attack of others, perhaps
            return {"key": None, "about": attack_fields(request), "words": {"start-words": str(error)}}

    @app.callback(Output("readout-html", "data"), Input("pointer", "data"), Held("state", "data"), prevent_initial_call=True)
    def read(pointer: Json | None, state: Json | None) -> Any:
        if not pointer or not state or (view := slices.get(str(pointer.get("key")))) is None:
            return no_update
        a, b = (float(value) for value in pointer["point"])
        try:
            return markup(readout(view, a, b))
        except SHOWN_ERRORS as error:
            return markup(html.P(str(error), className="warn"))

    app.clientside_callback(
        ClientsideFunction("explorer", "draw"),
        Input("slice-data", "data"),
        Input("state", "data"),
        Held("looks", "data"),
        Held("graph", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "drawAttack"),
        *(Output(name, "children") for name in ATTACK_WORDS),
        Input("attack-data", "data"),
        Held("state", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "layerKey"),
        Output("layer-words", "children"),
        Input("layer", "value"),
        Held("layer-keys", "data"),
    )
