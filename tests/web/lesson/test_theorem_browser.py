"""Card four in a real browser: the six settings, the bounds, and what was trained here."""

import pytest
from lesson_screen import drawn
from web_screen import MARKS, Screen

from trs_explorer.explore.two_nets import CORNERS
from trs_explorer.web.lesson.theorem import NUMBERS

pytestmark = MARKS
LABEL = "document.querySelector('#card-theorem [data-figure=cosines] [role=img]').getAttribute('aria-label')"


def card(screen: Screen, **fields: object) -> Screen:
    screen.card("theorem", fields)
    drawn(screen, "cosines")
    return screen


def rows(screen: Screen) -> list[list[str]]:
    return screen.js(
        "[...document.querySelectorAll('#bounds tr')].map((row) => [...row.children].map((cell) => cell.textContent))"
    )


def test_all_settings_are_there_and_the_transfers_after_the_guess(screen: Screen) -> None:
    card(screen)
    assert all(f"{number}: cosines" in screen.js(LABEL) for number in NUMBERS)
    assert "%" not in screen.js(LABEL)
    assert screen.page.locator("#bounds").count() == 0
    screen.page.keyboard.press("1")
    screen.page.keyboard.press("r")
    screen.page.locator("#bounds").wait_for()
    assert [row[:2] for row in rows(screen)] == [list(pair) for pair in zip(NUMBERS, CORNERS, strict=True)]
    assert "II: 100\u00a0%: cosines 1.00 to 1.00, beta 8 to 9" in screen.js(LABEL)


@pytest.mark.slow
def test_one_more_is_trained_here(screen: Screen) -> None:
    card(screen, seed=15, reveal=1)
    screen.page.locator("#card-theorem button", has_text="all three").click()
    screen.until("document.querySelector('#card-theorem [data-out=training]').textContent === 'training all three, seed 15'")
    screen.until("document.querySelector('#card-theorem [data-out=training]').textContent === 'done'")
    assert rows(screen)[-1][:2] == ["VI", "all three, seed 15"]
    assert "1 trained here" in screen.js(LABEL)
    assert screen.js("lessonView.shown") == "theorem"


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_it_fits_and_can_be_used_by_everyone(screen: Screen, theme: str) -> None:
    screen.fits_every_window(lambda: card(screen, theme=theme))
