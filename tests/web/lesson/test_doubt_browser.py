"""The card of doubt in a real browser: both columns and the checks to their end, another factor, without the run."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from lesson_screen import drawn
from playwright.sync_api import BrowserContext
from web_screen import MARKS, Screen
from web_screen import screen as new_screen

from trs_explorer.shipped import folder

pytestmark = MARKS

SMALL = {"n": 10, "steps": 10, "eps": 0.25}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CARD = "#card-doubt"


def shown(screen: Screen) -> dict[str, dict[str, float]]:
    """By series, by row: what the chart shows."""
    drawn(screen, "accuracy")
    return screen.js(
        f"Object.fromEntries(document.querySelector('{CARD} [data-figure=accuracy] .js-plotly-plot').data"
        ".map((trace) => [trace.name, Object.fromEntries(trace.y.map((row, k) => [row, trace.x[k]]))]))"
    )


def test_the_reveal_multiplies_and_the_checks_speak(desk: Screen) -> None:
    desk.card("doubt", SMALL)
    before = shown(desk)["logits as they are"]
    assert len(before) == 5
    assert not desk.page.locator(f"{CARD} .checks").is_visible()
    assert not any("factor=1000" in url and "reveal=1" in url for url in desk.asked)
    desk.page.keyboard.press("2")
    desk.page.keyboard.press("r")
    desk.page.get_by_text("check 5 warns: ").wait_for()
    after = shown(desk)
    assert after["logits as they are"] == before
    scaled = after["logits x 1000"]
    assert scaled["no attack"] == before["no attack"]
    assert scaled["PGD on cross-entropy"] == scaled["no attack"] != before["PGD on cross-entropy"]
    said = desk.page.locator(f"{CARD} .checks").text_content()
    assert "input gradients are exactly zero" in said
    assert "check 8 warns: MORA" in said
    assert desk.page.locator(f"{CARD} .choices [data-right]").text_content().startswith("2")
    assert "The factor changed 0 of the ensemble's 10" in desk.page.locator(f"{CARD} .of").text_content()
    # The chart leaves room for the checks, once it has been drawn again: all of it is there.
    desk.until(
        f"(() => {{ const place = document.querySelector('{CARD} [data-figure=accuracy]');"
        " const [drawing, room] = [place.querySelector('.main-svg'), place].map((one) => one.getBoundingClientRect().bottom);"
        " return drawing <= room + 1; })()"
    )


def test_other_factors_are_measured(desk: Screen) -> None:
    desk.card("doubt", {**SMALL, "reveal": 1, "factor": 10})
    assert set(shown(desk)) == {"logits as they are", "logits x 10"}
    desk.page.get_by_role("button", name="x 1", exact=True).click()
    desk.until_url(factor="1")
    desk.until("lessonView.answer.texts.of.includes('changed 0') && lessonView.answer.done")
    series = shown(desk)
    assert series["logits x 1"] == series["logits as they are"]
    desk.page.locator(f"{CARD} [data-field=eps] input").focus()
    desk.page.keyboard.press("ArrowRight")
    desk.until("lessonView.answer.texts.of.includes('ε 0.3,')")


def test_without_the_run_the_card_says_how_to_get_it(context: BrowserContext, serve, tmp_path: Path) -> None:
    (tmp_path / "mnist-trs").symlink_to(folder("checkpoints") / "mnist-trs")
    desk = new_screen(context, serve(tmp_path).address)
    desk.card("doubt", {"reveal": 1})
    said = desk.page.locator(f"{CARD} .empty").text_content()
    assert "mnist-standard is not here" in said
    assert "trs train --method standard --out checkpoints/mnist-standard" in said
    assert desk.problems == []
    desk.page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(desk: Screen, theme: str) -> None:
    desk.card("doubt", {**SMALL, "reveal": 1, "guess": 1, "theme": theme})
    drawn(desk, "accuracy")
    found = Axe().run(desk.page, options=RULES).response["violations"]
    assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in found] == []
    desk.fits_a_phone()
