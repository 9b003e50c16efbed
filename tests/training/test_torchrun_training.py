"""Trainings that several processes share: the weights of one process, resumed by any number, stopped and paused together."""

import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from threads_as_processes import in_threads

from trs_explorer import runs
from trs_explorer.catalogue import METHODS
from trs_explorer.config import resolve
from trs_explorer.runs import RunError
from trs_explorer.training import loop, resume, train
from trs_explorer.training.processes import Processes, ProcessLost
from trs_explorer.training.state import TrainingError, prepare

PLANE = {"data": "bars", "epochs": 3, "save_every": 1, "probe_every": 4, "batch_size": 100, "log_every": 1, "device": "cpu"}
PLANE |= {"members": 2, "precision": "float32", "inner_steps": 1}


@pytest.fixture(autouse=True)
def _one_builds_at_a_time(monkeypatch):
    """The members' first weights come from torch's global generator, which threads share and processes do not."""
    lock, prepare = threading.Lock(), loop.prepare

    def locked(*args):
        with lock:
            return prepare(*args)

    monkeypatch.setattr(loop, "prepare", locked)


def new(path, **settings) -> runs.Run:
    chosen = {**PLANE, **settings}
    if chosen.get("method", "trs") not in ("trs", "cos-l2", "cos-only", "smooth-only"):
        del chosen["inner_steps"]
    return runs.create(path, resolve(chosen))


def trained(run: runs.Run, size: int, *, again: bool = False, act=lambda event, stops: None) -> list[dict]:
    """Train in so many processes. act: called with rank 0's events, and what stops each rank. Returns the events."""
    stops = [threading.Event() for _ in range(size)]

    def one(processes: Processes) -> list[dict]:
        events = []
        for event in train(run, resume=again and processes.leads, stop=stops[processes.rank], processes=processes):
            events.append(event)
            act(event, stops)
        return events

    if size == 1:
        return one(Processes())
    events, *others = in_threads(size, one)
    assert others == [[]] * (size - 1)
    return events


def weights(run: runs.Run) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints()[-1].weights)


def same_bits(one: runs.Run, other: runs.Run) -> bool:
    return all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


def are_close(one: runs.Run, other: runs.Run) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(value, weights(other)[name], rtol=1e-3, atol=1e-4)


SLOW = [("trs", 2), ("adaboost", 3), ("gal", 2), ("gal", 3), ("lotos", 2), ("lotos", 3)]


@pytest.mark.parametrize(
    ("method", "size"), [("trs", 3), ("adaboost", 2), *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW)]
)
def test_several_processes_train_what_one_does(tmp_path, method, size):
    whole, run = new(tmp_path / "one", method=method), new(tmp_path / "several", method=method)
    trained(whole, 1)
    events = trained(run, size)
    assert run.status()["state"] == "finished"
    note = next(event["text"] for event in events if event["kind"] == "note")
    assert note == f"{size} processes share each batch, in {size} parts"
    assert [event["kind"] for event in events] == [event["kind"] for event in runs.read_events(run).events]
    are_close(whole, run)


def test_with_the_same_number_the_bits_are_the_same_also_resumed(tmp_path):
    whole, halves = (new(tmp_path / name) for name in ("whole", "halves"))
    trained(whole, 2)

    def stop_rank_1(event, stops):
        if event["kind"] == "step" and event["step"] == 5:
            stops[1].set()

    trained(halves, 2, act=stop_rank_1)
    assert halves.status()["state"] == "stopped"
    assert halves.status()["step"] in (5, 6, 7)  # rank 1 may have begun the next one
    events = trained(halves, 2, again=True)
    assert not any("not the same bits" in event.get("text", "") for event in events)
    assert same_bits(whole, halves)


@pytest.mark.parametrize("method", ["fasten", pytest.param("trs", marks=pytest.mark.slow)])
def test_it_goes_on_with_another_number(tmp_path, method):
    """2 -> 1 -> 3, with a note about the bits; FASTEN's memory of the images goes along."""
    start = new(tmp_path / "start", method="standard", epochs=1)
    trained(start, 1)
    more = {"method": method, "start_from": str(start.path) if METHODS[method].trained_start else ""}
    whole, run = new(tmp_path / "whole", **more), new(tmp_path / "run", **more)
    trained(whole, 1)

    def until(step):
        def act(event, stops):
            if event["kind"] == "step" and event["step"] == step:
                stops[-1].set()

        return act

    trained(run, 2, act=until(3))
    for size, act in ((1, until(7)), (3, lambda *_: None)):
        notes = [event["text"] for event in trained(run, size, again=True, act=act) if event["kind"] == "note"]
        assert any("not the same bits" in note for note in notes)
    assert run.status()["state"] == "finished"
    are_close(whole, run)


