"""What the cards that attack have in common."""

import threading

import pytest

from trs_explorer.evaluation.accuracy import empty_rate
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.shipped import folder
from trs_explorer.web.lesson.measurements import accuracy_share, job_response, paper_figures, parse_card_request, share
from trs_explorer.web.pages import json_response


def test_a_share_has_its_denominator_and_interval():
    told = share(9, 10, wilson(9, 10))
    assert told["words"] == "90.0 % (59.6-98.2), 9 of 10"  # Wilson's interval of 9 of 10, from the literature's closed form
    assert (told["share"], told["hits"], told["of"]) == (0.9, 9, 10.0)
    assert share(0, 0, (0.0, 1.0)) is None
    assert accuracy_share(None) is None
    assert accuracy_share(empty_rate("pgd", 0.1)) is None


def test_what_cannot_be_had_is_told_in_words():
    def refuse():
        raise UsageError("no such thing")

    assert json_response(refuse).get_json() == {"wrong": "no such thing"}
    assert json_response(lambda: {"all": "well"}).get_json() == {"all": "well"}


def test_a_card_asks_for_its_own_runs_only_and_fixes_what_it_does_not_offer():
    library = Library([folder("checkpoints")], device="cpu")
    fields = {"run": "bars-trs", "norm": "l2", "n": "8"}
    with pytest.raises(UsageError, match="this card is about mnist-trs, not 'bars-trs'"):
        parse_card_request(library, fields, ("mnist-trs",))
    asked = parse_card_request(library, fields, ("bars-trs",), norm="linf")
    assert (asked.loaded.name, asked.state.norm, asked.state.n) == ("bars-trs", "linf", 8)


def test_a_job_is_followed_to_its_end_and_a_failure_is_told():
    jobs = Jobs()

    def ask(key, make, **again):
        return job_response(jobs, key, "here", make, lambda value: {"value": value}, **again)

    go_on = threading.Event()

    def slow():
        yield 1
        go_on.wait(10.0)
        yield 2

    assert ask("good", slow)["done"] is False
    go_on.set()
    jobs.wait("good", 10.0)
    assert ask("good", lambda: iter([1, 2])) | {"seconds": 0} == {"value": 2, "done": True, "seconds": 0}

    def broken():
        yield 1
        raise ValueError("a pixel fell off")

    ask("bad", broken)
    jobs.wait("bad", 10.0)
    with pytest.raises(RunError, match="could not be measured: ValueError: a pixel fell off"):
        ask("bad", broken, again=True)
    assert "wrong" not in ask("bad", broken)  # asked anew, it is tried anew
    jobs.wait("bad", 10.0)
    jobs.stop()


def test_the_papers_figures_are_those_of_its_table():
    assert paper_figures("pgd", "trs") == "93.0 / 85.1"
    assert paper_figures("fgsm", "dverge") == "95.8 / 91.6"
