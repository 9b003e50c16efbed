"""The teacher's page: what to say and ask at each card, common misconceptions, and how to run the lesson."""

from collections.abc import Sequence

from dash import html

from trs_explorer.web.lesson.card import Card
from trs_explorer.web.lesson.page import KEYS, ROUTE, STYLES, TITLE
from trs_explorer.web.lesson.state import PARTS
from trs_explorer.web.pages import at, document, keys_table, nav


def teacher_page(cards: Sequence[Card]) -> str:
    """Build the page, to print or to show on a second screen."""
    route = sum(card.teacher.minutes for card in cards[:ROUTE])
    body = [
        html.Header([html.H1(f"{TITLE}: the teacher's page"), nav("lesson")], id="bar"),
        html.Main([
            html.P(f"The {route:g}-minute route is cards 1, 2 and {ROUTE}. The others are for an hour in which the class trains, "
                   "attacks and argues. At every card: let the class guess, by hands; reveal; then move the slider. The minutes "
                   "are a plan, not a measurement."),
            *(_notes(number, card) for number, card in enumerate(cards, 1)),
            *_running(),
        ], id="teacher"),
    ]  # fmt: skip
    return document(f"{TITLE}: the teacher's page", body, {}, styles=STYLES, scripts=[])


def _notes(number: int, card: Card) -> html.Section:
    notes = card.teacher
    entries = (("Say", notes.say), ("Ask", f"{card.question} {notes.ask}"), ("What the class usually gets wrong", notes.wrong))
    return html.Section([
        html.H2([f"{number} ", html.A(card.title, href=at(f"/lesson/{card.name}")), f" ({notes.minutes:g} min)"]),
        html.Dl([part for name, text in entries for part in (html.Dt(name), html.Dd(text))]),
    ])  # fmt: skip


def _running() -> list:
    return [
        html.Section([
            html.H2("How to run it"),
            html.P("trs lesson opens the first card in the browser. It needs no network: all it shows is computed on this "
                   "machine, or ships with trs-explorer. Switch the network off and try it the day before."),
            html.P("Ahead of time: open card 3 once and let it train (it takes seconds), and cards 5 to 7: runs get loaded."),
            html.P(["For students' own machines on the same network: ", html.Code("trs lesson --host 0.0.0.0"),
                    " prints a link with a token. It can change nothing on your machine, but all of them share its processor."]),
        ]),
        html.Section([html.H2("Keys"), keys_table(KEYS)]),
        html.Section([
            html.H2("Lock and hide by the address"),
            html.P("The whole state of a card is in its address: what you see when you copy it, your class sees."),
            html.Ul([
                html.Li([html.Code("?lock=1"), ": nothing can be moved; guesses and the reveal still work"]),
                html.Li([html.Code("?hide=controls"), f": hide parts, several with commas: {', '.join(PARTS)}"]),
                html.Li([html.Code("?reveal=1"), ": already revealed; ", html.Code("?guess=2"), ": the second choice taken"]),
                html.Li([html.Code("/lesson/zigzag?tooth=0.05&lock=1&hide=answer,sources"), ": a question for a test"]),
            ]),
        ]),
    ]  # fmt: skip
