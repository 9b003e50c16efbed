"""The callbacks of the Compare page's sections. Each follows the part of the state that it depends on."""

from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, ctx, dcc, no_update
from dash import State as Held

from trs_explorer.catalogue import DATA
from trs_explorer.explore.jobs import Full, Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.slices import Cancelled, assemble
from trs_explorer.files import Json
from trs_explorer.web.compare import slices as sides
from trs_explorer.web.compare.handout import handout
from trs_explorer.web.compare.page import FILLED_TOGETHER, TITLES, chart
from trs_explorer.web.compare.pair import parse_pair
from trs_explorer.web.compare.sections import live_sections, stored_sections
from trs_explorer.web.compare.state_callback import PARTS
from trs_explorer.web.drawing import share_table
from trs_explorer.web.history import shown_checkpoint
from trs_explorer.web.markup import markup
from trs_explorer.web.section_callbacks import add_custom_options
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.state_callbacks import SHOWN_ERRORS

# By which the browser knows what is busy; "settle" notes measure-fields: Dash takes one callback without outputs for an input.
NOTED = ("run-fields", "slice-fields", "attack-fields", *(name.replace("-fields", "-shown") for name in PARTS))


def add_sections(app: dash.Dash, library: Library, jobs: Jobs, slices: SliceCache) -> None:
    """Add the callbacks."""
    _add_slices(app, library, slices)
    _add_live(app, library, jobs)
    _add_stored(app, library)
    _add_newest(app, library)
    _add_handout(app, library, jobs, slices)
    add_custom_options(app)
    for function, output, inputs in (
        ("draw", (), ("slices-a.data", "slices-b.data", "attack-data.data", "state.data", "looks.data", "graph.data")),
        ("theme", (), ("state.data",)),
        ("settle", (), ("measure-fields.data",)),
        *(("fill", (), tuple(f"{name}-html.data" for name in names)) for names in FILLED_TOGETHER),
        *(("note", (), (f"{name}.data",)) for name in NOTED),
        ("beat", ("alive.data", "gone.children"), ("beat.n_intervals",)),
    ):  # fmt: skip
        app.clientside_callback(
            ClientsideFunction("compare", function),
            *(Output(*one.split(".")) for one in output),
            *(Input(*one.split(".")) for one in inputs),
            prevent_initial_call=function == "fill",
        )


def _add_slices(app: dash.Dash, library: Library, slices: SliceCache) -> None:
    @app.callback(
        {
            "slices": {side: Output(f"slices-{side}", "data") for side in "ab"},
            "names": {side: Output(f"name-{side}", "children") for side in "ab"},
            "titles": {side: Output(f"transfer-{side}-title", "children") for side in "ab"},
            "whole-names": {side: Output(f"{side}-label", "title") for side in "ab"},
            "example": (Output("sides-title", "children"), Output("example-word", "children")),
            "shares": {side: Output(f"shares-{side}-html", "data") for side in "ab"},
            "error": Output("slice-error", "children"),
            "shown": Output("slice-shown", "data"),
        },
        Input("slice-fields", "data"),
        Input("fine", "data"),
        Held("client", "data"),
    )
    def draw(fields: Json | None, fine: Json | None, client: str | None) -> Json:
        if not fields:
            raise dash.exceptions.PreventUpdate
        try:
            pair = _pair(library, fields)
            views = sides.side_views(pair, slices)
            coarse = fine != {side: view.key for side, view in views.items()}
            one = f"compare {client}"[:64]
            samples = {side: sides.side_samples(view, slices, one, coarse=coarse) for side, view in views.items()}
        except Cancelled:  # a newer request has superseded this one
            raise dash.exceptions.PreventUpdate from None
        except SHOWN_ERRORS as error:
            return {"slices": dict.fromkeys("ab"), "names": {"a": "A", "b": "B"},
                    "titles": {"a": "Transfer in A", "b": "Transfer in B"}, "whole-names": dict.fromkeys("ab", ""),
                    "example": (no_update, no_update), "shares": dict.fromkeys("ab", ""),
                    "error": str(error), "shown": fields}  # fmt: skip
        loaded = {side: request.loaded for side, request in pair.sides.items()}
        examples = DATA[pair.a.loaded.data.name].examples
        return {
            "slices": {side: sides.side_parts(views[side], samples[side]) for side in "ab"},
            "names": {side: f"{side.upper()}: {one.name}, {shown_checkpoint(one)}" for side, one in loaded.items()},
            "titles": {side: f"Transfer in {side.upper()}: {one.name}" for side, one in loaded.items()},
            "whole-names": pair.names,
            "example": (TITLES[examples], examples.removesuffix("s")),
            "shares": {
                side: "" if coarse else markup(share_table(views[side], assemble(samples[side], views[side].grids)))
                for side in "ab"
            },
            "error": "",
            "shown": fields,
        }

    @app.callback(
        Output("attack-data", "data"),
        Output("plane-words", "children"),
        Output("attack-shown", "data"),
        Input("attack-fields", "data"),
    )
    def attack(fields: Json | None) -> tuple:
        if not fields:
            raise dash.exceptions.PreventUpdate
        try:
            pair = _pair(library, fields)
            sides.side_views(pair, slices)
        except SHOWN_ERRORS:
            return None, "", fields  # the slices' own callback shows the message
        try:
            attacked = sides.side_attacks(pair, slices)
        except SHOWN_ERRORS as error:  # of an attack of others, perhaps
            return None, str(error), fields
        parts = {side: sides.side_attack_parts(one) for side, one in attacked.items()}
        return parts, sides.slices_caption(pair, attacked), fields


