"""Card four in a real browser: the six corners, the bounds, and what was trained here."""

from statistics import mean
from urllib.parse import urlencode

import pytest
from web_screen import MARKS, Screen

from trs_explorer.explore.two_nets import CORNERS
from trs_explorer.web.lesson.ten_seeds import stored

pytestmark = MARKS
LABEL = "document.querySelector('#card-theorem canvas').getAttribute('aria-label')"


def card(screen: Screen, **fields: object) -> Screen:
    screen.page.goto(f"{screen.address}lesson/theorem?{urlencode(fields)}")
    screen.until(f"window.lesson && lesson.meta && {LABEL}.includes('Means of ten seeds')")
    return screen


def rows(screen: Screen) -> list[list[str]]:
    return screen.js(
        "[...document.querySelectorAll('#bounds tr')].map((row) => [...row.children].map((cell) => cell.textContent))"
    )


def test_all_corners_stand_there_and_the_transfers_after_the_guess(screen: Screen) -> None:
    card(screen)
    assert all(f"{letter}, {corner}: cosines from" in screen.js(LABEL) for letter, corner in zip("ABCDEF", CORNERS, strict=True))
    assert "transfer" not in screen.js(LABEL)
    assert not screen.page.locator("#bounds").is_visible()
    screen.page.keyboard.press("1")
    screen.page.keyboard.press("r")
    screen.until("document.getElementById('bounds').checkVisibility()")
    found = rows(screen)
    assert [row[:2] for row in found] == [list(pair) for pair in zip("ABCDEF", CORNERS, strict=True)]
    for row, corner in zip(found, CORNERS, strict=True):
        seeds = [one for one in stored() if one["corner"] == corner and one["seed"] < 10]
        assert row[2] == f"{mean(one['cosine'] for one in seeds):.3f}"
        assert float(row[4]) == pytest.approx(mean(one["beta"] for one in seeds), abs=0.51)
        assert row[5:7] == ["vacuous", "vacuous"]
        assert row[7] == f"{mean(one['promised'] for one in seeds):.3f}"
        assert row[8] == f"{sum(one['within'][0] for one in seeds)} of 8000"
        assert row[9].endswith(f": {sum(one['transferred'] for one in seeds)} of 8000")
    assert "B, smoothness: cosines from 1 to 1, beta 8.4, transfer 100" in screen.js(LABEL)


@pytest.mark.slow
def test_one_more_is_trained_here(screen: Screen) -> None:
    card(screen, seed=15, reveal=1)
    screen.page.locator("#card-theorem button", has_text="all three").click()
    screen.until("document.querySelector('#card-theorem [data-out=training]').textContent === 'training all three, seed 15'")
    screen.until("lesson.pairs.length === 1 && !lesson.training.busy()")
    (pair,) = screen.js("lesson.pairs")
    last = rows(screen)[-1]
    assert last[:2] == ["F", "all three, seed 15"]
    assert last[9].endswith(f": {pair['transferred']} of 800")
    assert "1 trained here" in screen.js(LABEL)
    assert screen.js("lesson.name") == "theorem"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_and_can_be_used_by_everyone(screen: Screen, theme: str) -> None:
    screen.fits_every_window(lambda: card(screen, theme=theme))
