"""All panels in one widget, painted from a View; what has not changed is not painted again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from trs_explorer.tui import words
from trs_explorer.tui.alarms import Alarm
from trs_explorer.tui.charts import Chart
from trs_explorer.tui.ghosts import Ghost
from trs_explorer.tui.keys import foot
from trs_explorer.tui.look import Look, printable
from trs_explorer.tui.model import History
from trs_explorer.tui.pictures import loss_picture, phase_picture
from trs_explorer.tui.player import Player
from trs_explorer.tui.tape import Tape
from trs_explorer.tui.timeline import timeline

SHORT = 28  # lower than this there is no room for panels one above the other
CHART_TICK = 1.0  # a chart costs 20-30 ms to draw, a line of text almost nothing
REPLAY_TICK = 0.2


@dataclass(frozen=True)
class View:
    """Everything that is on the screen. controls: whether a trainer listens; waiting: words while nothing is recorded."""

    history: History
    situation: words.Situation
    alarms: Sequence[Alarm]
    controls: bool
    waiting: str
    tape: Tape
    player: Player
    ghosts: Sequence[Ghost] = ()
    other: History | None = None
    other_name: str = ""
    look: Look = field(default_factory=Look)


class Board(Container):
    """The panels. The size decides which are seen."""

    def __init__(self, *, lettered: bool) -> None:
        """Empty panels; lettered: charts of letters, not of braille in colours."""
        super().__init__(id="board")
        self._shown: dict[str, object] = {}
        self._charts_drawn = 0.0
        self._header, self._alarms, self._accuracy = Static(id="header"), Static(id="alarms"), Static(id="accuracy")
        self._versus, self._timeline, self._log = Static(id="versus"), Static(id="timeline"), Static(id="log")
        self._keys, self._numbers = Static(id="keys", markup=False), Static(markup=False)
        self._loss, self._phase = Chart("loss", lettered), Chart("phase", lettered)
        self._cosine, self._transfer = Static(), Static()

    def compose(self) -> ComposeResult:
        """All panels, from top to bottom."""
        cosine, transfer = VerticalScroll(self._cosine, classes="panel"), VerticalScroll(self._transfer, classes="panel")
        self._loss.border_title, self._phase.border_title = "LOSS", "SIMILARITY vs TRANSFER"
        cosine.border_title, transfer.border_title = "|cos| of input gradients", "TRANSFER"
        yield self._header
        yield self._alarms
        yield Container(Container(self._loss, self._phase, id="left"), Container(cosine, transfer, id="right"), id="body")
        yield VerticalScroll(self._numbers, id="numbers")
        yield self._accuracy
        yield self._versus
        yield self._log
        yield self._timeline
        yield self._keys

    def forget(self) -> None:
        """Paint everything anew the next time: the size or the colours have changed."""
        self._shown = {name: value for name, value in self._shown.items() if name == "arrangement"}
        self._charts_drawn = 0.0

    def paint(self, view: View) -> None:
        """Show `view`."""
        width, height = self.size
        history, look = view.history, view.look
        newest = view.tape.history
        small = width < 80 or height < 20 or not (newest.terms or newest.probes)
        arrangement = {
            "small": small,
            "wide": not small and (width >= 120 or height < SHORT),
            "folded": not small and width < 120 and height >= SHORT,
            "short": height < SHORT,
            "tall": height >= 44,
        }
        for name, on in arrangement.items():
            self.set_class(on, name)
        if self._changed("arrangement", arrangement):
            self.call_after_refresh(self.forget)  # the panels know their new sizes only then
        self._put(self._header, words.header(history, view.situation, look, width - 2))
        self._put_or_hide(self._alarms, words.warnings(list(view.alarms), look))
        past = view.player.position is not None
        over = not view.controls and height >= SHORT and len(view.tape) > 1
        self._put_or_hide(self._timeline, timeline(view.tape, view.player, look, width - 2) if past or over else Text())
        against = Text() if view.other is None else words.versus(history, view.other, view.other_name, look)
        self._put_or_hide(self._versus, against)
        controls = view.controls and not view.situation.readonly
        self._put(self._keys, foot(look, width - 2, controls=controls, weights=words.weights(history)))
        if small:
            self._put(self._numbers, view.waiting or words.numbers(history, look, max(20, width - 4)))
            return
        self._put(self._accuracy, words.accuracy(history, look))
        self._put(self._log, words.log(history, look, 4 if height >= 40 else 2 if height >= SHORT else 1))
        inner = self._cosine.container_size.width or 40
        self._put(self._cosine, words.cosines(history, look, inner))
        title = Text(words.transfer_title(history) + "\n", "dim")
        self._put(self._transfer, title.append_text(words.transfer(history, look, inner)))
        ready = self._loss.ready and self._phase.ready
        if ready and time.monotonic() - self._charts_drawn >= (REPLAY_TICK if past else CHART_TICK):
            self._charts_drawn = time.monotonic()
            self._draw(view, width)

    def _draw(self, view: View, width: int) -> None:
        history, look, other = view.history, view.look, view.other
        theirs = other.events if other is not None else 0
        if self._changed("loss", (history.step, history.events, theirs)):
            picture = loss_picture(history, look, self._loss.size.width or width, other, view.tape.history.step)
            axis = "log" if picture is None or picture.log else "linear"
            title = f"LOSS  {axis} axis"
            longer = f"{title}, weighted terms over steps"  # textual would cut it with a character that is not ASCII
            self._loss.border_title = longer if len(longer) < self._loss.size.width - 6 else title
            self._loss.border_subtitle = printable(words.settings(history, look))  # a str would be read as markup
            self._loss.show(printable(words.losses(history, look)), picture)
        if self._changed("phase", (len(history.probes), len(view.ghosts), theirs)):
            self._phase.show(words.phase(history, look, view.ghosts), phase_picture(history, look, view.ghosts, other))

    def _changed(self, key: str, value: object) -> bool:
        changed = self._shown.get(key) != value
        self._shown[key] = value
        return changed

    def _put(self, widget: Static, text: Text | str) -> None:
        """Update a widget if its text changed. A new layout costs ten times as much: only if it may need another height."""
        text = printable(text if isinstance(text, Text) else Text(text))
        if self._changed(str(id(widget)), text):
            lines = text.plain.split("\n")
            fits = max(map(len, lines)) <= widget.size.width
            same = not self._changed(f"{id(widget)} shape", (len(lines), fits))
            widget.update(text, layout=not (same and fits))

    def _put_or_hide(self, widget: Static, text: Text) -> None:
        widget.display = bool(text)
        self._put(widget, text)
