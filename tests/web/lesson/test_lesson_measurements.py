"""What the cards that attack have in common."""

import threading

import pytest
from lesson_views import ask_page, lesson_app

from trs_explorer.evaluation.accuracy import empty_rate
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.explore.jobs import Full, Jobs
from trs_explorer.explore.library import Library
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.shipped import folder
from trs_explorer.web.lesson.deck import VIEWS
from trs_explorer.web.lesson.measurements import accuracy_share, follow, paper_figures, parse_card_request, share
from trs_explorer.web.lesson.view import CardRequest, View


def test_a_share_has_its_denominator_and_interval():
    found = share(9, 10, wilson(9, 10))
    assert found.text == "90.0 % (59.6-98.2), 9 of 10"  # Wilson's interval of 9 of 10, from the literature's closed form
    assert found.value == 0.9
    assert share(0, 0, (0.0, 1.0)) is None
    assert accuracy_share(None) is None
    assert accuracy_share(empty_rate("pgd", 0.1)) is None


def test_a_card_asks_for_its_own_runs_only_and_fixes_what_it_does_not_offer():
    library = Library([folder("checkpoints")], device="cpu")
    fields = {"run": "bars-trs", "norm": "l2", "n": "8"}
    with pytest.raises(UsageError, match="this card is about mnist-trs, not 'bars-trs'"):
        parse_card_request(library, fields, ("mnist-trs",))
    asked = parse_card_request(library, fields, ("bars-trs",), norm="linf")
    assert (asked.loaded.name, asked.state.norm, asked.state.n) == ("bars-trs", "linf", 8)


def test_a_job_is_followed_to_its_end_and_a_failure_is_told():
    jobs = Jobs()
    go_on = threading.Event()

    def card(**fields):
        return CardRequest(None, jobs, "card", {"client": "me", **fields})

    def slow():
        yield 1
        go_on.wait(10.0)
        yield 2

    assert follow(card(), "good", slow).state == "running"
    go_on.set()
    jobs.wait("good", 10.0)
    assert follow(card(again="1"), "good", slow).value == 2

    def broken():
        yield 1
        raise ValueError("a pixel fell off")

    follow(card(), "bad", broken)
    jobs.wait("bad", 10.0)
    with pytest.raises(RunError, match="could not be measured: ValueError: a pixel fell off"):
        follow(card(again="1"), "bad", broken)
    assert follow(card(), "bad", broken).state == "running"  # asked anew, it is tried anew
    jobs.wait("bad", 10.0)
    jobs.stop()


def test_what_is_done_does_not_cancel_what_the_card_measures_next():
    jobs, go_on = Jobs(), threading.Event()
    card = CardRequest(None, jobs, "card", {"client": "me"})

    def slow():
        go_on.wait(10.0)
        yield 2

    follow(card, "first", lambda: iter([1]))
    jobs.wait("first", 10.0)
    follow(card, "second", slow)
    assert follow(card, "first", lambda: iter([1])).state == "done"
    assert jobs.get("second").state == "running"
    go_on.set()
    jobs.stop()


@pytest.fixture
def counting(monkeypatch):
    """A lesson whose card of images measures what its field "key" names, without end; and its jobs."""
    jobs, go_on = Jobs(), threading.Event()

    def view(card):
        follow(card, card.fields["key"], lambda: iter(lambda: go_on.wait(10.0) and 0, 1))
        return View(done=False, wait=150)

    monkeypatch.setitem(VIEWS, "images", view)
    yield lesson_app(None, jobs), jobs
    go_on.set()
    jobs.stop()


def test_a_card_that_is_left_is_not_measured_any_more_unless_another_tab_shows_it(counting):
    app, jobs = counting
    for key, tab in (("own", "me"), ("shared", "you"), ("shared", "she")):
        ask_page(app, "images", key=key, client=tab)
    ask_page(app, "zigzag")  # another card, which the server does not draw
    assert app.server.test_client().post("/lesson/leave?client=you").status_code == 204  # the page is closed
    assert [jobs.get(key).state for key in ("own", "shared")] == ["cancelled", "running"]
    ask_page(app, "images", key="next", client="she")
    assert jobs.get("shared").state == "cancelled"
    ask_page(app, "images", changed="poll.n_intervals", key="next", client="she")  # to poll leaves nothing
    assert jobs.get("next").state == "running"
    app.server.test_client().post("/lesson/leave?client=she")
    ask_page(app, "images", changed="poll.n_intervals", key="next", client="she")  # was on its way when the page was closed
    assert jobs.get("next").state == "cancelled"
    ask_page(app, "images", key="next", client="she")
    assert jobs.get("next").state == "running"


def test_the_page_polls_until_the_view_is_done_and_again_if_too_much_runs(counting, monkeypatch):
    app, _ = counting
    answer = ask_page(app, "images", key="a")
    assert (answer["answer.data"]["done"], answer["poll.n_intervals"], answer["poll.interval"]) == (False, 0, 150)
    monkeypatch.setitem(VIEWS, "images", lambda card: View({"transfer": "Nothing yet."}, {"of": "all"}, notice="well", done=True))
    answer = ask_page(app, "images", key="a")
    told = {"card": "images", "figures": {"transfer": "Nothing yet."}, "texts": {"of": "all"}, "parts": {}, "done": True}
    assert (answer["answer.data"], answer["view-notice.children"]) == (told, "well")
    assert not {"poll.n_intervals", "poll.interval"} & set(answer)

    def full(card):
        raise Full("65 measurements are already running")

    monkeypatch.setitem(VIEWS, "images", full)
    answer = ask_page(app, "images", key="a")
    assert "answer.data" not in answer  # what is on the screen stays
    assert (answer["view-notice.children"], answer["poll.n_intervals"]) == ("65 measurements are already running", 0)


def test_what_a_button_asks_for_counts_on_its_own_card_and_until_something_else_is_asked(counting, monkeypatch):
    app, _ = counting
    seen = []
    monkeypatch.setitem(VIEWS, "images", lambda card: seen.append(dict(card.fields)) or View())
    ask_page(app, "images", act={"card": "images", "train": "this", "press": 1}, changed="act.data")
    ask_page(app, "images", act={"card": "theorem", "train": "cos"})
    assert [fields.get("train") for fields in seen] == ["this", None]
    assert [(fields["again"], fields["dark"], fields["reveal"]) for fields in seen] == [("", "0", "0")] * 2


def test_the_papers_figures_are_those_of_its_table():
    assert paper_figures("pgd", "trs") == "93.0 / 85.1"
    assert paper_figures("fgsm", "dverge") == "95.8 / 91.6"