def test_requests_of_viewers_reach_all_processes(tmp_path):
    run, asked = new(tmp_path / "run", epochs=40), []

    def act(event, stops):
        if event["kind"] == "step" and event["step"] == 2:
            runs.request(run, "set", name="lambda_a", value=0.25)
            runs.request(run, "pause")
            threading.Timer(0.5, runs.request, [run, "resume"]).start()
            asked.append(time.monotonic())
        if event["kind"] == "control" and event["action"] == "resume":
            asked.append(time.monotonic())
        if event["kind"] == "step" and event["step"] == 6:
            runs.request(run, "save")
            runs.request(run, "stop")

    events = trained(run, 2, act=act)
    assert run.status()["state"] == "stopped"
    assert asked[1] - asked[0] >= 0.5
    alone = new(tmp_path / "alone", epochs=40)
    trained(alone, 1, act=act_alone(alone, int(events[-1]["step"])))
    are_close(alone, run)  # the others used the new weight too


def act_alone(run, last):
    def act(event, stops):
        if event["kind"] == "step" and event["step"] == 3:  # one process hears it before the next step, several with it
            runs.request(run, "set", name="lambda_a", value=0.25)
        if event["kind"] == "step" and event["step"] == last:
            runs.request(run, "stop")

    return act


def test_a_signal_to_any_process_ends_a_pause(tmp_path):
    run = new(tmp_path / "run", epochs=400)

    def act(event, stops):
        if event["kind"] == "step" and event["step"] == 2:
            runs.request(run, "pause")
        if event["kind"] == "control":
            threading.Timer(0.3, stops[2].set).start()

    trained(run, 3, act=act)
    assert run.status()["state"] == "stopped"


def test_a_loss_that_is_not_finite_is_one_error_of_all(tmp_path, monkeypatch):
    run, step = new(tmp_path / "run"), loop.training_step

    def poison(state, orders):
        terms = step(state, orders)
        if state.progress.step == 4:
            terms["ce"] = terms["ce"] * float("nan")
        return terms

    monkeypatch.setattr(loop, "training_step", poison)
    with pytest.raises(TrainingError, match="the term ce was nan at step 4"):
        trained(run, 2)
    assert run.status()["state"] == "failed"
    assert sum(event["kind"] == "stopped" for event in runs.read_events(run).events) == 1


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (5, r"process 1 of 2 failed: it broke\. Everything up to step [45]"),
        pytest.param(0, "process 1 of 2 failed: it broke", marks=pytest.mark.slow),
    ],
)
def test_what_was_trained_before_a_process_is_lost_is_saved(tmp_path, monkeypatch, at, words):
    whole, run, step = new(tmp_path / "whole"), new(tmp_path / "run"), loop.training_step
    trained(whole, 2)

    def loses(state, orders):
        if state.progress.step == at:
            raise ProcessLost("connection closed by peer")
        return step(state, orders)

    monkeypatch.setattr(loop, "training_step", loses)
    monkeypatch.setattr(Processes, "end_reports", lambda self: {1: (1, "it broke")})
    with pytest.raises(RunError, match=words):
        trained(run, 2)
    assert run.status()["state"] == "failed"
    assert [c.name for c in run.checkpoints()][1:] in ([["0001-000001"], ["0001-000002"]] if at else [[]])
    monkeypatch.setattr(loop, "training_step", step)
    trained(run, 2, again=True)
    assert same_bits(whole, run)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ""),  # of a version that knew one process only
        ({"processes": 2, "parts": 2}, ""),
        ({"processes": 0}, "an impossible number of processes"),
        ({"processes": 2**40}, "an impossible number of processes"),
        ({"processes": "2"}, "an impossible number of processes"),
        ({"processes": 2, "parts": 3}, "an impossible number of parts, at most 2"),
    ],
)
def test_states_of_older_versions_and_of_several_processes_are_read(tmp_path, more, words):
    state = prepare(new(tmp_path / "run"))
    stored = {"device": "cpu", "bfloat16": False, "parts": 1, **more}
    assert words in resume._wrong_numerics(state, stored)
    if not words:
        notes = resume._same_numerics(state, stored)
        assert len(notes) == ("processes" in more)
        assert state.parts == 1  # its own: two parts of two processes are not added up as two of one
