"""The HTML of the lesson: all cards, of which the screen shows one."""

from collections.abc import Sequence

from dash import html

from trs_explorer.web.lesson.card import Card
from trs_explorer.web.markup import Html
from trs_explorer.web.pages import at, document, keys_dialog, nav

TITLE = "Orthogonal is not enough"
STYLES = ("explorer.css", "lesson/lesson.css")
PARTS = ("controls", "question", "answer", "sources", "nav")  # that an address can hide

ROUTE = 3  # cards of the five-minute route: the first ones

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


def lesson_page(cards: Sequence[Card]) -> str:
    """Build all cards as one HTML document; the script shows the one that the address names."""
    body = [
        html.A("Skip to the card", href="#cards", className="skip"),
        html.Header(
            [html.H1(TITLE), nav("lesson", **{"data-part": "nav"}), _steps(cards), html.Span(className="stretch"), *_buttons()],
            id="bar",
        ),
        html.Div(id="notice", role="status"),
        html.Main([_card(number, card) for number, card in enumerate(cards, 1)], id="cards"),
        keys_dialog(KEYS),
        Html(f'<script type="module" src="{at("/assets/lesson/start.js")}"></script>'),
    ]
    meta = {"cards": [card.meta() for card in cards]}
    return document(f"{TITLE} - trs lesson", body, meta, styles=STYLES, scripts=[])


def unknown_card_page(cards: Sequence[Card], name: str) -> str:
    """Build the page for an address that names no card: a sentence, and the way to all cards."""
    links = [html.Li(html.A(card.title, href=at(f"/lesson/{card.name}"))) for card in cards]
    first = html.A("Start with card 1.", href=at(f"/lesson/{cards[0].name}"))
    body = [
        html.Header([html.H1(TITLE), nav("lesson"), _steps(cards)], id="bar"),
        html.Main([html.P([f"There is no card called {name[:40]!r}. ", first]), html.Ol(links)], id="teacher"),
    ]
    return document(f"{TITLE} - trs lesson", body, {}, styles=STYLES, scripts=["lesson/theme.js"])


def _steps(cards: Sequence[Card]) -> html.Ol:
    links = []
    for number, card in enumerate(cards, 1):
        when = "" if number <= ROUTE else " (for the hour)"
        named = {"data-card": card.name, "aria-label": f"{number}: {card.title}{when}"}
        link = html.A(str(number), href=at(f"/lesson/{card.name}"), title=f"{card.title}{when}", **named)
        links.append(html.Li(link, className="more" if when else None))
    return html.Ol(links, id="steps", **{"data-part": "nav"})


def _buttons() -> list:
    return [
        html.A("teacher's page", href=at("/lesson/teacher"), **{"data-part": "nav"}),
        html.Button("full screen", id="full", title="full screen (f)"),
        html.Button("theme", id="theme", title="dark or light (t)"),
        html.Button("?", id="help-button", title="keys", **{"aria-label": "keys"}),
    ]


def _card(number: int, card: Card) -> html.Section:
    guesses = [
        html.Li(html.Button([html.B(str(k + 1)), " ", text], **{"data-choice": str(k), "aria-pressed": "false"}))
        for k, text in enumerate(card.choices)
    ]
    asked = [
        html.P(card.lead, className="lead"),
        html.P(html.B(card.question, className="question")),
        html.Ol(guesses, className="choices"),
    ]
    line = html.Button("", className="line", hidden=True, title="the question and the choices", **{"data-unfold": True})
    question = [html.Div(asked, className="asked"), line, html.Button("Reveal", className="reveal", **{"data-reveal": True})]
    facts = html.Dl([html.Dt("The paper"), html.Dd(card.paper), html.Dt("We measure"), html.Dd(card.measured)])
    sources = html.Details([html.Summary("what the paper says, what we measure"), facts], **{"data-part": "sources"})
    paragraphs = [html.P(part) if isinstance(part, str) else part for part in card.answer]
    answer = [html.Div(paragraphs, **{"data-part": "answer"}), sources]
    left = [html.Div(card.stage, className="stage"), html.Div(card.controls, className="controls", **{"data-part": "controls"})]
    right = [
        html.Div(question, **{"data-part": "question"}),
        html.Div(answer, className="answer", role="status", **{"data-after": True}),
    ]
    title = html.H2([html.Small(f"{number}"), " ", card.title], id=f"{card.name}-title", tabIndex=-1)
    return html.Section(
        [title, html.Div(left, className="left"), html.Div(right, className="right")],
        id=f"card-{card.name}", className="card", hidden=True, **{"aria-labelledby": f"{card.name}-title"},
    )  # fmt: skip
