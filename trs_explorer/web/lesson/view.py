"""What the server draws of a card: a function of the card's state, called again by the page until nothing more is to come."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import plotly.graph_objects as go

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.web.markup import markup


def slot(card: str, client: str) -> str:
    """Return the jobs' slot of a card in a browser tab: a new job replaces the tab's older one."""
    return f"{card} in the lesson of {client[:64]}"


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
        return slot(self.name, self.fields.get("client", ""))

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

    def to_json(self) -> Json:
        """Return the view for the page: figures in plotly's format, components as HTML."""
        figures = {name: one if isinstance(one, str) else one.to_dict() for name, one in self.figures.items()}
        parts = {name: markup(part) for name, part in self.markup.items()}
        return {"figures": figures, "texts": dict(self.texts), "parts": parts, "done": self.done}
