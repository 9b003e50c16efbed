"""What users do with a run, each as a function of its folder that is called in a process of its own."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import dash_client
from flask import Flask

from trs_explorer import runs
from trs_explorer.cli import main
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.tui import app as tui
from trs_explorer.tui import board
from trs_explorer.tui.alarms import alarms
from trs_explorer.tui.follow import Follower
from trs_explorer.web.access import protect
from trs_explorer.web.app import create_app
from trs_explorer.web.compare.app import create_compare

Command = Callable[[Path], None]
Wrong = AssertionError
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for tabs and newlines
DRAWN = 8
SECTIONS = ("attack-data.data", "gallery.children", "angle-words.children", "history-chart.children")


def trs(*arguments: str) -> Command:
    """The `trs` command with these arguments; "RUN" stands for the folder."""

    def command(folder: Path) -> None:
        sys.argv = ["trs", *(str(folder) if argument == "RUN" else argument for argument in arguments)]
        main()

    return command


def explorer(folder: Path) -> None:
    """Every page of the explorer on the folder of runs: none fails, and the other run in it is seen as it would be alone."""
    library = Library([folder.parent])
    app = create_app(library)
    compare = create_compare(Flask("compare"), library, Jobs())
    protect(app.server)
    app.server.config["PROPAGATE_EXCEPTIONS"] = True  # what would be a 500 is seen with its traceback
    client = app.server.test_client()

    def get(path: str, status: tuple[int, ...] = (200,)) -> str:
        answer = client.get(path)
        _require(answer.status_code in (*status, 200), f"GET {path[:200]}: {answer.status_code}")
        return answer.get_data(as_text=True)

    home = get("/") + get("/_dash-layout")
    _require("<script>alert" not in home, "/ holds markup of a run's")
    _require(home.count('id="react-entry-point"') == 1, "/ has another number of Dash's entry points")
    _require("good" in library.names, f"the other run is gone, there are {library.names}")
    for name in library.names:
        whole = name == "good"
        quoted = quote(name.encode("utf-8", "surrogateescape"), safe="")
        get(f"/?run={quoted}")
        get(f"/compare?a={quoted}&b=good")
        state = dash_client.state_of(app, run=name, n=25)
        stores = {"state": state, "slice_state": state, "attack_state": state, "settled": state, "measured": {"state": state}}
        slices = dash_client.call(app, "slice-data.data", **stores)
        _require(not whole or slices["slice-data.data"], f"the other run: {slices['slice-error.children'][:100]}")
        if not whole:
            for output in SECTIONS:
                dash_client.call(app, output, **stores)
            if "error" not in state:
                dash_client.save(app, state, "history")
        pair = dash_client.state_of(compare, a=name, b="good", n=8)
        both = dash_client.call(compare, "slices-a.data", slice_fields=pair)
        stored = dash_client.call(compare, "table1.children", run_fields=pair)
        _require(not whole or both["slices-b.data"], f"Compare's other run: {both['slice-error.children'][:100]}")
        _require(not whole or "good" in json.dumps(stored), f"Compare's charts are without the other run: {str(stored)[:300]}")
        if not whole:
            dash_client.call(compare, "attack-data.data", attack_fields=pair)
    get("/compare")


def dashboard(folder: Path) -> None:
    """`trs watch` in a terminal: the dashboard reads and folds the run; one time in `DRAWN` it draws it, and goes back in it."""
    run = runs.open_run(folder)
    follower = Follower(run)
    for _ in range(2):
        follower.read()
        follower.apply()
        alarms(follower.history, {**follower.status, "state": follower.state}, time.time())
    if int(folder.parents[1].name) % DRAWN == 0:
        draw(run)


def draw(run: runs.Run) -> None:
    """The dashboard on a screen of its own, two steps back in the run and at its end again."""
    tui.TICK, board.CHART_TICK = 0.02, 0.02
    tui.reference_runs_for = lambda _: []
    app = tui.Dashboard(run)

    async def look() -> None:
        async with app.run_test(size=(130, 44), notifications=True) as pilot:
            end = time.monotonic() + 5
            while app.followed.state == "starting" and not app.followed.history.events and time.monotonic() < end:
                await pilot.pause(0.02)
            for key in ("left", "left", "end"):
                await pilot.press(key)
            seen = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
            match = CONTROLS.search(seen)
            _require(not match, f"the screen has the control character {match and match[0]!r}")

    asyncio.run(look())


def _require(holds: bool, words: str) -> None:
    if not holds:
        raise Wrong(words)


COMMANDS: dict[str, Command] = {
    "watch": trs("watch", "RUN"),
    "evaluate": trs("evaluate", "RUN", "--limit", "5", "--attacks", "fgsm", "--device", "cpu"),
    "transfer": trs("transfer", "RUN", "--limit", "5", "--steps", "2", "--device", "cpu"),
    "compare": trs("compare", "RUN", os.path.join("..", "runs", "good"), "--stored"),  # noqa: PTH118
    "explorer": explorer,
    "dashboard": dashboard,
    "resume": trs("train", "--resume", "RUN", "--plain"),
}
CHANGING = ("evaluate", "transfer", "resume")  # they may write in the folder, so they come last
