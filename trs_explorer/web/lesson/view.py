"""What the server draws of a card: a function of the card's state, asked again by the page until nothing more is to come."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
import plotly.graph_objects as go
from flask import Flask, Response, request

from trs_explorer.explore.jobs import Full, Jobs
from trs_explorer.explore.library import Library
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.markup import markup


@dataclass(frozen=True)
class CardRequest:
    """A request for a card's view.

    library, jobs: the runs, and the background jobs that measure them.
    name: the card's name.
    fields: the card's state, and what a button adds to it for one measurement.
    """

    library: Library
    jobs: Jobs
    name: str
    fields: Mapping[str, str]

    @property
    def revealed(self) -> bool:
        """Whether the answer is shown. What is to be guessed is neither measured nor sent before."""
        return self.fields.get("reveal") == "1"

    @property
    def look(self) -> str:
        """The look of the page, and of its figures."""
        return "dark" if self.fields.get("dark") == "1" else "light"

    @property
    def again(self) -> bool:
        """Whether the page polls a second time for the same view."""
        return bool(self.fields.get("again"))

    @property
    def slot(self) -> str:
        """The jobs' slot of this card in this browser tab: a new job replaces the tab's older one."""
        return f"{self.name} in the lesson of {self.fields.get('client', '')[:64]}"

    @property
    def session(self) -> str:
        """The browser tab, also after it has been loaded again."""
        return self.fields.get("session", "")[:64]


@dataclass(frozen=True)
class View:
    """What the page shows in a card's places.

    figures: by place, a plotly figure, or a sentence where there is nothing to draw.
    texts, markup: by place, a text, and components.
    notice: a sentence for the page's notice.
    done: whether nothing more is to come; else the page asks again after `wait` milliseconds.
    """

    figures: Mapping[str, go.Figure | str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    markup: Mapping[str, object] = field(default_factory=dict)
    notice: str = ""
    done: bool = True
    wait: int = 200

    def to_json(self) -> bytes:
        """Return the view for the page's script."""
        figures = {
            name: figure if isinstance(figure, str) else orjson.Fragment(figure.to_json(engine="orjson").encode())
            for name, figure in self.figures.items()
        }
        parts = {name: markup(part) for name, part in self.markup.items()}
        rest = {"texts": dict(self.texts), "notice": self.notice, "done": self.done, "wait": self.wait}
        return orjson.dumps({"figures": figures, "markup": parts, **rest})


def add_view(server: Flask, library: Library, jobs: Jobs, name: str, make: Callable[[CardRequest], View]) -> None:
    """Add /lesson/NAME/view (the query string is the state), and /lesson/NAME/leave, which cancels the card's measurements."""

    def card_view() -> Response:
        try:
            body = make(CardRequest(library, jobs, name, request.args)).to_json()
        except Full as error:  # the page tries again
            return Response(str(error), 429, mimetype="text/plain", headers={"Retry-After": "10"})
        except (UsageError, RunError) as error:
            body = orjson.dumps({"wrong": str(error), "done": True})
        return Response(body, mimetype="application/json")

    def leave() -> Response:
        jobs.leave(CardRequest(library, jobs, name, request.args).slot)
        return Response(status=204)

    server.add_url_rule(f"/lesson/{name}/view", f"lesson view {name}", card_view)
    server.add_url_rule(f"/lesson/{name}/leave", f"lesson leave {name}", leave, methods=["POST"])
