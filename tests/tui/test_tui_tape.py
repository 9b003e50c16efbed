"""A log looked at from any moment is what folding it up to there gives."""

import random

import pytest
from tui_recorded import append, record, start_event, step_event, stretch

from trs_explorer import runs
from trs_explorer.tui import follow
from trs_explorer.tui import tape as tapes
from trs_explorer.tui.follow import Follower
from trs_explorer.tui.model import History
from trs_explorer.tui.player import SPEEDS, Player
from trs_explorer.tui.tape import Tape


@pytest.fixture
def long(tmp_path, monkeypatch) -> runs.Run:
    """A log of many keyframes: 400 steps, a resume that walks some of them again, a torn last line."""
    monkeypatch.setattr(tapes, "CHUNK", 3000)
    run = record(tmp_path / "long", steps=4000)
    again = [start_event(step=3000, resumed=True), *(step_event(step, grad_norm=9.0) for step in range(3010, 4000, 10))]
    append(run, *again, {"kind": "control", "step": 3990, "action": "set", "name": "lambda_a", "value": 2.0})
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"v":1,"kind":"step","st')
    return run


def facts(history: History) -> tuple:
    curves = {name: [values.tolist() for values in series.points(9999)] for name, series in history.terms.items()}
    return history.events, history.step, curves, history.probes, list(history.marks), list(history.log), history.gap


def test_any_moment_is_the_fold_of_what_came_before(long):
    tape, events = Tape(long), runs.read_events(long).events
    tape.read_all()
    assert len(tape) == len(events)
    assert len(tape._keyframes) > 10
    for count in [len(events), 0, *random.Random(0).sample(range(len(events)), 25), 300, 301, 305, 299]:
        expected = History()
        expected.fold(events[:count])
        assert facts(tape.at(count)) == facts(expected), count


def test_keyframes_stay_few(long, monkeypatch):
    monkeypatch.setattr(tapes, "MOST", 8)
    tape, events = Tape(long), runs.read_events(long).events
    tape.read_all()
    assert len(tape._keyframes) <= 8
    for count in (5, len(events) // 2, len(events) - 1):
        assert tape.at(count).events == count


def test_a_line_longer_than_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(tapes, "CHUNK", 100)
    run = record(tmp_path / "run", steps=30)
    append(run, {"kind": "note", "step": 30, "text": 5000 * "x"}, step_event(40))
    tape = Tape(run)
    tape.read_all()
    assert tape.history.step == 40
    assert tape.at(len(tape) - 1).step == 30


def test_looking_back_while_the_run_goes_on(long):
    tape = Tape(long)
    tape.read_all()
    before = tape.at(100).step
    with (long.path / "events.jsonl").open("a") as file:
        file.write('ep":7}\n')
    tape.add(runs.read_events(long, tape.offset))
    assert tape.history.step == 7
    assert tape.at(100).step == before
    assert tape.at(len(tape)).step == 7


def test_stops_are_checkpoints_and_interventions(long):
    tape = Tape(long)
    tape.read_all()
    kinds = [stop.kind for stop in tape.stops]
    assert kinds == 40 * ["save"] + ["resumed", "set"]
    for stop in tape.stops:
        assert tape.at(stop.events).step == stop.step


def test_the_clock_leaves_out_long_silences(tmp_path):
    run = record(tmp_path / "run", steps=20)
    lines = [f'{{"v":1,"kind":"step","t":{t},"step":{i}}}' for i, t in enumerate([100, 102, 5000, 4999, 5003])]
    (run.path / "events.jsonl").write_text("\n".join(lines) + "\n")
    tape = Tape(run)
    tape.read_all()
    assert tape.clock == [0, 2, 7, 7, 11]


@pytest.fixture
def tape(tmp_path) -> Tape:
    """71 + 7 + 7 events, one second apart (probes and checkpoints in the same second as their step)."""
    run = record(tmp_path / "run", steps=700)
    stretch(run, 0.1)
    tape = Tape(run)
    tape.read_all()
    return tape


def test_a_player_moves_and_stays_inside(tape):
    player = Player()
    player.move(tape, -1)
    assert player.position == len(tape) - 1
    player.move(tape, -10_000)
    assert player.position == 1
    player.stride(tape, 3)
    assert player.position == 4
    player.move(tape, 10_000)
    assert player.position is None, "beyond the last event it follows the run"
    player.start(tape)
    assert (player.position, player.history(tape).step) == (1, 0)


def test_a_player_jumps_from_mark_to_mark(tape):
    player = Player()
    last = player.jump(tape, -1)
    assert last is not None
    assert (last.kind, last.step) == ("save", 600), "the newest event is itself a checkpoint"
    assert player.history(tape).marks[-1].step == 600
    first = [player.jump(tape, -1) for _ in range(6)]
    assert [stop.step for stop in first if stop] == [500, 400, 300, 200, 100]
    assert first[-1] is None
    assert player.position is not None
    assert player.jump(tape, 1).step == 200


def test_playing_follows_the_trainings_own_time(tape):
    player = Player()
    player.play(tape)
    assert player.playing
    assert player.speed == 5, "70 s of training in about 20"
    player.tick(tape, 2.05)
    assert player.history(tape).step == 100, "ten seconds of training are 100 steps"
    player.faster(tape, 1)
    player.tick(tape, 1.0)
    assert player.history(tape).step == 200
    player.play(tape)
    player.tick(tape, 100)
    assert player.history(tape).step == 200, "held"
    player.play(tape)
    player.tick(tape, 100)
    assert (player.position, player.playing) == (None, False), "at the end it follows the run again"


def test_speeds_end_at_the_ends(tape):
    player = Player()
    player.play(tape)
    for _ in range(30):
        player.faster(tape, 1)
    assert player.speed == SPEEDS[-1]
    for _ in range(30):
        player.faster(tape, -1)
    assert player.speed == 1


def test_an_empty_log_has_nothing_to_play(tmp_path):
    run = record(tmp_path / "run", steps=0)
    (run.path / "events.jsonl").write_text("")
    tape, player = Tape(run), Player()
    tape.read_all()
    player.play(tape)
    player.start(tape)
    player.move(tape, -3)
    assert (player.position, player.playing, player.jump(tape, 1)) == (None, False, None)


def test_a_long_log_shows_its_end_first(tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "GLIMPSE", 4000)
    monkeypatch.setattr(follow, "LONG", 10_000)
    monkeypatch.setattr(follow, "MANY", 100)
    run = record(tmp_path / "run", steps=1400)
    follower, player = Follower(run), Player()
    follower.read()
    follower.take()
    assert follower.history.step == 1400
    assert follower.history.damaged == 0, "the line that the glimpse cuts is not a damaged one"
    assert follower.history.epochs is None, "the start has not been read yet"
    for move in (player.start, player.play, lambda tape: player.move(tape, -5), lambda tape: player.jump(tape, -1)):
        move(follower.tape)
        assert player.position is None, "nothing to move in yet"
    follower.read()
    follower.take()
    assert (follower.history.step, follower.history.epochs) == (1400, 20)
    assert "read 169 events" in follower.history.log[-1][1]
    player.move(follower.tape, -20)
    assert player.history(follower.tape).step < 1400
