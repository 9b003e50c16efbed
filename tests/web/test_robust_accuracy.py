"""Robust accuracies as they fill, against `evaluate`."""

from collections import deque
from dataclasses import replace
from functools import partial

import torch

from trs_explorer.attacks.pgd import pgd
from trs_explorer.data import Dataset
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.models import build
from trs_explorer.web import robust_accuracy as module
from trs_explorer.web.robust_accuracy import evaluation_attack, first_images, robust_accuracies
from trs_explorer.web.state import State

STATE = State("any", eps=0.2, attack="pgd", steps=2, seed=3)


def images(n):
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 10


def test_it_ends_as_evaluate_does_and_grows_by_a_batch(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 5)
    ensemble, (x, y) = build("patch", "mnist", 2, seed=0).eval(), images(12)
    attacks = [evaluation_attack(STATE), evaluation_attack(replace(STATE, eps=0.05))]
    seen = list(robust_accuracies(ensemble, x, y, attacks, seed=3))
    known = [("PGD-2", partial(pgd, step_size=1.25 * eps), {"eps": eps, "steps": 2}) for eps in (0.2, 0.05)]
    expected = evaluate(ensemble, x, y, attacks=known, batch_size=5, seed=3)
    assert [rate.outcomes for rate in seen[-1]] == [rate.outcomes for rate in expected]
    assert [(rate.name, rate.eps) for rate in seen[-1]] == [("clean", 0.0), ("PGD-2", 0.2), ("PGD-2", 0.05)]
    assert [tuple(rate.n for rate in rates) for rates in seen] == [
        (5, 0, 0), (10, 0, 0), (12, 0, 0), (12, 5, 0), (12, 10, 0), (12, 12, 0), (12, 12, 5), (12, 12, 10), (12, 12, 12),
    ]  # fmt: skip


def test_attacks_draw_from_the_seed():
    seen = []

    def attack(model, x, y, *, generator, eps):
        seen.append((generator.initial_seed(), eps))
        return x

    deque(
        robust_accuracies(build("patch", "mnist", 1, seed=0).eval(), *images(2), [("own", attack, {"eps": 0.1})], seed=7),
        maxlen=0,
    )
    assert seen == [(7, 0.1)]


def test_the_first_images_are_as_many_as_there_are():
    x, y = images(7)
    data = Dataset("any", x, y, 10)
    few, labels = first_images(data, 3)
    assert torch.equal(few, data.images(slice(0, 3)))
    assert labels.tolist() == [0, 1, 2]
    assert len(first_images(data, 1000)[0]) == 7
