"""Resumed equals uninterrupted, bit for bit; a kill at any time costs steps, never a file."""

import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.models.stored import load_ensemble
from trs_explorer.training import train

PLANE = {"data": "bars", "epochs": 6, "save_every": 1, "probe_every": 3, "batch_size": 50, "inner_steps": 1}
IMAGES = {"data": "mnist", "limit": 192, "batch_size": 64, "epochs": 2, "model": "patch", "log_every": 1}


def weights(run):
    return load_file(run.checkpoints()[-1].weights)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "settings", [{**PLANE, "epochs": 2}, {**IMAGES, "method": "trs", "limit": 96, "batch_size": 32}], ids=["plane", "images"]
)
@pytest.mark.parametrize("after", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, settings, after):
    whole = runs.create(tmp_path / "whole", resolve(settings))
    list(train(whole))

    parts = runs.create(tmp_path / "parts", resolve({**settings, "log_every": 1}))
    stop = threading.Event()
    for event in train(parts, stop=stop):
        if event["kind"] == "step" and event["step"] == after:
            stop.set()
    assert parts.status()["state"] == "stopped"
    kinds = [event["kind"] for event in train(parts, resume=True)]
    assert kinds[0] == "start"
    assert parts.status()["state"] == "finished"
    assert same(weights(whole), weights(parts))


@pytest.mark.slow
def test_resumed_with_another_number_of_threads_gives_the_same_bits(tmp_path):
    before, settings = torch.get_num_threads(), {**IMAGES, "precision": "float32"}
    made = []
    try:
        for name, threads in (("same", (2, 2)), ("other", (2, 1))):
            run, stop = runs.create(tmp_path / name, resolve(settings)), threading.Event()
            torch.set_num_threads(threads[0])
            for event in train(run, stop=stop):
                if event["kind"] == "step" and event["step"] == 2:
                    stop.set()
            torch.set_num_threads(threads[1])
            list(train(run, resume=True))
            made.append(weights(run))
    finally:
        torch.set_num_threads(before)
    assert same(*made)


@pytest.mark.slow
def test_the_seed_decides_everything(tmp_path):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(random.randrange(1000))  # the global generator must not matter
        run = runs.create(tmp_path / name, resolve({**PLANE, "epochs": 2, "seed": seed}))
        list(train(run))
        made.append(weights(run))
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    run = runs.create(tmp_path / "run", resolve(PLANE))
    stop = threading.Event()
    for event in train(run, stop=stop):
        if event["kind"] == "checkpoint" and event["name"] == "0004":
            stop.set()
    newest, before = run.checkpoints()[-1], run.checkpoints()[-2]
    damaged = bytearray(newest.weights.read_bytes())
    damaged[-3] ^= 1
    newest.weights.write_bytes(damaged)
    events = list(train(run, resume=True))
    start = next(event for event in events if event["kind"] == "start")
    assert any("cannot be used" in event.get("text", "") for event in events if event["kind"] == "note")
    assert start["step"] == {"0003": 18, "0004": 24}[before.name[:4]]
    assert run.status()["state"] == "finished"


@pytest.mark.slow
def test_only_the_two_newest_states_are_kept(tmp_path):
    run = runs.create(tmp_path / "run", resolve({**PLANE, "save_every": 2}))
    list(train(run))
    assert [c.name for c in run.checkpoints()] == ["0002", "0004", "0006"]
    assert [c.state is not None for c in run.checkpoints()] == [False, True, True]


def test_a_full_disk_during_a_save_is_said_and_costs_no_checkpoint(tmp_path, monkeypatch):
    run = runs.create(tmp_path / "run", resolve(PLANE))
    original = runs.write_atomically

    def full(path, write, **options):
        if path.name == "epoch-0003.safetensors":
            raise OSError(28, "No space left on device")
        return original(path, write, **options)

    monkeypatch.setattr("trs_explorer.training.checkpoints.write_atomically", full)
    with pytest.raises(runs.RunError, match=r"No space left on device.*--resume"):
        list(train(run))
    assert run.status()["state"] == "failed"
    assert [c.name for c in run.checkpoints()] == ["0001", "0002"]
    load_ensemble(run)
    monkeypatch.undo()
    list(train(run, resume=True))
    assert run.status()["state"] == "finished"


@pytest.mark.slow
def test_two_trainers_on_one_run(tmp_path):
    run = runs.create(tmp_path / "run", resolve(PLANE))
    first = train(run)
    next(first)
    with pytest.raises(runs.RunError, match="is being trained"):
        next(train(run))
    first.close()
    assert [event["kind"] for event in train(run, resume=True)][-1] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("most", [4, pytest.param(40, marks=pytest.mark.campaign)])
def test_sigkill_at_random_moments_also_during_saves(tmp_path, most):
    """Kills a real process again and again; in the end the weights are those of a training that nobody killed."""
    settings = {**PLANE, "epochs": 8 * most}
    whole = runs.create(tmp_path / "whole", resolve(settings))
    list(train(whole))
    run = runs.create(tmp_path / "killed", resolve(settings))
    rng, kills, reached = random.Random(0), 0, 0
    command = [sys.executable, "-m", "trs_explorer", "train", "--resume", str(run.path), "--plain"]
    while run.status().get("state") != "finished":
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # Wait until it has written something, strike at a random moment of the next epochs: every epoch saves, so many strikes
        # fall into saves. Counted in events, or a fast machine is at its end before the last strike.
        strike, deadline = len(runs.read_events(run).events) + rng.randint(1, 8), time.monotonic() + 60
        while process.poll() is None and len(runs.read_events(run).events) < strike and time.monotonic() < deadline:
            time.sleep(0.01)
        if kills < most:  # beside other work it may not get far between two kills: then it may run on to its end
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        error = process.communicate()[1]
        assert process.returncode in (0, -signal.SIGKILL), error
        kills += process.returncode == -signal.SIGKILL
        events = runs.read_events(run)
        assert events.damaged == 0
        names = [c.name for c in run.checkpoints()]
        assert len(names) >= reached
        reached = len(names)
        if names:
            load_ensemble(run)
    assert kills >= 3
    assert same(weights(whole), weights(run))
    assert not list(run.path.glob(".*.tmp"))
