"""The deck: what every card must have, and its addresses."""

import html
import json
import re

import pytest
from flask.testing import FlaskClient
from web_explorer import Explorer

from trs_explorer.shipped import folder
from trs_explorer.web.lesson.card import Card
from trs_explorer.web.lesson.deck import CARDS
from trs_explorer.web.markup import markup

ASSETS = folder("assets") / "web" / "lesson"


@pytest.fixture(scope="module")
def client(explorer: Explorer) -> FlaskClient:
    from trs_explorer.web.app import create_app

    return create_app(explorer.library).server.test_client()


def test_seven_cards_five_minutes_and_right_answers_at_different_places() -> None:
    assert len(CARDS) == len({card.name for card in CARDS}) == 7
    assert sum(card.teacher.minutes for card in CARDS) == pytest.approx(5, abs=0.5)
    assert len({card.right for card in CARDS}) > 1


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_is_whole(card: Card) -> None:
    assert re.fullmatch(r"[a-z-]+", card.name)
    assert 3 <= len(card.choices) <= 4
    assert 0 <= card.right < len(card.choices)
    assert card.question.endswith(("?", ":"))
    notes = (card.lead, card.paper, markup(card.measured), card.teacher.say, card.teacher.ask, card.teacher.wrong)
    assert all(len(text) > 20 for text in notes)
    assert (ASSETS / f"{card.name}.js").is_file()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_control_changes_a_field_that_the_card_has(card: Card, client: FlaskClient) -> None:
    page = client.get(f"/lesson/{card.name}").text
    own = page[page.index(f'id="card-{card.name}"') :].partition("</section>")[0]
    named = set(re.findall(r'data-field="([a-z_]+)"', own)) | set(re.findall(r'data-value-of="([a-z_]+)"', own))
    named |= {field for told in re.findall(r'data-set="([^"]+)"', own) for field in json.loads(html.unescape(told))}
    assert named <= set(card.fields)
    assert named


def test_the_addresses(client: FlaskClient) -> None:
    assert client.get("/lesson").headers["Location"] == f"/lesson/{CARDS[0].name}"
    assert client.get("/lesson/nothing").status_code == 404
    teacher = client.get("/lesson/teacher").text
    for card in CARDS:
        assert client.get(f"/lesson/{card.name}").status_code == 200
        assert markup(card.teacher.wrong) in teacher


def test_the_pages_lead_to_one_another(client: FlaskClient) -> None:
    for page in ("/", "/compare", "/lesson/zigzag", "/lesson/teacher"):
        text = client.get(page).text
        assert all(f'href="{other}"' in text for other in ("/", "/compare", "/lesson"))
