"""The card of doubt in a real browser: both columns and the checks to their end, another factor, without the run."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext
from web_screen import MARKS, Screen
from web_screen import screen as new_screen

from trs_explorer.shipped import folder

pytestmark = MARKS

SMALL = {"n": 10, "steps": 10, "eps": 0.25}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CARD = "#card-doubt"


def done(screen: Screen, *factors: int) -> None:
    screen.until("(factors) => factors.every((factor) => lesson.cards.doubt.found[factor]?.done)", factors)


def column(screen: Screen, *, loud: bool) -> list[str]:
    cells = f"{CARD} td[data-rate]" + ("[data-after]" if loud else ":not([data-after])")
    return screen.page.locator(cells).all_text_contents()


def test_the_reveal_multiplies_and_the_checks_speak(desk: Screen) -> None:
    desk.card("doubt", SMALL)
    done(desk, 1)
    before = column(desk, loud=False)
    assert len(before) == 5
    assert all(" of 10" in text for text in before)
    assert not desk.page.locator(f"{CARD} .checks").is_visible()
    assert not any("factor=1000" in url for url in desk.asked)
    desk.page.keyboard.press("2")
    desk.page.keyboard.press("r")
    done(desk, 1000)
    after = column(desk, loud=True)
    assert column(desk, loud=False) == before
    assert after[0] == before[0]  # no attack
    assert after[1] == after[0] != before[1]  # PGD on cross-entropy
    assert " of 10" in after[4]
    said = desk.page.locator(f"{CARD} .checks").text_content()
    assert "check 5 warns: " in said
    assert "input gradients are exactly zero" in said
    assert "check 8 warns: MORA" in said
    assert desk.page.locator(f"{CARD} .choices .right").text_content().startswith("2")
    assert "The factor changed 0 of 10" in desk.page.locator(f"{CARD} .of").text_content()


def test_other_factors_are_measured_and_what_is_known_is_not_asked_again(desk: Screen) -> None:
    desk.card("doubt", {**SMALL, "reveal": 1, "factor": 10})
    done(desk, 1, 10)
    assert desk.page.locator(f"{CARD} th output").text_content() == "10"
    desk.page.get_by_role("button", name="x 1", exact=True).click()
    desk.until_url(factor="1")
    assert column(desk, loud=True) == column(desk, loud=False)
    asked = len(desk.asked)
    desk.page.get_by_role("button", name="x 10", exact=True).click()
    desk.until_url(factor="10")
    assert " of 10" in column(desk, loud=True)[4]
    assert len(desk.asked) == asked
    desk.page.locator(f"{CARD} input[data-field=eps]").focus()
    desk.page.keyboard.press("ArrowRight")
    done(desk, 1, 10)
    assert "eps 0.3," in desk.page.locator(f"{CARD} .of").text_content()


def test_without_the_run_the_card_says_how_to_get_it(context: BrowserContext, serve, tmp_path: Path) -> None:
    (tmp_path / "mnist-trs").symlink_to(folder("checkpoints") / "mnist-trs")
    desk = new_screen(context, serve(tmp_path).address)
    desk.card("doubt", {"reveal": 1})
    said = desk.page.locator(f"{CARD} .of").text_content()
    assert "mnist-standard is not here" in said
    assert "trs train --method standard --out checkpoints/mnist-standard" in said
    assert [url for url in desk.asked if "/attack" in url] == desk.problems == []
    desk.page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(desk: Screen, theme: str) -> None:
    desk.card("doubt", {**SMALL, "reveal": 1, "guess": 1, "theme": theme})
    done(desk, 1, 1000)
    found = Axe().run(desk.page, options=RULES).response["violations"]
    assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in found] == []
    desk.fits_a_phone()
