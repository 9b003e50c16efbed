"""The dashboard: follows a run folder and shows it. It writes nothing but requests to the trainer."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from trs_explorer import runs
from trs_explorer.catalogue import METHODS
from trs_explorer.tui import words
from trs_explorer.tui.alarms import alarms
from trs_explorer.tui.charts import Chart, loss_picture, phase_picture
from trs_explorer.tui.dialogs import Help, Leave, Note
from trs_explorer.tui.follow import PATIENCE, Follower
from trs_explorer.tui.look import Look, plain
from trs_explorer.tui.reading import number

TICK = 0.25
SHORT = 28  # lower than this there is no room for panels one above the other
PATIENCE_S = 3.0  # a weight that the trainer has not confirmed by then was refused
CHART_TICK = 1.0  # a chart costs 20-30 ms to draw, a line of text almost nothing
SERIES_COLOURS = ("foreground", "primary", "warning", "success", "accent", "secondary", "error")
CONTROLS = (
    ("space", "pause", "Pause or resume the training"),
    ("s", "save", "Save a checkpoint now"),
    ("left_square_bracket", "scale('lambda_a', 0.8)", "Lower lambda_a"),
    ("right_square_bracket", "scale('lambda_a', 1.25)", "Raise lambda_a"),
    ("left_curly_bracket", "scale('lambda_b', 0.8)", "Lower lambda_b"),
    ("right_curly_bracket", "scale('lambda_b', 1.25)", "Raise lambda_b"),
    ("n", "note", "Write a note into the run"),
)


class Dashboard(App[None]):
    """A viewer of one run, live or not."""

    CSS_PATH = "dashboard.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, action, text, show=False) for key, action, text in CONTROLS),
        Binding("q,ctrl+q", "leave", "Leave", show=False),
        Binding("ctrl+c", "leave", "Leave", show=False, priority=True),
        Binding("question_mark", "help", "Help", show=False),
    ]

    def __init__(self, run: runs.Run, *, readonly: bool = False, owns_trainer: bool = False, ascii_only: bool = False) -> None:
        """Prepare to show `run`."""
        super().__init__()
        self.title = f"trs {run.name}"
        self.readonly, self.owns_trainer, self.ascii_only = readonly, owns_trainer, ascii_only
        self.followed = Follower(run, PATIENCE if owns_trainer else 1.0)
        self.look = Look(ascii_only)
        self._charts_drawn = 0.0
        self._asked: dict[str, float] = {}
        self._asked_at = 0.0
        self._leaving = False
        self._shown: dict[str, object] = {}

    def compose(self) -> ComposeResult:
        """All panels; the size decides which are seen."""
        self._header, self._alarms, self._accuracy = Static(id="header"), Static(id="alarms"), Static(id="accuracy")
        self._log_lines, self._keys, self._numbers = Static(id="log"), Static(id="keys", markup=False), Static(markup=False)
        lettered = self.ascii_only or self.no_color  # textual's NO_COLOR filter fails on the braille canvas's unstyled cells
        self._loss, self._phase = Chart("loss", lettered), Chart("phase", lettered)
        self._cosine, self._transfer = Static(), Static()
        cosine, transfer = VerticalScroll(self._cosine, classes="panel"), VerticalScroll(self._transfer, classes="panel")
        self._loss.border_title, self._phase.border_title = "LOSS", "SIMILARITY vs TRANSFER"
        cosine.border_title, transfer.border_title = "|cos| of input gradients", "TRANSFER"
        yield self._header
        yield self._alarms
        yield Container(Container(self._loss, self._phase, id="left"), Container(cosine, transfer, id="right"), id="body")
        yield VerticalScroll(self._numbers, id="numbers")
        yield self._accuracy
        yield self._log_lines
        yield self._keys

    def on_mount(self) -> None:
        """Take signals (else the terminal stays in disorder after a SIGTERM), then follow the run."""
        self.set_class(self.ascii_only, "ascii")
        loop = asyncio.get_running_loop()
        for name in ("SIGTERM", "SIGHUP"):
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(getattr(signal, name), self.exit)
        self.theme_changed_signal.subscribe(self, lambda _: self._restyle())
        self._restyle()
        self.run_worker(self._follow(), name="follow")

    def on_unmount(self) -> None:
        """Give the signals back."""
        for name in ("SIGTERM", "SIGHUP"):
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().remove_signal_handler(getattr(signal, name))

    # --- following -----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Read what is new, fold it, repaint what it changed; for ever."""
        run = self.followed
        while True:
            try:
                await asyncio.to_thread(run.read)
                run.take()
            except OSError as error:
                run.waiting = f"cannot read {run.run.path}: {error.strerror or error}"
            for name, value in list(self._asked.items()):
                if number(run.history.options.get(name)) == value or time.monotonic() - self._asked_at > PATIENCE_S:
                    del self._asked[name]
            self._paint()
            if self._leaving and not run.controllable:
                self.exit()
            await asyncio.sleep(TICK)

    # --- painting ------------------------------------------------------------------------------------------------

    def on_resize(self, _: events.Resize) -> None:
        """Another size, another layout."""
        self._shown.clear()
        self._paint()
        self.call_after_refresh(self._redraw)  # the panels know their new size only after the layout

    def _redraw(self) -> None:
        self._shown.clear()
        self._charts_drawn = 0.0
        self._paint()

    def _restyle(self) -> None:
        named = {name: value.removeprefix("ansi_") for name, value in self.theme_variables.items()}
        roles = {str(i): named[name] for i, name in enumerate(SERIES_COLOURS) if name in named}
        roles |= {
            "good": named["success"],
            "warn": named["warning"],
            "bad": named["error"],
            "mark": named["accent"],
            "muted": "dim",
        }
        self.look = Look(self.ascii_only, roles)
        self._redraw()

    def _put(self, widget: Static, text: Text | str) -> None:
        """Update a widget if its text changed."""
        key = str(id(widget))
        if self._shown.get(key) != text:
            self._shown[key] = text
            widget.update(text)

    def _paint(self) -> None:
        if not self.is_mounted:
            return
        width, height = self.size
        run, look = self.followed, self.look
        history = run.history
        small = width < 80 or height < 20 or not (history.terms or history.probes)
        for name, on in (
            ("small", small),
            ("wide", not small and (width >= 120 or height < SHORT)),
            ("folded", not small and width < 120 and height >= SHORT),
            ("short", height < SHORT),
            ("tall", height >= 44),
        ):
            self.screen_stack[0].set_class(on, name)
        situation = words.Situation(run.run.name, run.state, run.status.get("pid"), self.readonly)
        self._put(self._header, words.header(history, situation, look, width - 2))
        warning = words.warnings(alarms(history, {**run.status, "state": run.state}, time.time()), look)
        self._alarms.display = bool(warning)
        self._put(self._alarms, warning)
        self._put(self._keys, words.keys(look, width - 2, run.controllable and not self.readonly))
        if small:
            self._put(self._numbers, run.waiting or words.numbers(history, look, max(20, width - 4)))
            return
        self._put(self._accuracy, words.accuracy(history, look))
        self._put(self._log_lines, words.log(history, look, 4 if height >= 40 else 2 if height >= SHORT else 1))
        inner = self._cosine.container_size.width or 40
        self._put(self._cosine, words.cosines(history, look, inner))
        title = Text(words.transfer_title(history) + "\n", "dim")
        self._put(self._transfer, title.append_text(words.transfer(history, look, inner)))
        if time.monotonic() - self._charts_drawn >= CHART_TICK:
            self._charts_drawn = time.monotonic()
            self._draw(width)

    def _draw(self, width: int) -> None:
        seen = (self.followed.history.step, self.followed.history.events)
        if self._shown.get("loss") != seen:
            self._shown["loss"] = seen
            picture = loss_picture(self.followed.history, self.look, 2 * width)
            axis = "log" if picture is None or picture.log else "linear"
            self._loss.border_title = f"LOSS  {axis} axis, weighted terms over steps"
            self._loss.border_subtitle = words.settings(self.followed.history, self.look).plain
            self._loss.show(words.losses(self.followed.history, self.look), picture)
        if self._shown.get("phase") != len(self.followed.history.probes):
            self._shown["phase"] = len(self.followed.history.probes)
            self._phase.show(words.phase(self.followed.history, self.look), phase_picture(self.followed.history, self.look))

    # --- asking the trainer --------------------------------------------------------------------------------------

    def _ask(self, action: str, said: str, **fields: object) -> bool:
        """Send a request if there is somebody to send it to; say in the log what happened either way."""
        asked = False
        if self.readonly:
            said = "read only: this window does not control the training"
        elif not self.followed.controllable:
            said = f"no trainer listens: the run is {self.followed.state}"
        else:
            try:
                runs.request(self.followed.run, action, **fields)
                asked = True
            except OSError as error:
                said = f"cannot write to {self.followed.run.path}: {error.strerror or error}"
        self.followed.history.say(time.time(), f"{self.look.glyph('log')} {said}")
        if self.size.width < 80 or self.size.height < 20:
            self.notify(said, timeout=2, markup=False)
        self._paint()
        return asked

    def action_pause(self) -> None:
        """Pause a running training, resume a paused one."""
        action = "resume" if self.followed.state == "paused" else "pause"
        self._ask(action, f"asked to {action}")

    def action_save(self) -> None:
        """Save a checkpoint now."""
        self._ask("save", "asked to save")

    def action_scale(self, name: str, factor: float) -> None:
        """Multiply a weight of the loss; several presses add up before the trainer has answered."""
        config = self.followed.run.config
        if name not in config.options or name in METHODS[config.method].fixed:
            why = "fixes" if name in config.options else "has no"
            self.followed.history.say(time.time(), f"{config.method} {why} {name}")
            self._paint()
            return
        now = self._asked.get(name, number(self.followed.history.options.get(name, config.options[name])) or 0.0)
        value = float(f"{now * factor:.4g}") if now else (0.01 if factor > 1 else 0.0)
        if self._ask("set", f"asked for {name} {plain(now)} -> {plain(value)}", name=name, value=value):
            self._asked[name], self._asked_at = value, time.monotonic()

    def action_note(self) -> None:
        """Ask for a line of text and record it."""
        if self.readonly or not self.followed.controllable:
            self._ask("note", "")
            return
        self.push_screen(Note(), self._noted)

    def _noted(self, text: str | None) -> None:
        if text:
            self._ask("note", "note sent", text=text)

    # --- leaving and help ----------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """Show what the keys do."""
        self.push_screen(Help())

    def action_leave(self) -> None:
        """Leave; while a training is alive ask first how."""
        if self._leaving or self.readonly or not self.followed.controllable:
            self.exit()
        elif not isinstance(self.screen, Leave):
            self.push_screen(Leave(os.path.relpath(self.followed.run.path), self.owns_trainer), self._left)

    async def action_quit(self) -> None:
        """The palette's quit is our leave."""
        self.action_leave()

    def _left(self, answer: str | None) -> None:
        if answer == "detach":
            self.exit()
        elif answer == "stop":
            self._leaving = self._ask("stop", "asked to stop: it saves first, then this window closes; q closes it now")

    def get_system_commands(self, screen: Screen) -> Iterable[SystemCommand]:
        """The palette: ours first."""
        for _, action, text in CONTROLS:
            yield SystemCommand(text, "asks the trainer, as the key does", partial(self.call_later, self.run_action, action))
        yield from super().get_system_commands(screen)
