"""The deck: what every card must have, and its addresses."""

import html
import json
import re

import pytest
from dash_client import parts
from flask.testing import FlaskClient
from plotly.utils import PlotlyJSONEncoder
from web_explorer import Explorer

from trs_explorer.shipped import folder
from trs_explorer.web.lesson.card import Card
from trs_explorer.web.lesson.deck import CARDS, MODULES
from trs_explorer.web.lesson.page import card_section
from trs_explorer.web.lesson.state import parse_address
from trs_explorer.web.markup import markup

ASSETS = folder("assets") / "web" / "lesson"


@pytest.fixture(scope="module")
def client(explorer: Explorer) -> FlaskClient:
    from trs_explorer.web.app import create_app

    return create_app(explorer.library).server.test_client()


def html_of(card: Card, search: str = "") -> str:
    """A card as it is on the page; what the browser fills in is where it is filled in."""
    return html.unescape(markup(card_section(parse_address(CARDS, f"/lesson/{card.name}", search), 1)))


def test_seven_cards_and_right_answers_at_different_places() -> None:
    assert len(CARDS) == len({card.name for card in CARDS}) == 7
    assert len({card.right for card in CARDS}) > 1


def test_the_five_minute_route_is_the_first_three_cards_and_the_rest_is_for_the_hour(client: FlaskClient) -> None:
    minutes = [card.teacher.minutes for card in CARDS]
    assert sum(minutes[:3]) == pytest.approx(5)
    assert 20 < sum(minutes) <= 60
    assert "The 5-minute route is cards 1, 2 and 3." in client.get("/lesson/teacher").text
    (steps,) = (one for one in parts(client.get("/lesson/_dash-layout").get_json(), "Ol") if one["props"]["id"] == "steps")
    links = [link["props"] for link in parts(steps, "A")]
    hours = [""] * 3 + [" (for the hour)"] * 4
    assert [link["aria-label"] for link in links] == [
        f"{k}: {card.title}{hour}" for k, (card, hour) in enumerate(zip(CARDS, hours, strict=True), 1)
    ]
    assert [link["href"] for link in links] == [f"/lesson/{card.name}" for card in CARDS]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_is_whole(card: Card) -> None:
    assert re.fullmatch(r"[a-z-]+", card.name)
    assert 3 <= len(card.choices) <= 4
    assert 0 <= card.right < len(card.choices)
    assert card.question.endswith(("?", ":"))
    notes = (card.lead, card.paper, markup(card.measured), card.teacher.say, card.teacher.ask, card.teacher.wrong)
    assert all(len(text) > 20 for text in notes)
    (module,) = (module for module in MODULES if module.CARD is card)
    assert (ASSETS / f"{card.name}.mjs").is_file() != hasattr(module, "view")  # drawn by one of the two


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_decimal_has_a_digit_before_its_point(card: Card) -> None:
    notes = card.teacher
    said = re.sub(r"<[^>]*>", " ", html_of(card)) + markup([*card.answer, card.paper, card.measured, notes.say, notes.ask])
    assert re.findall(r"(?<![\w)\]}.])\.\d+", said + notes.wrong) == []


def test_a_decimal_that_the_browser_draws_has_one_too() -> None:
    for script in ASSETS.glob("*.mjs"):
        assert re.findall(r"""["'`]\.\d""", script.read_text()) == [], script


PRIVATE = ("fall together", "falls together", "members fall", "without direction", "stands still", "is told", "whole is right")


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_speaks_the_fields_language(card: Card) -> None:
    own = html_of(card)
    assert card.question in own
    assert [words for words in PRIVATE if words in own] == []
    assert "against the gradient" not in own  # attacks follow the gradient of the loss, on every card


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_control_changes_a_field_that_the_card_has(card: Card) -> None:
    own = html_of(card)
    named = set(re.findall(r'data-field="([a-z_]+)"', own)) | set(re.findall(r'data-value-of="([a-z_]+)"', own))
    for told in re.findall(r'data-(?:set|toggle)="({[^}]+})"', own):
        named |= set(json.loads(told))
    assert named - {"guess"} <= set(card.fields)
    assert named > {"guess"}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_field_of_the_state_has_one_component_with_its_value(card: Card) -> None:
    """Also those without a control: the state is what the components hold."""
    state = parse_address(CARDS, f"/lesson/{card.name}", "?guess=2&theme=dark")
    section = json.loads(json.dumps(card_section(state, 1), cls=PlotlyJSONEncoder))
    held = [(one["props"]["id"]["field"], one["props"].get("value")) for one in parts(section, "Input")]
    assert dict(held) == state.values
    assert len(held) == len(state.values)
    assert (state.values["guess"], state.values["theme"], state.values["reveal"]) == (2, "dark", "")


