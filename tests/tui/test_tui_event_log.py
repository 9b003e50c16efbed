"""The history at any event of a log equals folding the log up to it."""

import random

import pytest
from tui_recorded import append, record, start_event, step_event, stretch

from trs_explorer import runs
from trs_explorer.tui import event_log as event_log_module
from trs_explorer.tui import follow
from trs_explorer.tui.event_log import EventLog
from trs_explorer.tui.follow import Follower
from trs_explorer.tui.history import History
from trs_explorer.tui.player import SPEEDS, Player


@pytest.fixture
def long(tmp_path, monkeypatch) -> runs.Run:
    """A log of many keyframes: 400 steps, a resume that repeats some of them, a torn last line."""
    monkeypatch.setattr(event_log_module, "CHUNK", 3000)
    run = record(tmp_path / "long", steps=4000)
    again = [start_event(step=3000, resumed=True), *(step_event(step, grad_norm=9.0) for step in range(3010, 4000, 10))]
    append(run, *again, {"kind": "control", "step": 3990, "action": "set", "name": "lambda_a", "value": 2.0})
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"v":1,"kind":"step","st')
    return run


def facts(history: History) -> tuple:
    curves = {name: [values.tolist() for values in series.points(9999)] for name, series in history.terms.items()}
    return history.events, history.step, curves, history.probes, list(history.marks), list(history.log), history.gap


def test_the_history_at_any_event_is_the_fold_of_the_events_before(long):
    event_log, events = EventLog(long), runs.read_events(long).events
    event_log.read_all()
    assert len(event_log) == len(events)
    assert len(event_log._keyframes) > 10
    for count in [len(events), 0, *random.Random(0).sample(range(len(events)), 25), 300, 301, 305, 299]:
        expected = History()
        expected.fold(events[:count])
        assert facts(event_log.at(count)) == facts(expected), count


def test_keyframes_stay_few(long, monkeypatch):
    monkeypatch.setattr(event_log_module, "MOST_KEYFRAMES", 8)
    event_log, events = EventLog(long), runs.read_events(long).events
    event_log.read_all()
    assert len(event_log._keyframes) <= 8
    for count in (5, len(events) // 2, len(events) - 1):
        assert event_log.at(count).events == count


def test_a_line_longer_than_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(event_log_module, "CHUNK", 100)
    run = record(tmp_path / "run", steps=30)
    append(run, {"kind": "note", "step": 30, "text": 5000 * "x"}, step_event(40))
    event_log = EventLog(run)
    event_log.read_all()
    assert event_log.history.step == 40
    assert event_log.at(len(event_log) - 1).step == 30


def test_looking_back_while_the_run_goes_on(long):
    event_log = EventLog(long)
    event_log.read_all()
    before = event_log.at(100).step
    with (long.path / "events.jsonl").open("a") as file:
        file.write('ep":7}\n')
    event_log.add(runs.read_events(long, event_log.offset))
    assert event_log.history.step == 7
    assert event_log.at(100).step == before
    assert event_log.at(len(event_log)).step == 7


def test_stops_are_checkpoints_and_interventions(long):
    event_log = EventLog(long)
    event_log.read_all()
    kinds = [stop.kind for stop in event_log.stops]
    assert kinds == 40 * ["save"] + ["resumed", "set"]
    for stop in event_log.stops:
        assert event_log.at(stop.events).step == stop.step


def test_the_clock_leaves_out_long_silences(tmp_path):
    run = record(tmp_path / "run", steps=20)
    lines = [f'{{"v":1,"kind":"step","t":{t},"step":{i}}}' for i, t in enumerate([100, 102, 5000, 4999, 5003])]
    (run.path / "events.jsonl").write_text("\n".join(lines) + "\n")
    event_log = EventLog(run)
    event_log.read_all()
    assert event_log.clock == [0, 2, 7, 7, 11]


@pytest.fixture
def event_log(tmp_path) -> EventLog:
    """71 + 7 + 7 events, one second apart (probes and checkpoints in the same second as their step)."""
    run = record(tmp_path / "run", steps=700)
    stretch(run, 0.1)
    event_log = EventLog(run)
    event_log.read_all()
    return event_log


def test_a_player_moves_and_stays_inside(event_log):
    player = Player()
    player.move(event_log, -1)
    assert player.position == len(event_log) - 1
    player.move(event_log, -10_000)
    assert player.position == 1
    player.stride(event_log, 3)
    assert player.position == 4
    player.move(event_log, 10_000)
    assert player.position is None, "beyond the last event it follows the run"
    player.start(event_log)
    assert (player.position, player.history(event_log).step) == (1, 0)


def test_a_player_jumps_from_mark_to_mark(event_log):
    player = Player()
    last = player.jump(event_log, -1)
    assert last is not None
    assert (last.kind, last.step) == ("save", 600), "the newest event is itself a checkpoint"
    assert player.history(event_log).marks[-1].step == 600
    first = [player.jump(event_log, -1) for _ in range(6)]
    assert [stop.step for stop in first if stop] == [500, 400, 300, 200, 100]
    assert first[-1] is None
    assert player.position is not None
    assert player.jump(event_log, 1).step == 200


def test_playing_follows_the_trainings_own_time(event_log):
    player = Player()
    player.play(event_log)
    assert player.playing
    assert player.speed == 5, "70 s of training in about 20"
    player.tick(event_log, 2.05)
    assert player.history(event_log).step == 100, "ten seconds of training are 100 steps"
    player.change_speed(event_log, 1)
    player.tick(event_log, 1.0)
    assert player.history(event_log).step == 200
    player.play(event_log)
    player.tick(event_log, 100)
    assert player.history(event_log).step == 200, "held"
    player.play(event_log)
    player.tick(event_log, 100)
    assert (player.position, player.playing) == (None, False), "at the end it follows the run again"


def test_speeds_end_at_the_ends(event_log):
    player = Player()
    player.play(event_log)
    for _ in range(30):
        player.change_speed(event_log, 1)
    assert player.speed == SPEEDS[-1]
    for _ in range(30):
        player.change_speed(event_log, -1)
    assert player.speed == 1


def test_an_empty_log_has_nothing_to_play(tmp_path):
    run = record(tmp_path / "run", steps=0)
    (run.path / "events.jsonl").write_text("")
    event_log, player = EventLog(run), Player()
    event_log.read_all()
    player.play(event_log)
    player.start(event_log)
    player.move(event_log, -3)
    assert (player.position, player.playing, player.jump(event_log, 1)) == (None, False, None)


def test_a_long_log_shows_its_end_first(tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "TAIL_BYTES", 4000)
    monkeypatch.setattr(follow, "LONG_BYTES", 10_000)
    monkeypatch.setattr(follow, "MANY_EVENTS", 100)
    run = record(tmp_path / "run", steps=1400)
    follower, player = Follower(run), Player()
    follower.read()
    follower.apply()
    assert follower.history.step == 1400
    assert follower.history.damaged == 0, "the line that the tail cuts is not a damaged one"
    assert follower.history.epochs is None, "the start has not been read yet"
    for move in (
        player.start,
        player.play,
        lambda event_log: player.move(event_log, -5),
        lambda event_log: player.jump(event_log, -1),
    ):
        move(follower.event_log)
        assert player.position is None, "nothing to move in yet"
    follower.read()
    follower.apply()
    assert (follower.history.step, follower.history.epochs) == (1400, 20)
    assert "read 169 events" in follower.history.log[-1][1]
    player.move(follower.event_log, -20)
    assert player.history(follower.event_log).step < 1400
