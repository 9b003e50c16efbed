"""The card of doubt: multiplied logits, attacks on them, and the checks of `trs evaluate`."""

import copy
import re
from functools import partial

import pytest
import torch
from lesson_views import asking, library

from trs_explorer.attacks.apgd import apgd_dlr
from trs_explorer.attacks.mora import mora
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.evaluation.trust import from_attacks
from trs_explorer.evaluation.trust.from_attacks import cheap_checks
from trs_explorer.explore.jobs import Jobs
from trs_explorer.models import Ensemble, build
from trs_explorer.options import UsageError
from trs_explorer.shipped import shipped_runs
from trs_explorer.web.lesson import doubt
from trs_explorer.web.markup import markup

EPS, N, STEPS = 0.15, 10, 4
FIELDS = {"reveal": 1, "eps": EPS, "n": N, "steps": STEPS, "seed": 0}
OPTIONS = {"eps": EPS, "steps": STEPS}
ATTACKS = [
    ("pgd-4", pgd, OPTIONS),
    ("pgd-margin-4", pgd, {**OPTIONS, "loss": "margin"}),
    ("apgd-dlr-4", apgd_dlr, OPTIONS),
    ("mora-4", mora, OPTIONS),
]


@pytest.fixture(scope="module")
def card():
    """The run's ensemble with the images, and ask(fields): the answer once all is measured."""
    runs, jobs = library(), Jobs()
    loaded = runs.load(doubt.RUN)
    yield (loaded.ensemble, loaded.data.images(slice(0, N)), loaded.data.y[:N]), asking(doubt.view, runs, jobs, **FIELDS)
    jobs.stop()


def last_layer_times(ensemble, factor):
    """The same by other means: the weights of every member's last layer are multiplied."""
    members = [copy.deepcopy(member) for member in ensemble.members]
    for member in members:
        last = [module for module in member.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.weight.mul_(factor)
        last.bias.mul_(factor)
    return Ensemble(members).eval()


def correct(view, name):
    """How many of N images a series of the chart has right, by row."""
    trace = next(trace for trace in view.figures["accuracy"].data if trace.name == name)
    shown = dict(zip(trace.y, trace.x, strict=True))
    return [round(shown[row] * N / 100) for row in doubt.ROWS]


def test_times_one_leaves_what_is_left_of_the_run_itself(card, monkeypatch):
    monkeypatch.setattr(doubt, "cheap_checks", lambda *_, **__: {9: []})
    (ensemble, x, y), ask = card
    view = ask(factor=1)
    assert correct(view, "logits as they are") == [rate.correct for rate in evaluate(ensemble, x, y, attacks=ATTACKS)]
    assert correct(view, "logits x 1") == correct(view, "logits as they are")
    assert f"changed 0 of the ensemble's {N} predictions" in view.texts["of"]


def test_before_the_guess_nothing_is_multiplied(card, monkeypatch):
    monkeypatch.setattr(doubt, "cheap_checks", lambda *_, **__: {9: []})
    _, ask = card
    factors = []
    real = doubt.measure_doubt

    def recorded(ensemble, x, y, factor, state):
        if state.seed == 4:  # not what another test's page still measures
            factors.append(factor)
        return real(ensemble, x, y, factor, state)

    monkeypatch.setattr(doubt, "measure_doubt", recorded)
    view = ask(reveal=0, factor=1000, seed=4)
    assert factors == [1.0]
    assert [trace.name for trace in view.figures["accuracy"].data] == ["logits as they are"]
    assert "changed" not in view.texts["of"]


def test_times_1000_looks_robust_and_the_checks_of_trs_evaluate_say_what_it_is(card, monkeypatch):
    """Of the four rates and of the checks, on weights that are multiplied by other means."""
    (ensemble, x, y), ask = card
    seen = {}

    def checked(model, *images, **given):
        if len(images[0]) != N:  # what another test's page still measures
            return real(model, *images, **given)
        seen.update(
            given,
            same=torch.equal(model(images[0]), doubt.scale_logits(ensemble, 1000.0)(x)),
            found=real(model, *images, **given),
        )
        return seen["found"]

    real = cheap_checks
    monkeypatch.setattr(doubt, "cheap_checks", checked)
    monkeypatch.setattr(from_attacks, "pgd", partial(pgd, steps=6))  # 50 would do the same, for two seconds
    monkeypatch.setattr(from_attacks, "mora", partial(mora, steps=6))
    view, scaled = ask(factor=1000), last_layer_times(ensemble, 1000)
    found = correct(view, "logits x 1000")
    rates = evaluate(scaled, x, y, attacks=ATTACKS)
    assert found == [rate.correct for rate in rates]
    assert (
        f"changed {int((scaled(x).argmax(-1) != ensemble(x).argmax(-1)).sum())} of the ensemble's {N} predictions"
        in view.texts["of"]
    )
    _, by_cross_entropy, *_, by_mora = found
    assert by_cross_entropy >= N - 1
    assert by_cross_entropy - by_mora >= N / 2
    assert seen["same"]
    assert [(rate.name, rate.correct) for rate in seen["rates"]] == [(rate.name, rate.correct) for rate in rates[:2]]
    assert [(name, options) for name, _, options in seen["attacks"]] == [("pgd-4", OPTIONS)]
    warn = {number: texts for number, texts in seen["found"].items() if texts}
    said = markup(view.markup["checks"])
    for number, texts in seen["found"].items():
        assert (f"check {number} warns: </b>{markup(' '.join(texts))}" in said) == bool(texts)
        assert (f"{number} ({markup(doubt.CHECKS[number])})" in said) == (not texts)
    assert {5, 8} <= set(warn)


@pytest.mark.slow
def test_no_text_cites_a_check_before_it_has_run(card):
    """Their numbers are in the checks' own list alone, which comes last."""
    _, ask = card
    assert not re.search(r"[Cc]heck \d", markup([*doubt.CARD.answer]) + doubt.CARD.question + doubt.CARD.lead)
    first = ask(every=True, factor=1000, seed=5)[0]
    assert "These run once the attacks are done" in markup(first.markup["checks"])


def test_the_attacks_are_those_of_the_catalogue():
    assert [
        (name, function.func, {**function.keywords, **options}) for name, function, options in doubt.attacks_at(EPS, STEPS)
    ] == ATTACKS


def test_times_one_is_the_ensemble_itself_and_others_vote_as_it_does(card):
    (ensemble, x, _), _ = card
    assert torch.equal(doubt.scale_logits(ensemble, 1.0)(x), ensemble(x))
    assert torch.allclose(doubt.scale_logits(ensemble, 100.0).member_logits(x), 100 * ensemble.member_logits(x))
    boosted = build("patch", "mnist", 2, seed=0, method="gradient-boost").eval()
    boosted.vote_weights.copy_(torch.tensor([0.25, 2.0]))
    assert torch.allclose(doubt.scale_logits(boosted, 1.0)(x), boosted(x))
    confident = build("patch", "mnist", 2, seed=0, method="soe").eval()
    assert torch.allclose(doubt.scale_logits(confident, 1.0)(x), confident(x))


def test_other_factors_are_refused(card):
    _, ask = card
    with pytest.raises(UsageError, match="must be one of 1, 10, 100, 1000, got '7'"):
        ask(factor=7)
    assert doubt.RUN in {run.name for run in shipped_runs()}
