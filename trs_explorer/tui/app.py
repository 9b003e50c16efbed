"""The dashboard: follows a run folder and shows it. It writes nothing into the folder but requests to the trainer."""

import asyncio
import contextlib
import gc
import os
import re
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
from trs_explorer.files import printable
from trs_explorer.tui import panels
from trs_explorer.tui.alarms import Alarm, alarms
from trs_explorer.tui.board import Board, View
from trs_explorer.tui.dialogs import Help, Leave, Note
from trs_explorer.tui.follow import ENDED, STARTUP_S, Follower
from trs_explorer.tui.formatting import Format, plain
from trs_explorer.tui.keys import KEYS
from trs_explorer.tui.pending_weights import PendingWeights, scaled
from trs_explorer.tui.player import Player
from trs_explorer.tui.reference_runs import ReferenceRun, reference_runs_for
from trs_explorer.tui.terminal_restore import not_ignored
from trs_explorer.tui.theme import format_of
from trs_explorer.values import text

TICK, PLAY_TICK = 0.25, 0.1  # seconds between updates, and during a replay
THEMES = ("textual-dark", "textual-light", "ansi-dark", "ansi-light")


class Dashboard(App[None]):
    """The dashboard of one run, live or not."""

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
        leaves_at_end: bool = False,
        ascii_only: bool = False,
        against: runs.Run | None = None,
    ) -> None:
        """Prepare to show `run`, and `against` on the same axes; for the flags see `terminal_restore.watch`."""
        super().__init__()
        self.title = f"trs {run.name}"
        self.readonly, self.owns_trainer, self.leaves_at_end, self.ascii_only = readonly, owns_trainer, leaves_at_end, ascii_only
        self.followed = Follower(run, STARTUP_S if owns_trainer else 1.0)
        self.against = Follower(against) if against is not None else None
        self.player = Player()
        self.fmt = Format(ascii_only)
        self._references: Sequence[ReferenceRun] | None = None  # None: not read yet
        self._pending = PendingWeights()
        self._leaving = False
        self.shown_step = 0

    def compose(self) -> ComposeResult:
        """Create the panels."""
        # because textual's NO_COLOR filter fails on unstyled cells of the braille canvas
        self.board = Board(lettered=self.ascii_only or self.no_color)
        yield self.board

    def on_mount(self) -> None:
        """Handle signals, so that the terminal is restored after a SIGTERM; then follow the run."""
        self.set_class(self.ascii_only, "ascii")
        loop = asyncio.get_running_loop()
        for number in not_ignored("SIGTERM", "SIGHUP"):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self.exit)
        self.theme_changed_signal.subscribe(self, lambda _: self._restyle())
        self._restyle()
        self.run_worker(self._follow(), name="follow")

    def on_unmount(self) -> None:
        """Restore the signal handlers."""
        for number in not_ignored("SIGTERM", "SIGHUP"):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().remove_signal_handler(number)

    # --- following and painting ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Read new events, fold them, advance a replay and repaint, for ever."""
        run, before = self.followed, time.monotonic()
        while True:
            event_log = run.event_log
            for follower in filter(None, (run, self.against)):
                await asyncio.to_thread(follower.read)
                follower.apply()
            if run.event_log is not event_log:
                self.player.end()
            self._pending.remove_confirmed(run.history.options)
            now = time.monotonic()
            self.player.tick(run.event_log, now - before)
            before = now
            self._paint()
            if (self._leaving and not run.controllable) or (self.leaves_at_end and run.state in ENDED):
                self.exit()
            if self._references is None and run.history.events:
                self._references = await asyncio.to_thread(reference_runs_for, run.run)
                if not self.is_headless:
                    gc.freeze()  # all this stays: collecting garbage among it would take 100 ms each time, while a key waits
            await asyncio.sleep(PLAY_TICK if self.player.playing else TICK)

    def on_resize(self, _: events.Resize) -> None:
        """Repaint for the new size, and again once the panels know theirs."""
        self._redraw()
        self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self.board.repaint_all()
        self._paint()

    def _restyle(self) -> None:
        self.fmt = format_of(self.theme_variables, ascii_only=self.ascii_only, no_color=self.no_color)
        self._redraw()

    def _paint(self) -> None:
        if not self.board.is_mounted:
            return
        run = self.followed
        try:
            history = self.player.history(run.event_log)
        except OSError:  # the follower reports it too
            self.player.end()
            history = run.history
        self.shown_step = history.step
        replaying = self.player.position is not None
        state = "replay" if replaying else run.state
        self.board.paint(
            View(
                history=history,
                run_state=panels.RunState(run.run.name, state, run.status.get("pid"), self.readonly),
                alarms=[
                    *(Alarm(one.error, serious=True) for one in (run, self.against) if one is not None and one.error),
                    *alarms(history, {"state": "replay"} if replaying else {**run.status, "state": run.state}, run.silent),
                ],
                controls=run.controllable,
                waiting=run.waiting or (panels.imported(history, self.fmt) if run.run.config.imported else ""),
                event_log=run.event_log,
                player=self.player,
                references=self._references or (),
                other=self.against.history if self.against is not None else None,
                other_name=panels.name_beside(self.against.run, run.run) if self.against is not None else "",
                fmt=self.fmt,
            )
        )

    # --- requests to the trainer ---------------------------------------------------------------------------------

    def _request(self, action: str, message: str, **fields: object) -> bool:
        """Send a request if a trainer can receive it, and report that; returns whether it was sent.

        message: shown if it was sent.  fields: of the request.
        """
        sent = False
        if self.readonly:
            message = "read only: this window does not control the training"
        elif not self.followed.controllable:
            message = f"no trainer to control: the run is {self.followed.state}"
        else:
            try:
                runs.request(self.followed.run, action, **fields)
                sent = True
            except OSError as error:
                message = f"cannot write to {self.followed.run.path}: {error.strerror or error}"
        self._report(message)
        return sent

    def _report(self, message: str) -> None:
        """Show a message in the log panel, and as a notification where that panel is not visible."""
        self.followed.history.say(time.time(), f"{self.fmt.glyph('log')} {message}")
        if self.size.width < 80 or self.size.height < 20 or self.followed.waiting or self.player.position is not None:
            self.notify(text(message), timeout=2, markup=False)
        self._paint()

    def action_pause(self) -> None:
        """Pause or resume the training; in the past, or without a trainer, the replay."""
        if self.player.position is not None or not self.followed.controllable:
            self.action_replay("play")
            return
        action = "resume" if self.followed.state == "paused" else "pause"
        self._request(action, f"requested: {action}")

    def action_save(self) -> None:
        """Save a checkpoint now."""
        self._request("save", "requested: save a checkpoint")

    def action_stop(self) -> None:
        """Stop the training after the present step."""
        self._request("stop", "requested: stop after this step")

    def action_scale(self, number_of: int, factor: float) -> None:
        """Multiply the method's first or second loss weight. Presses accumulate until the trainer has answered."""
        config = self.followed.run.config
        names = [name for name in config.options if name.startswith("lambda_")]
        name = names[number_of] if len(names) > number_of else None
        if name is None or name in config.about_method.fixed:
            self._report(f"{config.method_name} {f'fixes {name}' if name else 'has no such weight'}")
            return
        now = self._pending.get(name, self.followed.history.options.get(name, config.options[name]))
        value = scaled(now, factor)
        if self._request("set", f"requested: {name} {plain(now)} -> {plain(value)}", name=name, value=value):
            self._pending.add(name, value)

    def action_note(self) -> None:
        """Ask for a line of text and send it to the trainer, which records it."""
        if self.readonly or not self.followed.controllable:
            self._request("note", "")
            return
        self.push_screen(Note(), self._noted)

    def _noted(self, text: str | None) -> None:
        if text:
            self._request("note", "note sent", text=text)

    # --- moving in time ------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the replay keys to a dialog while one is open."""
        del parameters
        return not (action == "replay" and len(self.screen_stack) > 1)

    def action_replay(self, method: str, by: int = 0) -> None:
        """Move in time by the player's method of that name."""
        player, event_log = self.player, self.followed.event_log
        if method == "jump":
            stop = player.jump(event_log, by)
            self._report(f"{stop.kind} at step {stop.step}" if stop else f"no {'later' if by > 0 else 'earlier'} mark")
            return
        moves = {"move": player.move, "stride": player.stride, "speed": player.change_speed}
        if method in moves:
            moves[method](event_log, by)
        elif method == "end":
            player.end()
        else:
            {"start": player.start, "play": player.play}[method](event_log)
        self._paint()

    # --- leaving, help, theme, screenshot ------------------------------------------------------------------------

    def action_theme(self) -> None:
        """Switch to the next theme."""
        now = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(now + 1) % len(THEMES)]
        self._report(f"theme {self.theme}")

    def action_screenshot_file(self) -> None:
        """Save the screen as an SVG file in the working directory, without references to fonts on the network."""
        step = self.shown_step
        file = Path(f"trs-{self.followed.run.name}-step-{step}-{self.size.width}x{self.size.height}.svg")
        svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", self.export_screenshot(title=self.title), flags=re.DOTALL)
        try:
            file.write_text(svg, encoding="utf-8")
            message = f"saved as {file.absolute()}"
        except OSError as error:
            message = f"cannot write {file.absolute()}: {error.strerror or error}"
        self.notify(printable(message), markup=False)

    def action_help(self) -> None:
        """Show the help."""
        self.push_screen(Help())

    def action_leave(self) -> None:
        """Leave; while a training is alive, ask how."""
        if self._leaving or self.readonly or not self.followed.controllable:
            self.exit()
        elif not isinstance(self.screen, Leave):
            self.push_screen(Leave(printable(os.path.relpath(self.followed.run.path)), self.owns_trainer), self._left)

    async def action_quit(self) -> None:
        """Leave: the palette's own command."""
        self.action_leave()

    def _left(self, answer: str | None) -> None:
        if answer == "detach":
            self.exit()
        elif answer == "stop":
            self._leaving = self._request("stop", "requested: stop; it saves, then this window closes; q closes it now")

    def get_system_commands(self, screen: Screen) -> Iterable[SystemCommand]:
        """The commands of the palette: every key by name, then textual's for themes and enlarging a panel."""
        for key in KEYS:
            yield SystemCommand(key.text.capitalize(), f"key {key.label}", partial(self.call_later, self.run_action, key.action))
        replaced = ("Quit", "Keys", "Screenshot")
        yield from (command for command in super().get_system_commands(screen) if command.title not in replaced)
