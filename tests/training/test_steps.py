"""What of the images and settings reaches a step, and what the log says of it."""

import functools
import time

import pytest
import torch

from trs_explorer import data, runs
from trs_explorer.config import resolve
from trs_explorer.data.augment import crop_and_flip
from trs_explorer.evaluation.probe import IMAGES
from trs_explorer.training import loop, steps, train
from trs_explorer.training.state import Progress, prepare


@pytest.mark.parametrize("augment", [True, False])
def test_a_method_sees_augmented_images_that_the_seed_and_the_step_decide(tmp_path, monkeypatch, augment):
    settings = {"method": "standard", "limit": 32, "batch_size": 16, "augment": augment, "device": "cpu"}
    state = prepare(runs.create(tmp_path / "run", resolve(settings)))
    seen = []

    def method(ensemble, x, y, *, x_ce):
        seen.append(x)
        return {"total": ensemble(x).mean()}

    monkeypatch.setattr(steps, "load", lambda path: method)
    indices = torch.arange(3, 19)
    plain = state.images.images(indices)
    for step in (0, 1, 0):
        state.progress = Progress(0, step, step)
        steps.training_step(state, indices[None])
    assert torch.equal(seen[0], seen[2]), "a resumed step sees what it saw"
    assert torch.equal(seen[0], seen[1]) == (not augment)
    expected = crop_and_flip(plain, steps.generator(0, steps.AUGMENT, 0, 0)) if augment else plain
    assert torch.equal(seen[0], expected)
    assert torch.equal(state.images.images(indices), plain)


def test_every_part_of_a_batch_has_random_numbers_of_its_own(tmp_path, monkeypatch):
    settings = {"method": "gal", "limit": 64, "batch_size": 64, "device": "cpu", "precision": "float32", "augment": True}
    state, seen = prepare(runs.create(tmp_path / "run", resolve(settings))), {}

    def method(ensemble, x, y, *, generator, epoch_generator, x_ce, **options):
        draws = [torch.rand(4, generator=one).tolist() for one in (generator, epoch_generator)]
        seen[int(y[0])] = (*draws, x)
        return {"total": ensemble(x).mean()}

    monkeypatch.setattr(steps, "load", lambda path: method)
    state.parts, state.images.y[:] = 2, torch.arange(64) // 32  # a part is known by its label
    plain = state.images.images(torch.arange(64))
    steps.training_step(state, torch.arange(64)[None])
    assert seen[0][0] != seen[1][0], "of the step"
    assert seen[0][1] == seen[1][1], "of the epoch: the same for the whole batch"
    expected = crop_and_flip(plain, steps.generator(0, steps.AUGMENT, 0, 0))
    assert torch.equal(torch.cat([seen[0][2], seen[1][2]]), expected), "an image is shifted as in one part"


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weight_decay_moves_weights_that_have_no_slope(tmp_path, monkeypatch, optimizer):
    settings = {"data": "bars", "method": "standard", "optimizer": optimizer, "weight_decay": 0.01, "warmup": 0.0, "lr": 0.1}
    state = prepare(runs.create(tmp_path / "run", resolve(settings)))
    monkeypatch.setattr(steps, "load", lambda path: lambda ensemble, x, y, *, x_ce: {"total": 0 * ensemble(x).sum()})
    before = [weight.detach().clone() for weight in state.ensemble.parameters()]
    steps.training_step(state, torch.arange(20)[None])
    for weight, old in zip(state.ensemble.parameters(), before, strict=True):
        slope = 0.01 * old  # Adam's first step has its sign, but for 1e-8
        torch.testing.assert_close(weight, old - 0.1 * (slope if optimizer == "sgd" else slope / (slope.abs() + 1e-8)))


def test_the_probe_is_of_the_last_test_images(tmp_path, monkeypatch):
    monkeypatch.setattr("trs_explorer.evaluation.probe.IMAGES", IMAGES)  # as many as users have
    state = prepare(runs.create(tmp_path / "run", resolve({"limit": 256, "device": "cpu"})))
    test = data.load("mnist", train=False)
    assert torch.equal(state.probe_x, test.images(slice(-IMAGES, None)))
    assert torch.equal(state.probe_y, test.y[-IMAGES:])
    assert len(state.probe_x) == 128


def test_the_log_says_the_radius_that_the_step_had(tmp_path, monkeypatch):
    settings = {"data": "bars", "epochs": 2, "batch_size": 100, "log_every": 1, "delta_start": 0.1, "inner_steps": 1}
    run, used = runs.create(tmp_path / "run", resolve(settings)), []
    defence = steps.load("trs_explorer.defences.trs:trs")

    @functools.wraps(defence)
    def watched(*args, progress, **options):
        used.append(options["delta_start"] + (options["delta"] - options["delta_start"]) * progress)
        return defence(*args, progress=progress, **options)

    monkeypatch.setattr(steps, "load", lambda path: watched)
    shown = [event["delta"] for event in train(run) if event["kind"] == "step"]
    assert shown == pytest.approx(used, abs=1e-6)
    assert shown[0] == 0.1
    assert len(set(shown)) == 6


@pytest.mark.parametrize(("epochs", "members"), [(4, 3), (7, 3), (5, 2)])
def test_each_members_rate_falls_over_its_own_epochs_also_where_some_have_more(tmp_path, epochs, members):
    settings = {"data": "bars", "method": "adaboost", "epochs": epochs, "members": members, "batch_size": 100}
    state = prepare(runs.create(tmp_path / "run", resolve(settings)))
    stages = {}
    for step in range(state.steps):
        state.progress = Progress(step // 3, step % 3, step)
        stages.setdefault(state.member, []).append(state.stage)
    assert list(stages) == list(range(members))
    for stage in stages.values():
        assert stage == [(step, len(stage)) for step in range(len(stage))]


def test_steps_per_second_are_of_the_steps_alone(tmp_path, monkeypatch):
    """A step takes 1 s by this clock, a probe 100: the log's rate is 1, also for the first step after a probe."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def passes(function, seconds):
        def slow(*args, **options):
            clock[0] += seconds
            return function(*args, **options)

        return slow

    monkeypatch.setattr("trs_explorer.training.loop.training_step", passes(steps.training_step, 1))
    monkeypatch.setattr("trs_explorer.training.loop.probe", passes(loop.probe, 100))
    settings = {"data": "bars", "method": "standard", "epochs": 3, "batch_size": 60, "log_every": 1, "probe_every": 1}
    events = list(train(runs.create(tmp_path / "run", resolve(settings))))
    rates = [event["rate"] for event in events if event["kind"] == "step" and "rate" in event]
    assert len(rates) == 3 * 4  # none for the first of an epoch: nothing before it to count from
    assert set(rates) == {1.0}
    assert [event["seconds"] for event in events if event["kind"] == "epoch"] == [5, 5, 5]
