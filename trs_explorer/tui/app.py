"""The dashboard: follows a run folder and shows it. Into the folder it writes nothing but requests to the trainer."""

import asyncio
import contextlib
import gc
import os
import re
import signal
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from trs_explorer import runs
from trs_explorer.catalogue import METHODS
from trs_explorer.files import printable
from trs_explorer.tui import words
from trs_explorer.tui.alarms import Alarm, alarms
from trs_explorer.tui.board import Board, View
from trs_explorer.tui.dialogs import Help, Leave, Note
from trs_explorer.tui.follow import PATIENCE, Follower
from trs_explorer.tui.ghosts import Ghost, ghosts_for
from trs_explorer.tui.keys import KEYS
from trs_explorer.tui.look import Look, plain
from trs_explorer.tui.player import Player
from trs_explorer.tui.theme import look_of
from trs_explorer.values import number, text

TICK, PLAY_TICK = 0.25, 0.1
CONFIRM_S = 3.0  # a weight that the trainer has not confirmed by then is asked for no more
THEMES = ("textual-dark", "textual-light", "ansi-dark", "ansi-light")


class Dashboard(App[None]):
    """A viewer of one run, live or not."""

    CSS_PATH = "dashboard.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key.keys, key.action, key.text, show=False, priority=key.group == "replay") for key in KEYS),
        Binding("ctrl+c", "leave", "Leave", show=False, priority=True),
    ]

    def __init__(
        self,
        run: runs.Run,
        *,
        readonly: bool = False,
        owns_trainer: bool = False,
        ascii_only: bool = False,
        against: runs.Run | None = None,
    ) -> None:
        """Prepare to show `run`, and `against` on the same axes."""
        super().__init__()
        self.title = f"trs {run.name}"
        self.readonly, self.owns_trainer, self.ascii_only = readonly, owns_trainer, ascii_only
        self.followed = Follower(run, PATIENCE if owns_trainer else 1.0)
        self.against = Follower(against) if against is not None else None
        self.player = Player()
        self.look = Look(ascii_only)
        self._ghosts: Sequence[Ghost] | None = None  # not looked for yet
        self._asked: dict[str, float] = {}
        self._asked_at = 0.0
        self._leaving = False
        self.shown_step = 0

    def compose(self) -> ComposeResult:
        """The panels."""
        # textual's NO_COLOR filter fails on the braille canvas's unstyled cells
        self.board = Board(lettered=self.ascii_only or self.no_color)
        yield self.board

    def on_mount(self) -> None:
        """Take signals (else the terminal stays in disorder after a SIGTERM), then follow the run."""
        self.set_class(self.ascii_only, "ascii")
        loop = asyncio.get_running_loop()
        for name in (name for name in ("SIGTERM", "SIGHUP") if signal.getsignal(getattr(signal, name, 1)) != signal.SIG_IGN):
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(getattr(signal, name), self.exit)
        self.theme_changed_signal.subscribe(self, lambda _: self._restyle())
        self._restyle()
        self.run_worker(self._follow(), name="follow")

    def on_unmount(self) -> None:
        """Give the signals back."""
        for name in (name for name in ("SIGTERM", "SIGHUP") if signal.getsignal(getattr(signal, name, 1)) != signal.SIG_IGN):
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().remove_signal_handler(getattr(signal, name))

    # --- following and painting ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Read what is new, fold it, let a replay go on, repaint what that changed; for ever."""
        run, before = self.followed, time.monotonic()
        while True:
            tape = run.tape
            for one in filter(None, (run, self.against)):
                await asyncio.to_thread(one.read)
                one.take()
            if run.tape is not tape:
                self.player.end()
            for name, value in list(self._asked.items()):
                if number(run.history.options.get(name)) == value or time.monotonic() - self._asked_at > CONFIRM_S:
                    del self._asked[name]
            now = time.monotonic()
            self.player.tick(run.tape, now - before)
            before = now
            self._paint()
            if self._leaving and not run.controllable:
                self.exit()
            if self._ghosts is None and run.history.events:
                self._ghosts = await asyncio.to_thread(ghosts_for, run.run)
                if not self.is_headless:
                    gc.freeze()  # all this stays: looking through it again and again costs 100 ms a time, while a key waits
            await asyncio.sleep(PLAY_TICK if self.player.playing else TICK)

    def on_resize(self, _: events.Resize) -> None:
        """Another size, another layout; the panels know their new size only after it."""
        self._redraw()
        self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self.board.forget()
        self._paint()

    def _restyle(self) -> None:
        self.look = look_of(self.theme_variables, ascii_only=self.ascii_only, no_color=self.no_color)
        self._redraw()

    def _paint(self) -> None:
        if not self.board.is_mounted:
            return
        run = self.followed
        try:
            history = self.player.history(run.tape)
        except OSError:  # the follower says so, too
            self.player.end()
            history = run.history
        self.shown_step = history.step
        past = self.player.position is not None
        state = "replay" if past else run.state
        self.board.paint(
            View(
                history=history,
                situation=words.Situation(run.run.name, state, run.status.get("pid"), self.readonly),
                alarms=[
                    *(Alarm(one.trouble, serious=True) for one in (run, self.against) if one is not None and one.trouble),
                    *alarms(history, {"state": "replay"} if past else {**run.status, "state": run.state}, run.silent),
                ],
                controls=run.controllable,
                waiting=run.waiting,
                tape=run.tape,
                player=self.player,
                ghosts=self._ghosts or (),
                other=self.against.history if self.against is not None else None,
                other_name=words.beside(self.against.run, run.run) if self.against is not None else "",
                look=self.look,
            )
        )

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
        self._say(said)
        return asked

    def _say(self, said: str) -> None:
        """Tell the user: in the log, or over it where that is not to be seen."""
        self.followed.history.say(time.time(), f"{self.look.glyph('log')} {said}")
        if self.size.width < 80 or self.size.height < 20 or self.followed.waiting or self.player.position is not None:
            self.notify(text(said), timeout=2, markup=False)
        self._paint()

    def action_pause(self) -> None:
        """Pause a running training, resume a paused one; in the past or where no trainer listens, the same for the replay."""
        if self.player.position is not None or not self.followed.controllable:
            self.action_replay("play")
            return
        action = "resume" if self.followed.state == "paused" else "pause"
        self._ask(action, f"asked to {action}")

    def action_save(self) -> None:
        """Save a checkpoint now."""
        self._ask("save", "asked to save")

    def action_stop(self) -> None:
        """Stop the training after the present step."""
        self._ask("stop", "asked to stop after this step")

    def action_scale(self, number_of: int, factor: float) -> None:
        """Multiply the method's first or second weight; several presses add up before the trainer has answered."""
        config = self.followed.run.config
        names = [name for name in config.options if name.startswith("lambda_")]
        name = names[number_of] if len(names) > number_of else None
        if name is None or name in METHODS[config.method].fixed:
            self._say(f"{config.method} {f'fixes {name}' if name else 'has no such weight'}")
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

    # --- moving in time ------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that move in time belong to a dialog while there is one."""
        del parameters
        return not (action == "replay" and len(self.screen_stack) > 1)

    def action_replay(self, what: str, by: int = 0) -> None:
        """Move in time: as the player's method of that name does."""
        player, tape = self.player, self.followed.tape
        if what == "jump":
            stop = player.jump(tape, by)
            self._say(f"{stop.kind} at step {stop.step}" if stop else f"no mark {'after' if by > 0 else 'before'} this")
            return
        moves = {"move": player.move, "stride": player.stride, "speed": player.faster}
        if what in moves:
            moves[what](tape, by)
        elif what == "end":
            player.end()
        else:
            {"start": player.start, "play": player.play}[what](tape)
        self._paint()

    # --- leaving, help, look -------------------------------------------------------------------------------------

    def action_theme(self) -> None:
        """The next theme."""
        now = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(now + 1) % len(THEMES)]
        self._say(f"theme {self.theme}")

    def action_picture(self) -> None:
        """Keep the screen as an SVG file in the present folder; it asks no server for a font."""
        step = self.shown_step
        file = Path(f"trs-{self.followed.run.name}-step-{step}-{self.size.width}x{self.size.height}.svg")
        svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", self.export_screenshot(title=self.title), flags=re.DOTALL)
        try:
            file.write_text(svg, encoding="utf-8")
            said = f"kept as {file.absolute()}"
        except OSError as error:
            said = f"cannot write {file.absolute()}: {error.strerror or error}"
        self.notify(printable(said), markup=False)

    def action_help(self) -> None:
        """Show what the keys do."""
        self.push_screen(Help())

    def action_leave(self) -> None:
        """Leave; while a training is alive ask first how."""
        if self._leaving or self.readonly or not self.followed.controllable:
            self.exit()
        elif not isinstance(self.screen, Leave):
            self.push_screen(Leave(printable(os.path.relpath(self.followed.run.path)), self.owns_trainer), self._left)

    async def action_quit(self) -> None:
        """The palette's quit is our leave."""
        self.action_leave()

    def _left(self, answer: str | None) -> None:
        if answer == "detach":
            self.exit()
        elif answer == "stop":
            self._leaving = self._ask("stop", "asked to stop: it saves first, then this window closes; q closes it now")

    def get_system_commands(self, screen: Screen) -> Iterable[SystemCommand]:
        """The palette: every key by name, then textual's own for themes and enlarging a panel."""
        for key in KEYS:
            yield SystemCommand(key.text.capitalize(), f"key {key.label}", partial(self.call_later, self.run_action, key.action))
        ours = ("Quit", "Keys", "Screenshot")
        yield from (command for command in super().get_system_commands(screen) if command.title not in ours)
