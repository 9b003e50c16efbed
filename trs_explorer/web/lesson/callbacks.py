"""The lesson's callbacks: the card that the address names, its view, and what the browser answers itself (lesson.mjs)."""

from typing import Any

import dash
from dash import ALL, ClientsideFunction, Input, Output, ctx, no_update
from dash import State as Held
from flask import Response, request

from trs_explorer.explore.jobs import Full, Jobs
from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.lesson.deck import CARDS, VIEWS
from trs_explorer.web.lesson.page import card_section
from trs_explorer.web.lesson.state import parse_address
from trs_explorer.web.lesson.view import CardRequest, slot

MAX_CLIENT, MAX_CLOSED = 64, 1000
FULL_MS = 2000  # until the page asks again, if too many measurements run


def add_callbacks(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    """Add the callbacks."""
    _add_card(app)
    _add_view(app, library, jobs)
    fields = {"field": ALL}
    # A component's value has changed, or another card is there.
    app.clientside_callback(
        ClientsideFunction("lesson", "collect"),
        Output("asked", "data"),
        Output("act", "data"),
        Input(fields, "value"),
        Held(fields, "id"),
        Held("cards-meta", "data"),
        Held("asked", "data"),
        Held("client", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("lesson", "press"),
        Output("pressed", "data"),
        *(Input({kind: ALL}, "n_clicks") for kind in ("set", "toggle", "act", "do")),
        prevent_initial_call=True,
    )
    app.clientside_callback(ClientsideFunction("lesson", "fill"), Output("filled", "data"), Input("answer", "data"))
    app.clientside_callback(
        ClientsideFunction("lesson", "beat"), Output("alive", "data"), Output("gone", "children"), Input("beat", "n_intervals")
    )


def _add_card(app: dash.Dash) -> None:
    numbers = {card.name: number for number, card in enumerate(CARDS, 1)}

    @app.callback(
        Output("cards", "children"),
        Output("address-notice", "children"),
        Output("view-notice", "children", allow_duplicate=True),
        Input("address", "pathname"),
        Input("address", "search"),
        prevent_initial_call="initial_duplicate",
    )
    def card(pathname: str | None, search: str | None) -> tuple:
        """Build the card that the address names: only the one on the screen has components."""
        state = parse_address(CARDS, pathname or "", search or "")
        return card_section(state, numbers[state.card.name]), "\n".join(state.notices), ""


def _add_view(app: dash.Dash, library: Library, jobs: Jobs) -> None:
    closed: set[str] = set()  # pages whose requests that are still on their way start no measurement

    @app.server.post("/lesson/leave", endpoint="leave lesson")
    def leave() -> Response:
        """End what is measured for a page that is closed."""
        client = request.args.get("client", "")[:MAX_CLIENT]
        if len(closed) < MAX_CLOSED:
            closed.add(client)
        for name in VIEWS:
            jobs.leave(slot(name, client))
        return Response(status=204)

    @app.callback(
        Output("answer", "data"),
        Output("view-notice", "children"),
        Output("poll", "n_intervals"),
        Output("poll", "interval"),
        Input("asked", "data"),
        Input("act", "data"),
        Input("look", "data"),
        Input("poll", "n_intervals"),
        Held("client", "data"),
        Held("session", "data"),
    )
    def view(asked: Json | None, act: Json | None, look: str | None, polls: int | None, client: Any, session: Any) -> tuple:
        """Return what the server draws of a card. While more is to come the interval runs once more: it polls."""
        del polls
        if not asked or not look:
            raise dash.exceptions.PreventUpdate
        client = str(client)[:MAX_CLIENT]
        name, again = asked["card"], set(ctx.triggered_prop_ids.values()) == {"poll"}
        if again and client in closed:  # on its way when the page was closed
            raise dash.exceptions.PreventUpdate
        closed.discard(client)
        for other in () if again else VIEWS:
            if other != name:  # a card that is left is not measured any more
                jobs.leave(slot(other, client))
        if name not in VIEWS:
            return no_update, "", no_update, no_update
        fields = {**asked, **(act if act and act["card"] == name else {})}
        more = {"client": client, "session": session, "dark": int(look == "dark"), "again": int(again) or ""}
        wanted = CardRequest(library, jobs, name, {field: str(value) for field, value in {**fields, **more}.items()})
        try:
            made = VIEWS[name](wanted)
        except Full as error:  # the page tries again
            return no_update, str(error), 0, FULL_MS
        except (UsageError, RunError) as error:
            return {"card": name, "done": True}, str(error), no_update, no_update
        finally:
            if client in closed:
                jobs.leave(slot(name, client))
        polling = (no_update, no_update) if made.done else (0, made.wait)
        return {"card": name, **made.to_json()}, made.notice, *polling
