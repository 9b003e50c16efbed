"""The card of the baseline: curves against `evaluate`, slices against samples and the geometry of the path."""

import time

import numpy as np
import pytest
import torch
from flask import Flask

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.planes import along_gradient, loss_directions
from trs_explorer.explore.slices import sample
from trs_explorer.shipped import folder, shipped_runs
from trs_explorer.web.lesson import baseline
from trs_explorer.web.slice_picture import slice_pictures

N, STEPS = 3, 2


@pytest.fixture(scope="module")
def card():
    """The library, and ask(what, fields): the answer once all is measured."""
    library, jobs, server = Library([folder("checkpoints")], device="cpu"), Jobs(), Flask("lesson")
    baseline.add_routes(server, library, jobs)
    client = server.test_client()

    def ask(what, **fields):
        told = {"done": False}
        while told.get("done") is False:
            told = client.get(f"/lesson/baseline/{what}", query_string=fields).get_json()
            time.sleep(0.01)
        return told

    yield library, ask
    jobs.stop()


def test_the_curves_are_those_of_evaluate(card, monkeypatch):
    monkeypatch.setattr(baseline, "RADII", (0.1, 0.3))
    library, ask = card
    told, loaded = ask("curves", run="mnist-dverge", n=N, steps=STEPS, seed=2), library.load("mnist-dverge")
    x, y = loaded.data.images(slice(0, N)), loaded.data.y[:N]
    assert told["radii"] == list(baseline.RADII)
    assert told["clean"]["hits"] == evaluate(loaded.ensemble, x, y)[0].correct
    options = {"fgsm": {}, "pgd": {"steps": STEPS}, "mora": {"steps": STEPS}}
    for name, function in (("fgsm", fgsm), ("pgd", pgd), ("mora", mora)):
        for place, eps in enumerate(baseline.RADII):
            own = {"eps": eps, **options[name], **({"step_size": 1.25 * eps} if name == "pgd" else {})}
            rate = evaluate(loaded.ensemble, x, y, attacks=[(name, function, own)], seed=2)[1]
            shown = told[name][place]
            assert (shown["hits"], shown["of"], shown["low"]) == (rate.correct, N, rate.low), (name, eps)


def test_the_weakest_attack_comes_first(card, monkeypatch):
    """It is all that may be seen before the guess."""
    monkeypatch.setattr(baseline, "RADII", (0.1,))
    library, _ = card
    fields = {"run": "mnist-trs", "n": 2, "steps": 1}
    state = baseline.parse_card_request(library, fields, baseline.RUNS).state
    order = []
    for rates in baseline.measure_curves(library.load("mnist-trs"), state):
        order += [rate.name for rate in rates if rate.n and rate.name not in order]
    assert order == ["clean", "FGSM", "PGD-1", "MORA-1"]


def test_a_slice_is_of_the_ensembles_own_gradient(card, monkeypatch):
    monkeypatch.setattr(baseline, "LEVEL", 0)
    library, ask = card
    told, loaded = ask("slice", run="mnist-trs", image=3, eps=0.3, steps=4, seed=5), library.load("mnist-trs")
    x, y = loaded.data.images(slice(3, 4)), loaded.data.y[3:4]
    plane = along_gradient(loss_directions(loaded.ensemble, x, y)[-1], x[0], name="the loss of the ensemble", seed=5)
    along = np.linspace(-baseline.SPAN, baseline.SPAN, 25)
    points = np.array([(a, b) for b in along for a in along])
    logits = sample(loaded.ensemble, plane, points).reshape(25, 25, 3, 10)
    expected = slice_pictures(logits, loaded.ensemble.vote)[-1]
    assert told["picture"]["counts"] == expected.to_json()["counts"]
    assert told["picture"]["uri"] == expected.uri
    assert told["names"] == list(plane.names)
    assert told["y"] == int(y)


@pytest.mark.parametrize("eps", [0.05, 0.3])  # one that fools nothing, and one that does
def test_the_path_ends_where_its_loss_is_highest(card, monkeypatch, eps):
    monkeypatch.setattr(baseline, "LEVEL", 0)
    library, ask = card
    told, loaded = ask("slice", run="mnist-dverge", image=3, eps=eps, steps=10, seed=5), library.load("mnist-dverge")
    x, y = loaded.data.images(slice(3, 4)), loaded.data.y[3:4]
    length = float(np.linalg.norm(told["reached"]))
    assert 0.5 * eps * 28 * 0.3 < length <= eps * 28  # a corner of the cube is as far as 28 eps; black pixels go one way only
    assert told["reached"][:2] == pytest.approx(told["trail"][-1], abs=1e-4)
    assert told["trail"][0] == pytest.approx([0, 0], abs=1e-4)
    x_adv = pgd(loaded.ensemble, x, y, eps=eps, steps=10, step_size=0.25 * eps, early_stop=False, for_transfer=True,
                generator=_noise_of_the_ensemble(5))  # fmt: skip
    assert told["seen"] == int(loaded.ensemble(x_adv).argmax())
    assert length == pytest.approx(float(torch.linalg.vector_norm(x_adv - x)), rel=1e-4)


def _noise_of_the_ensemble(seed):
    """Its attack is the fourth: three members draw before it."""
    generator = torch.Generator().manual_seed(seed)
    torch.randint(2**31 - 1, (3, 1), generator=generator)
    return generator


def test_its_runs_ship_and_others_are_refused(card):
    _, ask = card
    assert set(baseline.RUNS) <= {run.name for run in shipped_runs()}
    assert "this card is about mnist-dverge, mnist-trs" in ask("curves", run="mnist-gal")["wrong"]
    assert "this card is about" in ask("slice", run="../secret")["wrong"]
