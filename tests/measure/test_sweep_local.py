"""Trials as processes: how many at a time, with which threads and GPUs, and what is said of those that fail or are stopped."""

import os
import threading
import time
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.measure.sweep import local
from trs_explorer.measure.sweep.local import Slots, Stop, run_here, slots
from trs_explorer.measure.sweep.state import LOGS, TrialState, progress_of, read_outcome, write_outcome
from trs_explorer.sweep_plan import Trial

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes find the package, and the trial that stands in for one."""
    monkeypatch.setattr(local, "POLL_S", 0.02)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parents[1]), str(HERE)]))


def run(folder: Path, requests: dict[str, str], room: Slots, stop: Stop | None = None) -> dict[str, list[TrialState]]:
    for name, text in requests.items():
        (folder / f"{name}.do").write_text(text)
    reported: dict[str, list[TrialState]] = {name: [] for name in requests}
    trials = [Trial(name, {}, {}) for name in requests]
    run_here(trials, folder, "sweep_child", room, lambda trial, state: reported[trial.name].append(state), stop or Stop())
    return reported


def log(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "log").read_text().splitlines()]


def test_as_many_run_as_there_are_places_and_gpus_go_round(tmp_path: Path) -> None:
    requests = {"a": "meet 2", "b": "meet 2", "c": "meet 3", "d": "meet 4"}
    reported = run(tmp_path, requests, Slots(2, 3, ("4", "7")))
    assert {name: states[-1].state for name, states in reported.items()} == dict.fromkeys("abcd", "finished")
    running, most = 0, 0
    for line in log(tmp_path):
        running += 1 if line[0] == "begin" else -1
        most = max(most, running)
    assert most == 2
    begun = {line[1]: line[2:] for line in log(tmp_path) if line[0] == "begin"}
    assert {threads for threads, _ in begun.values()} == {"3"}
    assert {begun["a"][1], begun["b"][1]} == {"4", "7"}


def test_one_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    reported = run(tmp_path, {"a": "fail", "b": "die", "c": "vanish", "d": "meet 1"}, Slots(1, 1))
    ends = {name: states[-1] for name, states in reported.items()}
    assert (ends["a"].state, ends["a"].error) == ("failed", "no room")
    assert (ends["b"].state, ends["c"].state) == ("failed", "failed")
    assert "killed by signal 9" in ends["b"].error
    assert "ended with status 3" in ends["c"].error
    assert ends["d"] == TrialState("finished")


@pytest.mark.parametrize(("status", "state"), [(130, "stopped"), (-2, "stopped"), (1, "failed"), (-9, "failed")])
def test_one_that_is_interrupted_before_it_has_begun_has_not_failed(tmp_path: Path, status: int, state: str) -> None:
    assert read_outcome(tmp_path, "a", status).state == state


def test_a_trial_is_starting_until_its_process_trains(tmp_path: Path) -> None:
    """The status of the attempt before says nothing about this one."""
    trial = Trial("a", {"data": "bars", "epochs": 4}, {})
    assert progress_of(tmp_path, trial) == TrialState("starting")
    run = runs.create(tmp_path / "a", resolve(trial.values))
    for written, shown in (("stopped", "starting"), ("failed", "starting"), ("finished", "measuring"), ("running", "starting")):
        run.write_status(state=written, step=3, steps=8, epoch=1, epochs=4)
        assert progress_of(tmp_path, trial) == TrialState(shown, 1, 4, 3, 8)  # running: but no process holds its lock
    lock = runs.trainer_lock(run)
    for written, shown in (("running", "training"), ("paused", "paused")):
        run.write_status(state=written, step=3, steps=8, epoch=1, epochs=4)
        assert progress_of(tmp_path, trial) == TrialState(shown, 1, 4, 3, 8)
    lock.release()


def test_a_stop_closes_their_input_once_and_starts_no_other(tmp_path: Path) -> None:
    stop = Stop()

    def later() -> None:
        while not (tmp_path / "log").exists() or len(log(tmp_path)) < 2:
            time.sleep(0.01)
        stop.count += 1

    threading.Thread(target=later).start()
    reported = run(tmp_path, {"a": "wait 0", "b": "wait 0.3", "c": "meet 1"}, Slots(2, 1), stop)
    assert (reported["a"][-1].state, reported["b"][-1].state) == ("stopped", "stopped")
    assert reported["c"] == []  # though a place was free while b was saving
    assert log(tmp_path)[2:] == [["end", "a"], ["end", "b"]]


def test_an_old_outcome_does_not_count(tmp_path: Path) -> None:
    (tmp_path / LOGS).mkdir()
    write_outcome(tmp_path, "a", "finished")
    assert run(tmp_path, {"a": "die"}, Slots(1, 1))["a"][-1].state == "failed"


def test_places_by_cores_memory_gpus_and_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [Trial(str(k), {"data": "mnist"}, {}) for k in range(10)]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    need = local.memory_need(trials[0])
    assert need == (1 << 30) + 2 * 4 * 28 * 28 * 70_000
    monkeypatch.setattr(local, "free_memory", lambda: 100 * need)
    assert slots(trials) == Slots(8, 1)
    assert slots(trials[:3]) == Slots(3, 2)
    assert slots(trials, threads=4) == Slots(2, 4)
    assert slots(trials, jobs=5) == Slots(5, 1)
    assert slots(trials, gpus=("0", "1")) == Slots(2, 4, ("0", "1"))
    monkeypatch.setattr(local, "free_memory", lambda: 2 * need + 1)
    assert slots(trials) == Slots(2, 4)
    monkeypatch.setattr(local, "free_memory", lambda: 0)
    assert slots(trials) == Slots(1, 8)
