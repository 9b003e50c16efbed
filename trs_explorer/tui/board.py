"""All panels in one widget, painted from a View. What has not changed is not painted again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from trs_explorer.tui import panels
from trs_explorer.tui.alarms import Alarm
from trs_explorer.tui.chart_data import loss_chart, similarity_chart
from trs_explorer.tui.charts import Chart
from trs_explorer.tui.event_log import EventLog
from trs_explorer.tui.formatting import Format, printable
from trs_explorer.tui.history import History
from trs_explorer.tui.keys import key_line
from trs_explorer.tui.player import Player
from trs_explorer.tui.reference_runs import ReferenceRun
from trs_explorer.tui.timeline import timeline

SHORT = 28  # a screen of fewer lines has no room for panels above each other
CHART_TICK = 1.0  # seconds between drawings of the charts: each takes 20-30 ms, a line of text almost nothing
REPLAY_TICK = 0.2  # the same during a replay


@dataclass(frozen=True)
class View:
    """Everything that is on the screen.

    history: after the newest event, or at the replay's position.
    controls: whether a trainer can receive requests.  waiting: shown while nothing has been recorded.
    references: shipped runs to compare with.  other, other_name: the run of --against.
    """

    history: History
    run_state: panels.RunState
    alarms: Sequence[Alarm]
    controls: bool
    waiting: str
    event_log: EventLog
    player: Player
    references: Sequence[ReferenceRun] = ()
    other: History | None = None
    other_name: str = ""
    fmt: Format = field(default_factory=Format)


class Board(Container):
    """The panels. The size of the screen decides which are visible."""

    def __init__(self, *, lettered: bool) -> None:
        """Create empty panels. lettered: draw charts with letters instead of coloured braille."""
        super().__init__(id="board")
        self._painted: dict[str, object] = {}
        self._charts_drawn = 0.0
        self._header, self._alarms, self._accuracy = Static(id="header"), Static(id="alarms"), Static(id="accuracy")
        self._versus, self._timeline, self._log = Static(id="versus"), Static(id="timeline"), Static(id="log")
        self._keys, self._numbers = Static(id="keys", markup=False), Static(markup=False)
        self._loss, self._similarity = Chart("loss", lettered), Chart("similarity", lettered)
        self._cosine, self._transfer = Static(), Static()

    def compose(self) -> ComposeResult:
        """Create all panels, from top to bottom."""
        cosine, transfer = VerticalScroll(self._cosine, classes="panel"), VerticalScroll(self._transfer, classes="panel")
        self._loss.border_title, self._similarity.border_title = "LOSS", "SIMILARITY vs TRANSFER"
        cosine.border_title, transfer.border_title = "|cos| of input gradients", "TRANSFER"
        yield self._header
        yield self._alarms
        yield Container(Container(self._loss, self._similarity, id="left"), Container(cosine, transfer, id="right"), id="body")
        yield VerticalScroll(self._numbers, id="numbers")
        yield self._accuracy
        yield self._versus
        yield self._log
        yield self._timeline
        yield self._keys

    def repaint_all(self) -> None:
        """Paint everything the next time, because the size or the colours have changed."""
        self._painted = {name: value for name, value in self._painted.items() if name == "arrangement"}
        self._charts_drawn = 0.0

    def paint(self, view: View) -> None:
        """Show `view`."""
        width, height = self.size
        history, fmt = view.history, view.fmt
        newest = view.event_log.history
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
            self.call_after_refresh(self.repaint_all)  # only then do the panels know their new sizes
        self._put(self._header, panels.header(history, view.run_state, fmt, width - 2))
        self._put_or_hide(self._alarms, panels.warnings(list(view.alarms), fmt))
        replaying = view.player.position is not None
        ended = not view.controls and height >= SHORT and len(view.event_log) > 1
        self._put_or_hide(self._timeline, timeline(view.event_log, view.player, fmt, width - 2) if replaying or ended else Text())
        against = Text() if view.other is None else panels.versus(history, view.other, view.other_name, fmt)
        self._put_or_hide(self._versus, against)
        controls = view.controls and not view.run_state.readonly
        self._put(self._keys, key_line(fmt, width - 2, controls=controls, weights=panels.weights(history)))
        if small:
            self._put(self._numbers, view.waiting or panels.numbers(history, fmt, max(20, width - 4)))
            return
        self._put(self._accuracy, panels.accuracy(history, fmt))
        self._put(self._log, panels.log(history, fmt, 4 if height >= 40 else 2 if height >= SHORT else 1))
        inner = self._cosine.container_size.width or 40
        self._put(self._cosine, panels.cosines(history, fmt, inner))
        title = Text(panels.transfer_title(history, fmt) + "\n", "dim")
        self._put(self._transfer, title.append_text(panels.transfer(history, fmt, inner)))
        ready = self._loss.ready and self._similarity.ready
        if ready and time.monotonic() - self._charts_drawn >= (REPLAY_TICK if replaying else CHART_TICK):
            self._charts_drawn = time.monotonic()
            self._draw(view, width)

    def _draw(self, view: View, width: int) -> None:
        history, fmt, other = view.history, view.fmt, view.other
        other_events = other.events if other is not None else 0
        if self._changed("loss", (history.step, history.events, other_events)):
            data = loss_chart(history, fmt, self._loss.size.width or width, other, view.event_log.history.step)
            axis = "log" if data is None or data.log else "linear"
            title = f"LOSS  {axis} axis"
            long_title = f"{title}, weighted terms over steps"  # textual would cut it with a non-ASCII character
            self._loss.border_title = long_title if len(long_title) < self._loss.size.width - 6 else title
            self._loss.border_subtitle = printable(panels.settings(history, fmt))  # not a str, which would be parsed as markup
            self._loss.show(printable(panels.losses(history, fmt)), data)
        if self._changed("similarity", (len(history.probes), len(view.references), other_events)):
            self._similarity.show(
                panels.similarity(history, fmt, view.references, other), similarity_chart(history, fmt, view.references, other)
            )

    def _changed(self, key: str, value: object) -> bool:
        changed = self._painted.get(key) != value
        self._painted[key] = value
        return changed

    def _put(self, widget: Static, text: Text | str) -> None:
        """Update a widget if its text changed. A new layout takes ten times as long: only if the height may change."""
        text = printable(text if isinstance(text, Text) else Text(text))
        if self._changed(str(id(widget)), text):
            lines = text.plain.split("\n")
            fits = max(map(len, lines)) <= widget.size.width
            same_height = not self._changed(f"{id(widget)} shape", (len(lines), fits))
            widget.update(text, layout=not (same_height and fits))

    def _put_or_hide(self, widget: Static, text: Text) -> None:
        widget.display = bool(text)
        self._put(widget, text)