def test_a_question_for_a_test_has_no_answer_in_its_page() -> None:
    card = CARDS[1]
    assert "data-right" in html_of(card)
    assert "The boundaries become one line" in html_of(card)
    for search in ("?lock=1&hide=answer", "?lock=1&hide=answer,sources&reveal=1"):
        sealed = html_of(card, search)
        assert card.question in sealed
        assert [
            words for words in ("data-right", "The boundaries become one line", "✓", "Reveal", "revealed") if words in sealed
        ] == []


def test_the_page_shows_the_question_before_dash_has_started(client: FlaskClient) -> None:
    page = client.get("/lesson/zigzag?theme=dark").text
    still = page[page.index('id="still"') :].partition('id="react-entry-point"')[0]
    assert markup(CARDS[1].question) in still
    assert 'class="theme-dark"' in page
    assert "<title>The zigzag - trs lesson</title>" in page
    module, renderer = page.index("/lesson/assets/lesson.mjs?"), page.index("new DashRenderer(")
    assert module < renderer  # both are modules, which run in their order: Dash finds the browser's callbacks
    assert page[:renderer].rpartition("<script")[2].startswith(' type="module"')
    assert CARDS[1].question not in client.get("/lesson/zigzag?reveal=1").text  # the answer's place is not the question's


def test_the_server_says_what_started_it(explorer: Explorer) -> None:
    """A page whose server has gone says to start it again."""
    from trs_explorer.web.app import create_app

    for command in ("trs explore", "trs lesson"):
        answer = create_app(explorer.library, command=command).server.test_client().get("/alive")
        assert (answer.status_code, answer.text, answer.headers["Cache-Control"]) == (200, command, "no-store")


def test_a_box_that_scrolls_has_a_name_and_can_be_reached_by_key() -> None:
    for name in ("theorem", "baseline", "doubt"):
        own = html_of(next(card for card in CARDS if card.name == name))
        (box,) = re.findall(r'<div[^>]*class="scrolling"[^>]*>', own)
        assert 'role="region"' in box
        assert 'tabIndex="0"' in box
        assert re.search(r'aria-label="[^"]+"', box)


def test_the_addresses(client: FlaskClient) -> None:
    assert client.get("/lesson").headers["Location"] == f"/lesson/{CARDS[0].name}"
    unknown = client.get("/lesson/<nope>")
    assert unknown.status_code == client.get("/lesson/zigzag/more").status_code == 404
    assert "There is no card called &#x27;&lt;nope&gt;&#x27;." in unknown.text
    assert f'<a href="/lesson/{CARDS[0].name}">Start with card 1.</a>' in unknown.text
    assert all(markup(card.title) in unknown.text for card in CARDS)
    teacher = client.get("/lesson/teacher").text
    for card in CARDS:
        assert client.get(f"/lesson/{card.name}").status_code == 200
        assert markup(card.teacher.wrong) in teacher


def test_the_pages_lead_to_one_another(client: FlaskClient) -> None:
    pages = ("/", "/compare", "/lesson")
    text = client.get("/lesson/teacher").text
    assert all(f'href="{other}"' in text for other in pages)
    for below in ("/", "/compare/", "/lesson/"):  # the pages of Dash components
        (nav,) = parts(client.get(f"{below}_dash-layout").get_json(), "Nav")
        assert tuple(link["props"]["href"] for link in parts(nav, "A")) == pages
