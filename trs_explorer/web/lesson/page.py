"""The lesson's page as Dash components: what stands around the cards, and a card in a state."""

import copy
import json
import secrets
from collections.abc import Sequence

import dash_bootstrap_components as dbc
from dash import dcc, html

from trs_explorer.web.lesson.card import Card
from trs_explorer.web.lesson.state import CardState, components, field_of
from trs_explorer.web.markup import markup
from trs_explorer.web.page import BEAT_MS
from trs_explorer.web.pages import PAGES, at, document, nav

TITLE = "Orthogonal is not enough"
STYLES = ("explorer.css", "lesson/lesson.css")
ROUTE = 3  # cards of the five-minute route: the first ones
STORES = (
    "asked",  # what the card's view depends on
    "act",  # what a button asks for besides, such as a training
    "answer",  # the card's view
    "look",  # "light" or "dark", as the page is drawn now
    "alive",
    "pressed", "filled",  # only end callbacks of the browser
)  # fmt: skip
KEYS = (
    (
        "right / left, Page Down / Page Up, down / up, Space",
        "the next card, the one before; a slider in focus keeps its arrows until Escape",
    ),
    ("Home / End", "the first card, the last"),
    ("1, 2, 3, 4", "guess"),
    ("Enter or r", "reveal, or cover again"),
    ("f", "full screen"),
    ("t", "dark or light"),
    ("c", "hide the controls, or show them"),
    ("?", "this list"),
)


def page(cards: Sequence[Card], url_prefix: str) -> html.Div:
    """Build the page, without a card. url_prefix: the path before all addresses, as "/path"."""
    meta = {card.name: {"title": card.title, "fields": dict(card.fields), "choices": len(card.choices)} for card in cards}
    return html.Div([
        dcc.Location(id="address", refresh=False),
        *(dcc.Store(id=name) for name in STORES),
        dcc.Store(id="cards-meta", data=meta), dcc.Store(id="client", data=secrets.token_hex(8)),
        dcc.Store(id="session", data=secrets.token_hex(8), storage_type="session"),  # the tab, also when it is loaded again
        dcc.Interval(id="poll", interval=100, max_intervals=1, n_intervals=1), dcc.Interval(id="beat", interval=BEAT_MS),
        html.A("Skip to the card", href="#cards", className="skip"),
        _header(cards, url_prefix),
        html.Div(id="gone", role="alert"),
        html.Div([html.Div(id="address-notice"), html.Div(id="view-notice")], id="notice", role="status"),
        html.Main(id="cards"),
        html.Div(id="warm", hidden=True),
    ], id="lesson")  # fmt: skip


def card_title(number: int, card: Card) -> list:
    """Build the content of a card's heading."""
    return [html.Small(f"{number}"), " ", card.title]


def card_section(state: CardState, number: int) -> html.Section:
    """Build a card in a state: the card's components {"field": NAME} hold its values. number: its place among all cards."""
    card, values = state.card, state.values
    left = [
        html.Div(copy.deepcopy(card.stage), className="stage"),
        html.Div(copy.deepcopy(card.controls), className="controls", **{"data-part": "controls"}),
    ]
    right = [html.Div(question(state), **{"data-part": "question"})]
    if not state.sealed:
        # As HTML text: every component costs Dash time whenever a card is turned.
        answer = {"data-after": True, "data-html": markup(_answer(card))}
        right.append(html.Div(className="answer", role="status", **answer))
    for component in components(*left):
        _set_to(component, state)
    with_control = {field_of(component) for component in components(*left)}
    hidden = [
        dbc.Input(id={"field": name}, type="hidden", value=value) for name, value in values.items() if name not in with_control
    ]
    title = html.H2(card_title(number, card), id=f"{card.name}-title", tabIndex=-1)
    return html.Section(
        [title, html.Div(left, className="left"), html.Div(right, className="right"), html.Div(hidden, hidden=True)],
        id=f"card-{card.name}", key=card.name, className=f"card{' revealed' if state.reveal else ''}",
        **{"aria-labelledby": f"{card.name}-title"},
    )  # fmt: skip


