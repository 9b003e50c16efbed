"""The words of the two cards that are computed in the browser."""

import json
from html.parser import HTMLParser

import pytest

from trs_explorer.evaluation.intervals import wilson
from trs_explorer.web.lesson import one_attack, zigzag
from trs_explorer.web.lesson.card import Card
from trs_explorer.web.lesson.deck import CARDS
from trs_explorer.web.lesson.page import card_section
from trs_explorer.web.lesson.state import parse_address
from trs_explorer.web.markup import markup

EMPTY = ("br", "input", "meta", "link")


class Page(HTMLParser):
    """Every element of a page, with those around it; the innermost last."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.around: list[tuple[str, dict]] = []
        self.found: list[list[dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = dict(attrs)
        self.found.append([*(one for _, one in self.around), element])
        if tag not in EMPTY:
            self.around.append((tag, element))

    def handle_endtag(self, tag):
        assert self.around.pop()[0] == tag


def page_of(card: Card) -> Page:
    """The card's elements; those that the browser fills in have their content within them."""
    found = Page(markup(card_section(parse_address(CARDS, f"/lesson/{card.name}", ""), 1)))
    for path in list(found.found):
        found.found += [[*path, *inner] for inner in Page(path[-1].get("data-html") or "").found]
    return found


@pytest.mark.parametrize("card", [one_attack.CARD, zigzag.CARD], ids=lambda card: card.name)
def test_no_number_of_the_answer_is_seen_before_the_guess(card: Card) -> None:
    """What the script writes stands where only the reveal shows it; a control may say what it is set to."""
    written = [path for path in page_of(card).found if "data-out" in path[-1]]
    assert len(written) > 2
    for *around, element in written:
        is_hidden = any("data-after" in one for one in around)
        of_a_control = any(one.get("class") == "controls" for one in around)
        assert is_hidden or of_a_control, element["data-out"]
        assert not of_a_control or element["data-out"] in ("cos", "ratio")


@pytest.mark.parametrize("card", [one_attack.CARD, zigzag.CARD], ids=lambda card: card.name)
def test_every_field_begins_on_its_slider(card: Card) -> None:
    inputs = [path for path in page_of(card).found if path[-1].get("type") == "range"]
    bars = {one["data-field"]: path[-1] for path in inputs for one in path if "data-field" in one}
    assert set(bars) == set(card.fields)
    for name, bar in bars.items():
        low, high, step = (float(bar[key]) for key in ("min", "max", "step"))
        steps = (card.fields[name] - low) / step
        assert low <= card.fields[name] <= high
        assert steps == pytest.approx(round(steps), abs=1e-9)
        assert float(bar["value"]) == card.fields[name]


def test_the_intervals_that_the_browser_looks_up_are_wilsons() -> None:
    lows = json.loads(zigzag.interval_table())
    assert [len(row) for row in lows] == list(range(1, zigzag.POINTS + 2))
    for n, row in enumerate(lows):
        for k, low in enumerate(row):
            assert (low, 1 - row[n - k]) == pytest.approx(wilson(k, n), abs=1e-6)
