"""Values that no page holds, posted into the lesson's callbacks: each is refused in words, or answered. None is a 500."""

import math
from collections.abc import Iterator

import dash
import pytest
from dash_client import post
from lesson_views import lesson_app, library

from trs_explorer.explore.jobs import Jobs
from trs_explorer.web.lesson.deck import CARDS, VIEWS
from trs_explorer.web.posted import REFUSAL

HOSTILE = (True, -1, 10**400, math.nan, "x", "\x00\ud800", "9" * 5000, [[1]], {}, [None], {"card": None}, {"card": []},
           {"card": "nope"}, {"card": "images", "eps": {}}, {"card": "doubt", "n": 10**400})  # fmt: skip
FIELDS = ("nan", "-1", "", "<script>", "9" * 5000, 1e200, -5, 0.5, True, "\x00")


@pytest.fixture(scope="module")
def app() -> Iterator[dash.Dash]:
    jobs = Jobs()
    app = lesson_app(library(), jobs)
    app.server.config["PROPAGATE_EXCEPTIONS"] = True
    yield app
    jobs.stop()


def usual(card: str) -> dict[str, object]:
    fields = next(one.fields for one in CARDS if one.name == card)
    small = {name: value for name, value in {"n": 1, "steps": 1}.items() if name in fields}
    asked = {"card": card, **fields, **small, "reveal": 0}
    return {
        "asked": asked,
        "act": None,
        "look": "light",
        "poll": 1,
        "client": "me",
        "session": "me",
        "address": f"/lesson/{card}",
    }


def answered(app: dash.Dash, output: str, values: dict[str, object]) -> bool:
    response = post(app, output, **values)
    assert response.status_code in (200, 204, 400)
    assert response.status_code != 400 or response.text == REFUSAL
    return response.status_code != 400


@pytest.mark.parametrize("card", [card.name for card in CARDS])
def test_what_the_page_holds_is_never_refused(app: dash.Dash, card: str) -> None:
    for output in ("cards.children", "answer.data"):
        assert answered(app, output, usual(card))
        assert answered(app, output, dict.fromkeys(usual(card)))


@pytest.mark.slow
def test_hostile_values_get_a_clean_answer(app: dash.Dash) -> None:
    refused = 0
    for output in ("cards.children", "answer.data"):
        for name in usual("theorem"):
            for value in HOSTILE:
                refused += not answered(app, output, {**usual("theorem"), name: value})
    assert refused > 50


LONG = ("baseline", "images")  # cards that measure whatever of it can be measured


@pytest.mark.parametrize("card", [pytest.param(card, marks=[pytest.mark.slow] * (card in LONG)) for card in sorted(VIEWS)])
def test_hostile_fields_of_a_card_are_told_in_words(app: dash.Dash, card: str) -> None:
    values = usual(card)
    for name in set(values["asked"]) - {"card"}:
        for value in FIELDS:
            assert answered(app, "answer.data", {**values, "asked": {**values["asked"], name: value}}), (name, value)
    for act in ({"card": card, "train": "nonsense", "seed": "x"}, {"card": card, "client": 5, "again": "x", "dark": "x"}):
        assert answered(app, "answer.data", {**values, "act": act})
