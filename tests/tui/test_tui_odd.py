"""Logs of others, logs that break, logs that change under the viewer's eyes."""

import json
import os
import re
import shutil
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot
from tui_recorded import append, matrix_event, record, start_event, step_event
from tui_screen import drive, screen_of, seen, until

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.files import printable
from trs_explorer.tui import follow
from trs_explorer.tui.app import Dashboard
from trs_explorer.tui.follow import Follower
from trs_explorer.tui.history import History

ODD = [[1, -1.5, 9], [-0.2, 1, 7], [0, 0, 1]]


def test_what_no_calendar_and_no_scale_has(tmp_path):
    run = record(tmp_path / "odd", steps=50)
    odd = [{"t": 1.7e18}, {"t": 1e300}, {"step": 1e999}, {"t": -1e18}]
    lines = [json.dumps({**step_event(60), **fields}) for fields in odd]
    lines += [json.dumps({**event(70, cosine=ODD, log_odds_cosine=ODD), "t": 1e20}) for event in (matrix_event, step_event)]
    with (run.path / "events.jsonl").open("a") as file:
        file.write("\n".join(lines) + "\n")
    run.write_status(state="finished")
    screen_of(Dashboard(run), (160, 48), "FINISHED", "-1.50")


def test_control_characters_of_others_do_not_reach_the_terminal(tmp_path):
    run = record(tmp_path / "evil", steps=20)
    append(run, step_event(30, terms={"to\x1b]52;c;x\x07tal": 1.0}), {"kind": "note", "step": 30, "text": "\x1b[2Jgone"})
    run.write_status(state="failed", error="out \x1b[31m of memory")
    text = screen_of(Dashboard(run), (160, 48), r"\x1b[2Jgone", r"out \x1b[31m of memory", r"to\x1b]52")
    assert "\x1b" not in text


def test_an_event_without_a_step_belongs_to_the_last_one_however_the_log_is_cut():
    events = [start_event(), *(step_event(s) for s in range(10, 100, 10)), matrix_event(50), step_event(100)]
    events.append({"kind": "stopped", "state": "failed", "error": "no memory", "t": 1e9})
    whole, single = History(), History()
    whole.fold(events)
    for event in events:
        single.fold([event])
    assert (whole.step, whole.log[-1]) == (single.step, single.log[-1])
    assert "failed at step 100" in whole.log[-1][1]


def test_a_hole_in_a_matrix_moves_no_other_cell():
    history = History()
    history.fold([matrix_event(10, fooled=[[1, None], [5, 1]], eligible=[[10, 2], [10, 10]])])
    assert history.probe is not None
    assert history.probe.transfer == 0.5


def test_a_weight_that_is_set_while_paused_is_known_at_once():
    history = History()
    history.fold([step_event(10), {"kind": "control", "step": 10, "action": "set", "name": "lambda_a", "value": 1.25}])
    assert history.options["lambda_a"] == 1.25
    history.fold([{"kind": "control", "step": 10, "action": "set", "name": "lambda_a", "value": 9.0, "error": "no"}])
    assert history.options["lambda_a"] == 1.25


def test_a_log_that_was_replaced_is_read_anew(run):
    follower = Follower(run)
    for _ in range(2):
        follower.read()
        follower.apply()
    lines = (run.path / "events.jsonl").read_text().splitlines()
    (run.path / "events.jsonl").write_text("\n".join(lines[:12]) + "\n")
    for _ in range(3):
        follower.read()
        follower.apply()
    assert (follower.history.events, follower.history.step) == (12, 100)


@pytest.mark.slow
def test_a_folder_that_goes_away_while_it_is_watched(run):
    app = Dashboard(run)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "FINISHED" in seen(app))
        await pilot.press("home", "right", "right")
        await until(pilot, lambda: "REPLAY" in seen(app))
        shutil.rmtree(run.path)
        await until(pilot, lambda: "nothing has been recorded" in seen(app) or "starting" in seen(app))
        await pilot.press("left", "r", "full_stop")
        assert app.is_running

    drive(app, (160, 48), act)


def test_what_an_earlier_trainer_said_is_not_the_state_of_the_next(run):
    run.write_status(state="stopped", step=700, heartbeat=1e9)
    follower = Follower(run, startup=20.0)
    follower.read()
    follower.apply()
    assert (follower.state, follower.controllable) == ("starting", False)


@pytest.mark.slow
def test_space_in_the_past_leaves_the_trainer_alone(live):
    app = Dashboard(live)

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: "RUNNING" in seen(app))
        await pilot.press("minus")
        assert app.player.position is None, "slower than now is no replay"
        await pilot.press("home", "space")
        await until(pilot, lambda: "▶" in seen(app) or app.player.position is None)

    drive(app, (160, 48), act)
    assert not (live.path / "control.jsonl").exists()


