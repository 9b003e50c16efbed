"""The card of real images: its figures are those of the functions that everything else stands on."""

import time
from functools import partial

import pytest
from flask import Flask

from trs_explorer.attacks.di2 import mdi2
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder, shipped_runs
from trs_explorer.web.lesson import images
from trs_explorer.web.markup import markup

EPS, N, STEPS = 0.2, 8, 2
WISH = {"run": "mnist-standard", "eps": EPS, "n": N, "steps": STEPS, "seed": 1}


@pytest.fixture(scope="module")
def card():
    """The library, and ask(fields): the answer once all is measured."""
    library, jobs, server = Library([folder("checkpoints")], device="cpu"), Jobs(), Flask("lesson")
    images.add_routes(server, library, jobs)
    client = server.test_client()

    def ask(**fields):
        told = {}
        while not told.get("done") and "wrong" not in told:
            told = client.get("/lesson/images/attack", query_string={**WISH, **fields}).get_json()
            time.sleep(0.01)
        return told

    yield library, ask
    jobs.stop()


@pytest.mark.parametrize(("pairs", "attack"), [("pgd", pgd), ("mdi2", mdi2)])
def test_the_figures_are_those_of_transfer_matrix_and_evaluate(card, pairs, attack):
    library, ask = card
    told, loaded = ask(pairs=pairs), library.load("mnist-standard")
    x, y = loaded.data.images(slice(0, N)), loaded.data.y[:N]
    options = {"eps": EPS, "steps": STEPS, "step_size": EPS * 2.5 / STEPS}
    matrix = transfer_matrix(loaded.ensemble, x, y, attack=partial(attack, **options), seed=1)
    transfer = told["transfer"]
    assert (transfer["hits"], transfer["of"]) == matrix.pooled()
    assert (transfer["low"], transfer["high"]) == pytest.approx(matrix.pooled_interval())
    rate = evaluate(loaded.ensemble, x, y, attacks=[("pgd", pgd, options)], seed=1)[1]
    assert told["robust"]["hits"] == rate.correct
    assert (told["robust"]["of"], told["robust"]["low"], told["robust"]["high"]) == (N, rate.low, rate.high)
    name = images.MEMBER_ATTACKS[pairs]
    assert told["of"].startswith(f"{name} on members, PGD on the whole, 2 steps, eps 0.2; seed 1, first 8 test images")


def test_what_the_card_does_not_have_is_told(card):
    _, ask = card
    assert "this card is about" in ask(run="bars-trs")["wrong"]
    assert "Choose from pgd, mdi2" in ask(pairs="fgsm")["wrong"]


def test_a_library_without_the_run_says_so():
    library, server = Library([folder("checkpoints") / "mnist-trs"], device="cpu"), Flask("lesson")
    images.add_routes(server, library, Jobs())
    told = server.test_client().get("/lesson/images/attack", query_string=WISH).get_json()
    assert "there is no 'mnist-standard'" in told["wrong"]


def test_its_runs_ship_and_what_is_to_be_guessed_is_covered():
    assert set(images.RUNS) <= {run.name for run in shipped_runs()}
    stage = markup(images.CARD.stage)
    assert stage.count('data-share="robust"') == stage.count('data-after data-share="robust"') == len(images.ENSEMBLES)