def question(state: CardState) -> list:
    """Build the question and its choices; once the answer is revealed, they fold to the question and the right one."""
    card = state.card
    guesses = [
        html.Li(html.Button(
            [html.B(str(k)), " ", text], id={"set": json.dumps({"guess": k})},
            **{"data-choice": str(k - 1), "data-set": json.dumps({"guess": k}), "aria-pressed": str(k == state.guess).lower()},
            **({"data-right": True} if k == card.right + 1 and not state.sealed else {}),
        ))
        for k, text in enumerate(card.choices, 1)
    ]  # fmt: skip
    asked = html.Div([
        html.P(card.lead, className="lead"),
        html.P(html.B(card.question, className="question")),
        html.Ol(guesses, className="choices"),
    ], className="asked")  # fmt: skip
    wrong = [
        html.Span(f" · guessed: {k} ✗", hidden=k != state.guess, **{"data-guessed": str(k)})
        for k in range(1, len(card.choices) + 1)
        if k != card.right + 1
    ]
    line = [html.Small(card.question), html.Br(), html.B(f"✓ {card.right + 1} {card.choices[card.right]}"), *wrong]
    folded = html.Summary([] if state.sealed else line, className="line", title="the question and the choices")
    reveal = html.Button(
        [html.Span("Reveal", className="covered"), html.Span("Cover again", **{"data-after": True})],
        id={"do": "reveal"}, className="reveal",
    )  # fmt: skip
    return [html.Details([folded, asked], open=not state.reveal, className="question-box"), *([] if state.sealed else [reveal])]


def _answer(card: Card) -> list:
    facts = html.Dl([html.Dt("The paper"), html.Dd(card.paper), html.Dt("We measure"), html.Dd(card.measured)])
    sources = html.Details([html.Summary("what the paper says, what we measure"), facts], **{"data-part": "sources"})
    paragraphs = [html.P(part) if isinstance(part, str) else part for part in card.answer]
    return [html.Div(paragraphs, **{"data-part": "answer"}), sources]


def _set_to(component: object, state: CardState) -> None:
    """Let a component show the state: a field its value, a button whether it is pressed, all of them the lock."""
    name = getattr(component, "id", None)
    if not isinstance(name, dict) or not {"field", "set", "toggle", "act"} & set(name):
        return
    component.disabled = state.lock
    if "field" in name:
        component.value = state.values[name["field"]]
    elif "set" in name:
        sets = json.loads(name["set"])
        pressed = all(state.values[field] == value for field, value in sets.items())
        setattr(component, "aria-pressed", str(pressed).lower())


def unknown_card_page(cards: Sequence[Card], name: str) -> str:
    """Build the page for an address that names no card: a sentence, and the way to all cards."""
    links = [html.Li(html.A(card.title, href=at(f"/lesson/{card.name}"))) for card in cards]
    first = html.A("Start with card 1.", href=at(f"/lesson/{cards[0].name}"))
    body = [
        html.Header([html.H1(TITLE), nav("lesson"), _steps(cards, at(""))], id="bar"),
        html.Main([html.P([f"There is no card called {name[:40]!r}. ", first]), html.Ol(links)], id="teacher"),
    ]
    return document(f"{TITLE} - trs lesson", body, {}, styles=STYLES, scripts=[])


def _header(cards: Sequence[Card], url_prefix: str) -> html.Header:
    links = [
        html.A(title, href=f"{url_prefix}/{path}", id=f"nav-{path or 'explore'}",
               **({"aria-current": "page"} if path == "lesson" else {}))
        for path, title in PAGES.items()
    ]  # fmt: skip
    return html.Header([
        html.H1(TITLE),
        html.Nav(links, **{"aria-label": "pages", "data-part": "nav"}),
        _steps(cards, url_prefix),
        html.Span(className="stretch"),
        html.A("teacher's page", href=f"{url_prefix}/lesson/teacher", **{"data-part": "nav"}),
        html.Button("copy link", id="link", title="a link that brings this screen back"),
        html.Button("full screen", id={"do": "full"}, title="full screen (f)"),
        html.Button("theme", id={"do": "theme"}, title="dark or light (t)"),
        html.Button("?", id="help-button", title="keys", **{"aria-label": "keys"}),
    ], id="bar")  # fmt: skip


def _steps(cards: Sequence[Card], url_prefix: str) -> html.Ol:
    links = []
    for number, card in enumerate(cards, 1):
        when = "" if number <= ROUTE else " (for the hour)"
        named = {"data-card": card.name, "aria-label": f"{number}: {card.title}{when}"}
        link = html.A(str(number), href=f"{url_prefix}/lesson/{card.name}", title=f"{card.title}{when}", **named)
        links.append(html.Li(link, className="more" if when else None))
    return html.Ol(links, id="steps", **{"data-part": "nav"})