def test_a_run_beside_one_on_other_data_says_so(run, tmp_path):
    other = runs.create(tmp_path / "flat", resolve({"data": "bars"}))
    append(other, step_event(10), matrix_event(10))
    screen_of(Dashboard(run, against=other), (160, 48), "V flat (on bars)")


@pytest.mark.parametrize(
    "events",
    [
        [step_event(10**17, epoch=0), step_event(10**17, epoch=0)],
        [
            step_event(10, terms={"total": 1.7e308}),
            step_event(20, terms={"total": -1.7e308}, options={"lambda_[/b]": 1.0}),
            matrix_event(20, cosine=[[1, 1.7e308], [1.7e308, 1]]),
        ],
    ],
    ids=["steps", "totals"],
)
def test_a_chart_is_drawn_of_any_numbers_and_names(tmp_path, events):
    run = runs.create(tmp_path / "far", resolve({}))
    append(run, *events)
    run.write_status(state="finished")
    text = screen_of(Dashboard(run), (120, 30), "LOSS", "FINISHED", "total", "1e+17" if len(events) == 2 else " -1e+300 ")
    assert "1e+171" not in text, "labels of one tick beside another"


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "huge"])
def test_a_train_log_of_any_kind_is_not_waited_for_or_read_whole(tmp_path, kind):
    run = runs.create(tmp_path / "run", resolve({}))
    run.write_status(state="failed", error="no memory")
    match kind:
        case "fifo":
            os.mkfifo(run.log)
        case "folder":
            run.log.mkdir()
        case "device":
            run.log.symlink_to("/dev/zero")
        case "huge":
            with run.log.open("wb") as file:
                file.seek(1 << 42)  # a hole: it takes no room, but nothing could hold it
                file.write(b"\nthe last line\n")
    follower = Follower(run)
    follower.read()
    follower.apply()
    assert follower.waiting.startswith("nothing was recorded")
    assert follower.waiting.endswith("the last line") == (kind == "huge")


def test_silence_is_timed_by_a_clock_that_nobody_sets(live, monkeypatch):
    times = {"time": 5e9, "monotonic": 1000.0}
    monkeypatch.setattr(follow, "time", SimpleNamespace(**{name: lambda name=name: times[name] for name in times}))
    follower = Follower(live)

    def silent_after(heartbeat: float, **clocks: float) -> float:
        live.write_status(state="running", heartbeat=heartbeat)
        times.update(clocks)
        follower.read()
        follower.apply()
        return follower.silent

    assert silent_after(heartbeat=5e9 - 30) == 30, "before it looked on, only the calendar tells"
    assert silent_after(heartbeat=5e9 - 30, time=5e9 + 86400, monotonic=1002.0) == 32, "the clock was set forward"
    assert silent_after(heartbeat=5e9 - 86400, time=5e9 - 86400, monotonic=1003.0) == 0, "set back: a beat is a beat"
    assert silent_after(heartbeat=5e9 - 86400, time=5e9, monotonic=1060.0) == 57
    assert silent_after(heartbeat=10**400, monotonic=1061.0) == 0
    ahead = Follower(live)
    live.write_status(state="running", heartbeat=6e9)
    ahead.read()
    ahead.apply()
    assert ahead.silent == 0, "a beat that is still to come"


def test_a_folders_name_reaches_the_terminal_printable(tmp_path):
    name = "a\x1b[2J\udcff[b]"
    run = record(tmp_path / "run", steps=20)
    run = runs.Run(run.path.rename(tmp_path / name), run.config)
    run.write_status(state="finished")
    app = Dashboard(run)
    text = screen_of(app, (60, 20), "FINISHED", printable(name))
    assert app.title.isprintable()
    assert all(c.isprintable() or c == "\n" for c in text)


def test_the_last_step_is_written_out_at_the_edge(tmp_path):
    run = runs.create(tmp_path / "run", resolve({}))
    append(run, *(step_event(step) for step in range(0, 100_001, 20_000)))
    run.write_status(state="finished")
    screen_of(Dashboard(run), (80, 24), "FINISHED", "  50000  ", " 100000")


def test_labels_of_late_steps_do_not_run_into_each_other(tmp_path):
    run = runs.create(tmp_path / "run", resolve({}))
    append(run, *(step_event(step) for step in range(4_830_500, 4_840_000, 1000)))
    run.write_status(state="finished")
    text = screen_of(Dashboard(run), (80, 24), "FINISHED", "e+06 ")
    (line,) = (line for line in text.splitlines() if "e+06 " in line)
    assert all(re.fullmatch(r"4\.83\d?e\+06", label) for label in line.strip("│ ").split("│")[0].split())
