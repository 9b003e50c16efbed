"""The card of the baseline in a real browser: curves to their end, slices after the reveal, without a run."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from lesson_screen import drawn
from web_screen import MARKS, Screen

from trs_explorer.web.lesson.baseline import RUNS

pytestmark = MARKS

SMALL = {"n": 8, "steps": 2}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CARD = "#card-baseline"


def label(screen: Screen, figure: str) -> str:
    drawn(screen, figure)
    return screen.page.locator(f"{CARD} [data-figure={figure}] [role=img]").get_attribute("aria-label")


@pytest.mark.slow
def test_strong_attacks_and_slices_are_seen_after_the_guess_only(desk: Screen) -> None:
    desk.card("baseline", SMALL)
    said = label(desk, "curves")
    assert said.count("FGSM") == 2
    assert "PGD" not in said
    assert not desk.page.locator(f"{CARD} .slices").is_visible()
    desk.page.keyboard.press("4")
    desk.page.keyboard.press("Enter")
    desk.until("lessonView.answer.figures['mnist-trs']")
    said = label(desk, "curves")
    assert [said.count(name) for name in ("FGSM", "PGD", "MORA")] == [2, 2, 2]
    assert desk.page.locator(f"{CARD} .choices [data-right]").text_content().startswith("4")
    desk.page.locator(f"{CARD} summary", has_text="the numbers").click()
    assert desk.page.locator(f"{CARD} table tbody tr").count() == 6
    assert desk.page.locator(f"{CARD} table").get_by_text("of 8").count() == 24


@pytest.mark.slow
def test_a_slice_follows_the_image_and_eps_and_is_square(desk: Screen) -> None:
    desk.card("baseline", {**SMALL, "reveal": 1})
    assert "image 8, a 5" in label(desk, RUNS[0])
    desk.page.locator(f"{CARD} [data-set='{{\"image\": 15}}']").click()
    caption = desk.page.locator(f"{CARD} [data-out={RUNS[1]}]")
    desk.until(f"document.querySelector('{CARD} [data-out={RUNS[1]}]').textContent.startsWith('image 15, a 5')")
    desk.page.locator(f"{CARD} [data-field=image] input").fill("3")
    desk.until(f"document.querySelector('{CARD} [data-out={RUNS[1]}]').textContent.startsWith('image 3, ')")
    desk.until_url(image="3")
    desk.page.locator(f"{CARD} [data-field=eps] input").focus()
    desk.page.keyboard.press("ArrowRight")
    desk.until(f"document.querySelector('{CARD} [data-out={RUNS[1]}]').textContent.includes('ε 0.25')")
    assert "off the plane" in caption.text_content()
    box = desk.page.locator(f"{CARD} [data-figure={RUNS[0]}]").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)


@pytest.mark.slow
def test_without_dverge_the_card_says_how_to_get_it_and_trs_works(screen: Screen) -> None:
    screen.card("baseline", {**SMALL, "reveal": 1})
    assert "TRS MORA" in label(screen, "curves")
    said = screen.page.locator(f"{CARD} .of").text_content()
    assert "mnist-dverge is not here" in said
    assert "trs train --method dverge --out checkpoints/mnist-dverge" in said
    assert "first 8 test images" in said


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(desk: Screen, theme: str) -> None:
    desk.card("baseline", {**SMALL, "reveal": 1, "guess": 1, "theme": theme})
    drawn(desk, "curves", *RUNS)
    found = Axe().run(desk.page, options=RULES).response["violations"]
    assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in found] == []
    desk.fits_a_phone()
