"""The card of the baseline: curves against `evaluate`, slices against samples and the geometry of the path."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from lesson_views import asking, library

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.planes import along_gradient, loss_directions
from trs_explorer.explore.slices import sample
from trs_explorer.figures.pixels import class_picture
from trs_explorer.shipped import folder, shipped_runs
from trs_explorer.web.lesson import baseline
from trs_explorer.web.lesson.measurements import parse_card_request

N, STEPS = 3, 2
FIELDS = {"n": N, "steps": STEPS, "seed": 2, "image": 3, "eps": 0.3}


@pytest.fixture(scope="module")
def card():
    """The library, and ask(fields): the view once all is measured."""
    runs, jobs = library(), Jobs()
    yield runs, asking(baseline.view, runs, jobs, **FIELDS)
    jobs.stop()


def curves(view):
    return {trace.name: trace for trace in view.figures["curves"].data}


@pytest.mark.slow
def test_the_curves_are_those_of_evaluate(card, monkeypatch):
    monkeypatch.setattr(baseline, "RADII", (0.1, 0.3))
    monkeypatch.setattr(baseline, "LEVEL", 0)
    runs, ask = card
    found, loaded = curves(ask(reveal=1)), runs.load("mnist-dverge")
    x, y = loaded.data.images(slice(0, N)), loaded.data.y[:N]
    options = {"FGSM": {}, "PGD": {"steps": STEPS}, "MORA": {"steps": STEPS}}
    for name, function in (("FGSM", fgsm), ("PGD", pgd), ("MORA", mora)):
        curve = found[f"DVERGE {name}"]
        assert list(curve.x) == pytest.approx([0, 0.1, 0.3], abs=0.002)
        assert curve.y[0] == 100 * evaluate(loaded.ensemble, x, y)[0].correct / N
        for place, eps in enumerate(baseline.RADII, 1):
            own = {"eps": eps, **options[name], **({"step_size": 1.25 * eps} if name == "PGD" else {})}
            rate = evaluate(loaded.ensemble, x, y, attacks=[(name, function, own)], seed=2)[1]
            assert curve.y[place] == pytest.approx(100 * rate.correct / N), (name, eps)
            assert curve.y[place] - curve.error_y.arrayminus[place] == pytest.approx(100 * rate.low)


def test_the_weakest_attack_of_both_comes_first_and_is_all_that_is_shown_before_the_guess(card, monkeypatch):
    monkeypatch.setattr(baseline, "RADII", (0.1,))
    runs, ask = card
    requests = [parse_card_request(runs, {**FIELDS, "run": run, "n": 2, "steps": 1}, baseline.RUNS) for run in baseline.RUNS]
    order = []
    for rates in baseline.measure_curves(requests):
        order += [one for run, by in rates.items() for attack, all_of in by.items() for one in [(attack, run)]
                  if attack and all_of[0].n and one not in order]  # fmt: skip
    assert order == [(attack, run) for attack in ("fgsm", "pgd", "mora") for run in baseline.RUNS]
    views = ask(every=True, n=4)
    for view in views:
        assert set(view.figures) == {"curves"}
        assert isinstance(view.figures["curves"], str) or all(name.endswith("FGSM") for name in curves(view))
    assert set(curves(views[-1])) == {"DVERGE FGSM", "TRS FGSM"}


def test_the_worst_of_all_attacks_is_what_the_table_of_these_weights_says(card):
    runs, _ = card
    parsed = {run: parse_card_request(runs, {**FIELDS, "run": run}, baseline.RUNS) for run in baseline.RUNS}
    found = baseline.stored_worst(parsed)
    for run in baseline.RUNS:
        file = folder("checkpoints") / run / "results" / "table1.json"
        rates = {rate["eps"]: rate for rate in json.loads(file.read_text())["rates"] if rate["name"] == "strong"}
        assert [(eps, share.hits, share.of) for eps, share in found[run]] == [
            (eps, rates[eps]["outcomes"].count("1"), 1000) for eps in (0.1, 0.15)
        ]
        assert [(share.low, share.high) for _, share in found[run]] == [
            (rates[eps]["low"], rates[eps]["high"]) for eps in (0.1, 0.15)
        ]
    other = {run: replace(request, loaded=replace(request.loaded, digest="0" * 64)) for run, request in parsed.items()}
    assert baseline.stored_worst(other) == {key: [] for key in baseline.RUNS}
    lines = dict(baseline.as_curves({"mnist-trs": {"": [], "pgd": []}}, ["pgd"], found)[0][1])
    assert lines == {"all (stored)": found["mnist-trs"]}


@pytest.mark.slow
def test_a_slice_is_of_the_ensembles_own_gradient(card, monkeypatch):
    monkeypatch.setattr(baseline, "LEVEL", 0)
    runs, ask = card
    figure, loaded = ask(seed=5, steps=4, reveal=1).figures["mnist-trs"], runs.load("mnist-trs")
    x, y = loaded.data.images(slice(3, 4)), loaded.data.y[3:4]
    plane = along_gradient(loss_directions(loaded.ensemble, x, y)[-1], x[0], name="the loss of the ensemble", seed=5)
    along = np.linspace(-baseline.SPAN, baseline.SPAN, 25)
    points = np.array([(a, b) for b in along for a in along])
    logits = sample(loaded.ensemble, plane, points).reshape(25, 25, 3, 10)
    expected = class_picture(loaded.ensemble.vote(torch.from_numpy(logits).movedim(2, 0).flatten(1, 2)).view(25, 25, 10).numpy())
    assert figure.layout.images[0].source == expected
    assert (figure.layout.xaxis.range, figure.layout.yaxis.range) == ((-4, 4), (-4, 4))


@pytest.mark.parametrize("eps", [0.05, 0.3])  # one that fools nothing, and one that does
@pytest.mark.slow
def test_the_path_ends_where_its_loss_is_highest(card, monkeypatch, eps):
    monkeypatch.setattr(baseline, "LEVEL", 0)
    runs, ask = card
    view, loaded = ask(eps=eps, steps=10, seed=5, reveal=1), runs.load("mnist-dverge")
    x, y = loaded.data.images(slice(3, 4)), loaded.data.y[3:4]
    text = view.texts["mnist-dverge"]
    (end,) = (
        trace
        for trace in view.figures["mnist-dverge"].data
        if trace.name.endswith("fools the ensemble") or "does not" in trace.name
    )
    x_adv = pgd(loaded.ensemble, x, y, eps=eps, steps=10, step_size=0.25 * eps, early_stop=False, for_transfer=True,
                generator=_noise_of_the_ensemble(5))  # fmt: skip
    predicted = int(loaded.ensemble(x_adv).argmax())
    assert f"predicted {predicted}" in text
    assert (end.name == "fools the ensemble") == (end.marker.symbol == "x") == ("fooled" in text) == (predicted != int(y))
    off = float(text.partition("across and ")[2].split()[0])
    moved = float(torch.linalg.vector_norm(x_adv - x))
    assert np.linalg.norm([end.x[0], end.y[0], off]) == pytest.approx(moved, abs=0.06)
    assert f"goes {end.x[0]:.1f} along the gradient, {abs(end.y[0]):.1f} across" in text
    assert 0.5 * eps * 28 * 0.3 < moved <= eps * 28  # a corner of the cube is as far as 28 eps; black pixels go one way only


def _noise_of_the_ensemble(seed):
    """Its attack is the fourth: three members draw before it."""
    generator = torch.Generator().manual_seed(seed)
    torch.randint(2**31 - 1, (3, 1), generator=generator)
    return generator


def test_its_runs_ship():
    assert set(baseline.RUNS) <= {run.name for run in shipped_runs()}