def _add_live(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    @app.callback(
        {
            "matrices": {side: Output(f"matrix-{side}-html", "data") for side in "ab"},
            "words": {side: Output(f"words-{side}-html", "data") for side in "ab"},
            "chart": Output("live-chart", "children"),
            "caption": Output("live-words", "children"),
            "table": Output("live-table-html", "data"),
            "drawn": Output("live-drawn", "data"),
            "done": Output("poll", "disabled"),
            "shown": Output("measure-shown", "data"),
        },
        Input("settled", "data"),
        Input("poll", "n_intervals"),
        Input("look", "data"),
        Held("live-drawn", "data"),
        Held("client", "data"),
    )
    def measure(fields: Json | None, polls: int | None, look: str | None, drawn: str | None, client: str | None) -> Json:
        del polls
        if not fields:
            raise dash.exceptions.PreventUpdate
        empty = dict.fromkeys("ab", "")
        try:
            pair = _pair(library, fields, client or "")
            live = live_sections(pair, jobs, look=look or "light", again=ctx.triggered_id != "settled")
        except SHOWN_ERRORS as error:  # if too many jobs run, the page polls again
            said = str(error) if isinstance(error, Full) else ""
            return {"matrices": empty, "words": empty, "chart": None, "caption": said, "table": "", "drawn": "",
                    "done": not isinstance(error, Full), "shown": fields}  # fmt: skip
        curves, new = live.curves, live.drawn != drawn
        return {
            "matrices": {side: markup(matrix.table) for side, matrix in live.matrices.items()},
            "words": {side: markup(matrix.words) for side, matrix in live.matrices.items()},
            "chart": chart(curves.figure) if new else no_update,
            "caption": curves.words,
            "table": markup(curves.table) if new else no_update,
            "drawn": live.drawn if new else no_update,
            "done": live.done,
            "shown": fields,
        }


def _add_stored(app: dash.Dash, library: Library) -> None:
    drawn = ("cosine", "robust", "curves")
    tables = {**{name: f"{name}-table" for name in drawn}, "table1": "table1"}

    @app.callback(
        {
            "charts": {name: Output(f"{name}-chart", "children") for name in drawn},
            "words": {name: Output(f"{name}-words", "children") for name in drawn},
            "tables": {name: Output(f"{table}-html", "data") for name, table in tables.items()},
            "shown": Output("run-shown", "data"),
        },
        Input("run-fields", "data"),
        Input("look", "data"),
    )
    def stored(fields: Json | None, look: str | None) -> Json:
        if not fields:
            raise dash.exceptions.PreventUpdate
        try:
            sections = stored_sections(library, _pair(library, fields), look=look or "light")
        except SHOWN_ERRORS:
            return {"charts": dict.fromkeys(drawn), "words": dict.fromkeys(drawn, ""), "tables": dict.fromkeys(tables, ""),
                    "shown": fields}  # fmt: skip
        return {
            "charts": {name: chart(sections[name].figure) for name in drawn},
            "words": {name: sections[name].words for name in drawn},
            "tables": {name: markup(sections[name].table) for name in tables},
            "shown": fields,
        }


def _add_newest(app: dash.Dash, library: Library) -> None:
    @app.callback(
        Output("newest", "data"), Input("alive", "data"), Held("state", "data"), Held("newest", "data"), prevent_initial_call=True
    )
    def newest(beats: int | None, state: Json | None, before: Json | None) -> Any:
        """Notice that a run has saved more, or has gone, or that one has come: the state is then resolved again."""
        del beats
        if not state:
            raise dash.exceptions.PreventUpdate
        now: Json = {"runs": library.names, "pair": [state["a"], state["b"]]}
        for side in "ab":
            try:
                now[side] = library.checkpoints(str(state[side])) if state[side] else []
            except SHOWN_ERRORS as error:
                now[side] = str(error)
        return no_update if now == before else now


def _add_handout(app: dash.Dash, library: Library, jobs: Jobs, slices: SliceCache) -> None:
    @app.callback(
        Output("download", "data"),
        Output("notice", "children", allow_duplicate=True),
        Input("handout", "n_clicks"),
        Held("state", "data"),
        Held("client", "data"),
        prevent_initial_call=True,
    )
    def save(clicks: int | None, state: Json | None, client: str | None) -> tuple:
        if not clicks or not state:
            raise dash.exceptions.PreventUpdate
        try:
            pair = _pair(library, state, client or "")
            page = handout(library, pair, jobs, slices)
        except SHOWN_ERRORS as error:
            return no_update, str(error)
        return dcc.send_string(page, f"{pair.names['a']}-and-{pair.names['b']}-handout.html"), ""


def _pair(library: Library, fields: Json, client: str = "") -> Any:
    return parse_pair(library, {**fields, "client": client})
