"""The HTML of the lesson: all cards, of which the screen shows one."""

from collections.abc import Sequence

from dash import html

from trs_explorer.web.lesson.card import Card
from trs_explorer.web.pages import document, keys_dialog, nav

TITLE = "Orthogonal is not enough"
STYLES = ("explorer.css", "lesson/lesson.css")
PARTS = ("controls", "question", "answer", "sources", "nav")  # that an address can hide

KEYS = (
    (
        "right / left, Page Down / Page Up",
        "the next card, the one before; a slider in focus keeps its arrows until Escape",
    ),
    ("1, 2, 3, 4", "guess"),
    ("Enter or r", "reveal"),
    ("f", "full screen"),
    ("t", "dark or light"),
    ("c", "controls away, or back"),
    ("?", "this list"),
)


def lesson_page(cards: Sequence[Card], runs: dict[str, str]) -> str:
    """Build all cards as one HTML document; the script shows the one that the address names. runs: run name to data set."""
    body = [
        html.A("Skip to the card", href="#cards", className="skip"),
        html.Header(
            [html.H1(TITLE), nav("lesson", **{"data-part": "nav"}), _steps(cards), html.Span(className="stretch"), *_buttons()],
            id="bar",
        ),
        html.Div(id="notice", role="status"),
        html.Main([_card(number, card) for number, card in enumerate(cards, 1)], id="cards"),
        keys_dialog(KEYS),
    ]
    meta = {"cards": [card.meta() for card in cards], "runs": runs}
    scripts = ["lesson/shell.js", "lesson/parts.js", *(f"lesson/{card.name}.js" for card in cards), "lesson/start.js"]
    return document(f"{TITLE} - trs lesson", body, meta, styles=STYLES, scripts=scripts)


def _steps(cards: Sequence[Card]) -> html.Ol:
    links = []
    for number, card in enumerate(cards, 1):
        named = {"data-card": card.name, "aria-label": f"{number}: {card.title}"}
        links.append(html.Li(html.A(str(number), href=f"/lesson/{card.name}", title=card.title, **named)))
    return html.Ol(links, id="steps", **{"data-part": "nav"})


def _buttons() -> list:
    return [
        html.A("teacher's page", href="/lesson/teacher", **{"data-part": "nav"}),
        html.Button("full screen", id="full", title="full screen (f)"),
        html.Button("theme", id="theme", title="dark or light (t)"),
        html.Button("?", id="help-button", title="keys", **{"aria-label": "keys"}),
    ]


def _card(number: int, card: Card) -> html.Section:
    guesses = [
        html.Li(html.Button([html.B(str(k + 1)), " ", text], **{"data-choice": str(k), "aria-pressed": "false"}))
        for k, text in enumerate(card.choices)
    ]
    question = [
        html.P(html.B(card.question)),
        html.Ol(guesses, className="choices"),
        html.Button("Reveal", className="reveal", **{"data-reveal": True}),
    ]
    sources = html.Dl([html.Dt("The paper"), html.Dd(card.paper), html.Dt("We measure"), html.Dd(card.measured)])
    paragraphs = [html.P(part) if isinstance(part, str) else part for part in card.answer]
    answer = [html.Div(paragraphs, **{"data-part": "answer"}), html.Div(sources, **{"data-part": "sources"})]
    left = [html.Div(card.stage, className="stage"), html.Div(card.controls, className="controls", **{"data-part": "controls"})]
    right = [
        html.P(card.lead, className="lead"),
        html.Div(question, **{"data-part": "question"}),
        html.Div(answer, className="answer", role="status", **{"data-after": True}),
    ]
    title = html.H2([html.Small(f"{number}"), " ", card.title], id=f"{card.name}-title", tabIndex=-1)
    return html.Section(
        [title, html.Div(left, className="left"), html.Div(right, className="right")],
        id=f"card-{card.name}", className="card", hidden=True, **{"aria-labelledby": f"{card.name}-title"},
    )  # fmt: skip
