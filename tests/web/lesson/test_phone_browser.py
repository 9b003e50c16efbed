"""The lesson on a phone: nothing is cut, and what scrolls shows that it does."""

import pytest
from lesson_screen import drawn
from web_screen import MARKS, Screen

from trs_explorer.web.lesson.deck import CARDS
from trs_explorer.web.lesson.doubt import ROWS

pytestmark = MARKS
NAMES = [card.name for card in CARDS]


@pytest.mark.parametrize("name", NAMES)
def test_on_a_phone_nothing_is_wider_than_the_window(screen: Screen, name: str) -> None:
    screen.page.set_viewport_size({"width": 400, "height": 800})
    screen.page.goto(f"{screen.address}lesson/{name}?reveal=1")
    screen.turned(name)
    assert screen.js("document.scrollingElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("name", NAMES)
def test_on_a_phone_a_sliders_value_stands_beside_it(screen: Screen, name: str) -> None:
    screen.page.set_viewport_size({"width": 375, "height": 812})
    screen.page.goto(f"{screen.address}lesson/{name}?reveal=1")
    screen.turned(name)
    middles = screen.js(
        "[...document.querySelectorAll('.slider')].map((slider) => ['input', 'output'].map((part) => {"
        " const {top, bottom} = slider.querySelector(part).getBoundingClientRect(); return (top + bottom) / 2; }))"
    )
    assert all(abs(control - value) < 12 for control, value in middles), middles
    assert middles or name == "theorem"


def test_on_a_phone_the_bounds_scroll_in_their_box(screen: Screen) -> None:
    screen.page.set_viewport_size({"width": 375, "height": 812})
    screen.card("theorem", {"reveal": 1})
    screen.page.locator("#bounds").wait_for()
    box = screen.page.locator("#card-theorem .scrolling")
    assert box.evaluate("(e) => e.scrollWidth - e.clientWidth") > 50
    assert "gradient" in box.evaluate("(e) => getComputedStyle(e).backgroundImage")  # its shadow
    box.focus()
    assert box.evaluate("(e) => e === document.activeElement")


def test_on_a_phone_the_teachers_page_is_not_wider_than_the_window(screen: Screen) -> None:
    screen.page.set_viewport_size({"width": 375, "height": 812})
    screen.page.goto(f"{screen.address}lesson/teacher")
    assert screen.js("document.scrollingElement.scrollWidth") == 375


def test_on_a_phone_the_names_of_the_curves_are_whole(desk: Screen) -> None:
    desk.page.set_viewport_size({"width": 375, "height": 812})
    desk.card("baseline", {"n": 8, "steps": 2})
    drawn(desk, "curves")
    ends = "(e) => [...e.querySelectorAll('.annotation-text')].map((one) => one.getBoundingClientRect().right)"
    found = desk.page.locator("#card-baseline [data-figure=curves]").evaluate(ends)
    assert len(found) == 2
    assert max(found) <= 375 - 19  # the card's padding


def test_on_a_phone_every_row_of_the_bars_has_its_whole_name(desk: Screen) -> None:
    desk.page.set_viewport_size({"width": 375, "height": 812})
    desk.card("doubt", {"n": 8, "steps": 2})
    drawn(desk, "accuracy")
    seen = "(e) => [...e.querySelectorAll('.ytick text')].map((one) => [one.textContent, one.getBoundingClientRect().width])"
    found = desk.page.locator("#card-doubt [data-figure=accuracy]").evaluate(seen)
    assert {name.replace(" ", "") for name, _ in found} == {row.replace(" ", "") for row in ROWS}
    assert all(0 < width < 160 for _, width in found), found
