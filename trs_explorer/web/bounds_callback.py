"""The callback of the "Bounds" section: it measures while the section's switch is on, and else shows what is stored."""

import textwrap
from typing import Any

import dash
from dash import Input, Output, ctx, no_update
from dash import State as Held

from trs_explorer.evaluation.bounds.rows import HEADER, rows
from trs_explorer.explore.jobs import Full, Jobs, Snapshot
from trs_explorer.explore.library import Library
from trs_explorer.figures.bounds_figure import bounds_spec
from trs_explorer.figures.slice_figure import PAGE_PX
from trs_explorer.figures.theme import LOOKS
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.tables import to_csv
from trs_explorer.web import bounds
from trs_explorer.web.markup import markup
from trs_explorer.web.page import bounds_graph
from trs_explorer.web.page_request import PageRequest, parse_request
from trs_explorer.web.state_callbacks import SHOWN_ERRORS


def bounds_snapshot(jobs: Jobs, request: PageRequest, *, again: bool = False) -> Snapshot | None:
    """Return the requested bounds as far as they are measured; started only if the state's switch is on. None: not measured.

    again: the page polls a second time.
    """
    key, slot = bounds.bounds_key(request.loaded, request.state), f"bounds of {request.client}"
    if not request.state.bounds or len(request.loaded.ensemble) < 2:
        jobs.leave(slot)
        known = jobs.get(key)
        return known if known is not None and known.state == "done" else None
    return jobs.follow(key, slot, lambda: bounds.measured(request.loaded, request.state), again=again)


def shown_bounds(jobs: Jobs, request: PageRequest) -> Json:
    """Return the result that the section shows. Raises: UsageError if there is none."""
    snapshot = bounds_snapshot(jobs, request, again=True)
    stored = bounds.stored_bounds(request.loaded) if snapshot is None else None
    result, words, _ = bounds.words(snapshot, stored, request.loaded, request.state)
    if result is None:
        raise UsageError(f"there are no bounds to save: {words}")
    return result


def bounds_export(kind: str, jobs: Jobs, request: PageRequest, *, look: str) -> Json | bytes:
    """Return the bounds to be saved: of kind "bounds", a CSV file; else a figure. look: one of `theme.LOOKS`."""
    result = shown_bounds(jobs, request)
    about = f"{request.state.run}, {bounds.about(result, request.loaded)}; weights {request.loaded.digest[:12]}"
    if kind == "bounds":
        return to_csv(HEADER, rows(result), about=about).encode()
    figure = bounds_spec(result, look=look, caption="\n".join(textwrap.wrap(about, 100)))
    figure["layout"] |= {"width": PAGE_PX, **({} if look == "print" else {"paper_bgcolor": LOOKS[look].paper})}
    return figure


def add_bounds(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    """Add the callback."""

    @app.callback(
        Output("bounds-chart", "children"),
        Output("bounds-table-html", "data"),
        Output("bounds-words", "children"),
        Output("bounds-sentences", "children"),
        Output("bounds-poll", "disabled"),
        Output("bounds-shown", "data"),
        Input("settled", "data"),
        Input("bounds-poll", "n_intervals"),
        Input("look", "data"),
        Held("bounds-shown", "data"),
        Held("client", "data"),
        prevent_initial_call=True,
    )
    def follow(state: Json | None, polls: int | None, look: str | None, shown: list | None, client: str) -> tuple[Any, ...]:
        del polls
        if not state:
            raise dash.exceptions.PreventUpdate
        if "error" in state:
            return None, "", "", [], True, []
        polled = ctx.triggered_id == "bounds-poll"
        try:
            request = parse_request(library, {**state, "client": client})
            snapshot = bounds_snapshot(jobs, request, again=polled)
            stored = bounds.stored_bounds(request.loaded) if snapshot is None else None
            result, line, said = bounds.words(snapshot, stored, request.loaded, request.state)
        except SHOWN_ERRORS as error:  # if too many jobs run, the page polls again
            return None, "", str(error), [], not isinstance(error, Full), []
        done = snapshot is None or snapshot.state != "running"
        now = [list(map(str, bounds.bounds_key(request.loaded, request.state))), line, look]
        if polled and now == shown:
            return (no_update,) * 4 + (done, no_update)
        chart = None if result is None else bounds_graph(bounds_spec(result, look=look or "light"))
        table = "" if result is None else markup(bounds.pairs_table(result))
        return chart, table, line, said, done, now
