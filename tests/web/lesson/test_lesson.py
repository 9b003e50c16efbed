"""The deck: what every card must have, and its addresses."""

import html
import json
import re

import pytest
from dash_client import parts
from flask.testing import FlaskClient
from web_explorer import Explorer

from trs_explorer.shipped import folder
from trs_explorer.web.lesson.card import Card
from trs_explorer.web.lesson.deck import CARDS, MODULES
from trs_explorer.web.markup import markup

ASSETS = folder("assets") / "web" / "lesson"


@pytest.fixture(scope="module")
def client(explorer: Explorer) -> FlaskClient:
    from trs_explorer.web.app import create_app

    return create_app(explorer.library).server.test_client()


def test_seven_cards_and_right_answers_at_different_places() -> None:
    assert len(CARDS) == len({card.name for card in CARDS}) == 7
    assert len({card.right for card in CARDS}) > 1


def test_the_five_minute_route_is_the_first_three_cards_and_the_rest_is_for_the_hour(client: FlaskClient) -> None:
    minutes = [card.teacher.minutes for card in CARDS]
    assert sum(minutes[:3]) == pytest.approx(5)
    assert 20 < sum(minutes) <= 60
    assert "The 5-minute route is cards 1, 2 and 3." in client.get("/lesson/teacher").text
    page = client.get("/lesson/zigzag").text
    assert [f'{k}: {markup(card.title)} (for the hour)"' in page for k, card in enumerate(CARDS, 1)] == [False] * 3 + [True] * 4


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_is_whole(card: Card) -> None:
    assert re.fullmatch(r"[a-z-]+", card.name)
    assert 3 <= len(card.choices) <= 4
    assert 0 <= card.right < len(card.choices)
    assert card.question.endswith(("?", ":"))
    notes = (card.lead, card.paper, markup(card.measured), card.teacher.say, card.teacher.ask, card.teacher.wrong)
    assert all(len(text) > 20 for text in notes)
    (module,) = (module for module in MODULES if module.CARD is card)
    assert (ASSETS / f"{card.name}.js").is_file() != hasattr(module, "view")  # drawn by one of the two


PRIVATE = ("fall together", "falls together", "members fall", "without direction", "stands still", "is told", "whole is right")


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_speaks_the_fields_language(card: Card, client: FlaskClient) -> None:
    page = client.get(f"/lesson/{card.name}").text
    own = page[page.index(f'id="card-{card.name}"') :].partition("</section>")[0]
    assert [words for words in PRIVATE if words in own] == []
    assert "against the gradient" not in own  # attacks follow the gradient of the loss, on every card


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
    unknown = client.get("/lesson/<nope>")
    assert unknown.status_code == 404
    assert "There is no card called &#x27;&lt;nope&gt;&#x27;." in unknown.text
    assert f'<a href="/lesson/{CARDS[0].name}">Start with card 1.</a>' in unknown.text
    assert all(markup(card.title) in unknown.text for card in CARDS)
    teacher = client.get("/lesson/teacher").text
    for card in CARDS:
        assert client.get(f"/lesson/{card.name}").status_code == 200
        assert markup(card.teacher.wrong) in teacher


def test_the_pages_lead_to_one_another(client: FlaskClient) -> None:
    pages = ("/", "/compare", "/lesson")
    for page in ("/lesson/zigzag", "/lesson/teacher"):
        text = client.get(page).text
        assert all(f'href="{other}"' in text for other in pages)
    for below in ("/", "/compare/"):  # the pages of Dash components
        (nav,) = parts(client.get(f"{below}_dash-layout").get_json(), "Nav")
        assert tuple(link["props"]["href"] for link in parts(nav, "A")) == pages
