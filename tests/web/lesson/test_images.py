"""The card of real images: its figures are those of the functions that everything else stands on."""

import re
from functools import partial

import pytest
import torch
from lesson_views import asking, library

from trs_explorer.attacks.di2 import mdi2
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.options import UsageError
from trs_explorer.shipped import folder, shipped_runs
from trs_explorer.web.lesson import images
from trs_explorer.web.lesson.measurements import accuracy_share, share
from trs_explorer.web.markup import markup

EPS, N, STEPS = 0.2, 8, 2
FIELDS = {"eps": EPS, "n": N, "steps": STEPS, "seed": 1, "pairs": "pgd"}
GUESSED = images.GUESSED


@pytest.fixture(scope="module")
def card():
    """The library, and ask(fields): the view once all is measured."""
    runs, jobs = library(), Jobs()
    yield runs, asking(images.view, runs, jobs, **FIELDS)
    jobs.stop()


def expected(runs, run, attack):
    """Transfer between a run's members, and the ensemble's accuracy under PGD."""
    loaded = runs.load(run)
    x, y = loaded.data.images(slice(0, N)), loaded.data.y[:N]
    options = {"eps": EPS, "steps": STEPS, "step_size": EPS * 2.5 / STEPS}
    matrix = transfer_matrix(loaded.ensemble, x, y, attack=partial(attack, **options), seed=1)
    rate = evaluate(loaded.ensemble, x, y, attacks=[("pgd", pgd, options)], seed=1)[1]
    return share(*matrix.pooled(), matrix.pooled_interval()), accuracy_share(rate)


def points(view):
    return {trace.name: trace for trace in view.figures["transfer"].data}


@pytest.mark.parametrize(("pairs", "attack"), [pytest.param("pgd", pgd, marks=pytest.mark.slow), ("mdi2", mdi2)])
def test_the_figures_are_those_of_transfer_matrix_and_evaluate(card, pairs, attack):
    runs, ask = card
    view = ask(pairs=pairs, reveal=1)
    bars = dict(zip(view.figures["robust"].data[0].x, view.figures["robust"].data[0].y, strict=True))
    table = markup(view.markup["table"])
    for run in ("mnist-standard", GUESSED):
        transfer, robust = expected(runs, run, attack)
        name = images.ENSEMBLES[run][1].name
        assert points(view)[name].y[0] == pytest.approx(100 * transfer.value)
        assert bars[name] == pytest.approx(100 * robust.value)
        assert f"<td>{transfer.text}</td><td>{robust.text}</td>" in table
    assert view.texts["of"].startswith(
        f"{images.MEMBER_ATTACKS[pairs]} on members, PGD on the whole, 2 steps, ε 0.2; seed 1, first 8"
    )
    said = view.texts["headline"]
    assert f"and {100 * expected(runs, GUESSED, attack)[0].value:.0f} % of the {images.MEMBER_ATTACKS[pairs]} images" in said


def test_cosines_are_those_of_the_log_odds_in_double_precision(card):
    """Autograd through m = logsumexp of the other logits - z_y, one image and member at a time."""
    runs, _ = card
    loaded = runs.load(GUESSED)
    *_, found = images.measure_cosines({GUESSED: loaded}, 3)
    total = 0.0
    for x, y in zip(loaded.data.images(slice(0, 3)), loaded.data.y[:3], strict=True):
        gradients = []
        for member in loaded.ensemble.members:
            image = x[None].clone().requires_grad_()
            with torch.enable_grad():
                logits = member(image)[0]
                others = torch.cat([logits[: int(y)], logits[int(y) + 1 :]])
                m = others.logsumexp(0) - logits[int(y)]
            gradients.append(torch.autograd.grad(m, image)[0].flatten().double())
        pairs = [(0, 1), (0, 2), (1, 2)]
        total += sum(abs(float(torch.cosine_similarity(gradients[i], gradients[j], dim=0))) for i, j in pairs) / 3
    assert found[GUESSED] == pytest.approx(total / 3, rel=1e-3)


def test_what_is_to_be_guessed_is_neither_measured_nor_sent_before(card):
    _, ask = card
    views = ask(every=True, attacked=",".join(images.RUNS))
    for view in views:
        assert "robust" not in view.figures
        assert "correct under PGD" not in markup(view.markup["table"])
        assert isinstance(view.figures["transfer"], str) or GUESSED.removeprefix("mnist-") not in points(view)
    assert set(points(views[-1])) == {"standard", "TRS"}
    rows = dict(re.findall(r'data-run="([^"]+)".*?<td>[^<]*</td><td>([^<]*)</td>', markup(views[-1].markup["table"])))
    assert rows["mnist-smooth-only"] == "no attack fools a member"  # of these eight images
    assert rows[GUESSED] == "not attacked yet"
    assert "0.00" in markup(views[-1].markup["table"])  # its |cos| is what the question is about
    empty = ask(attacked="", seed=3)
    figure = empty.figures["transfer"]
    assert points(empty) == {}
    # The question names cos-only's |cos|: the picture has a line there, and no height.
    assert [note.text for note in figure.layout.annotations] == [
        f"<b>{series.name}: ?</b>" for _, series in images.ENSEMBLES.values()
    ]
    assert [(line.x0, line.y0, line.y1) for line in figure.layout.shapes] == [
        (pytest.approx(float(cosine), abs=6e-4), 0, 100)
        for cosine in re.findall(r"</th><td>([^<]*)</td>", markup(empty.markup["table"]))
    ]


@pytest.mark.slow
def test_the_right_answer_and_the_number_in_the_question_are_what_is_measured(card):
    """On 32 images, with the card's own attack: the stored figures of 1,000 are .003, and 65 % at 50 steps."""
    _, ask = card
    view = ask(**{**images.CARD.fields, "n": 32, "reveal": 1})
    cos_only = points(view)["cos-only"]
    assert "mean |cos| is 0.003" in images.CARD.question
    assert cos_only.x[0] == pytest.approx(0.003, abs=0.001)
    assert images.CARD.choices[images.CARD.right] == "About two thirds"
    assert 50 < cos_only.y[0] < 80


def test_what_the_card_does_not_have_is_told(card):
    _, ask = card
    with pytest.raises(UsageError, match="Choose from mdi2, pgd"):
        ask(pairs="fgsm")


def test_a_library_without_the_runs_says_so_and_shows_the_rest():
    jobs = Jobs()
    none = asking(images.view, Library([folder("checkpoints") / "bars-trs"], device="cpu"), jobs, **FIELDS)()
    assert "mnist-standard is not here: trs lesson has it, or trs train --method standard" in none.figures["transfer"]
    view = asking(images.view, Library([folder("checkpoints") / "mnist-trs"], device="cpu"), jobs, **FIELDS)(attacked="mnist-trs")
    assert "mnist-cos-only is not here" in view.texts["of"]
    assert set(points(view)) == {"TRS"}
    jobs.stop()


def test_its_runs_ship():
    assert set(images.RUNS) <= {run.name for run in shipped_runs()}
