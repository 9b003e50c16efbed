"""The card of real images in a real browser: attacked, revealed, without a run, locked, left."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from lesson_screen import are_cancelled, drawn, eventually, running
from web_screen import MARKS, Screen

pytestmark = MARKS

SMALL = {"n": 12, "steps": 2}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CARD = "#card-images"


def cell(screen: Screen, run: str, column: int) -> str:
    return screen.page.locator(f"{CARD} tr[data-run={run}] > *").nth(column).text_content()


def test_a_student_attacks_and_the_reveal_attacks_cos_only(desk: Screen) -> None:
    desk.card("images", SMALL)
    drawn(desk, "transfer")
    assert " of " in cell(desk, "mnist-standard", 2)  # so that the picture is not empty
    assert cell(desk, "mnist-trs", 2) == "not attacked yet"
    desk.page.get_by_role("button", name="TRS", exact=True).click()
    desk.until_url(attacked="mnist-standard,mnist-trs")
    assert desk.page.get_by_role("button", name="TRS", exact=True).get_attribute("aria-pressed") == "true"
    desk.until(
        f"document.querySelector('{CARD} [data-figure=transfer] .js-plotly-plot')?.data.some((trace) => trace.name === 'TRS')"
    )
    drawn(desk, "transfer")
    # What is to be guessed is nowhere to be seen, nor has it been sent.
    assert not desk.page.locator(f"{CARD} [data-figure=robust]").is_visible()
    assert "robust" not in desk.js("Object.keys(lessonView.answer.figures)")
    assert cell(desk, "mnist-cos-only", 2) == "not attacked yet"
    desk.page.keyboard.press("3")
    desk.page.keyboard.press("r")
    desk.until("lessonView.answer.figures.robust?.data?.[0].x.length === 4")
    drawn(desk, "transfer", "robust")
    headline = desk.page.locator(f"{CARD} [data-out=headline]").text_content()
    share = float(cell(desk, "mnist-cos-only", 2).split()[0])
    assert f"mean |cos| {cell(desk, 'mnist-cos-only', 1)}), and {share:.0f} % of the MDI²-FGSM images" in headline
    assert cell(desk, "mnist-trs", 3).endswith(" of 12")
    assert desk.page.locator(f"{CARD} .choices [data-right]").text_content().startswith("3")


def test_another_attack_and_another_eps_are_measured_anew(desk: Screen) -> None:
    desk.card("images", {**SMALL, "attacked": "mnist-trs"})
    drawn(desk, "transfer")
    desk.page.get_by_role("button", name="PGD", exact=True).click()
    desk.until("lessonView.answer.done && lessonView.answer.texts.of.startsWith('PGD on members')")
    assert "transfer by PGD" in desk.page.locator(f"{CARD} [data-figure=transfer] [role=img]").get_attribute("aria-label")
    desk.page.locator(f"{CARD} [data-field=eps] input").focus()
    desk.page.keyboard.press("ArrowLeft")
    desk.until("lessonView.answer.done && lessonView.answer.texts.of.includes('ε 0.25')")


def test_without_a_run_the_card_says_how_to_get_it_and_the_rest_works(screen: Screen) -> None:
    """`explorer` has neither cos-only nor smooth-only."""
    screen.card("images", {**SMALL, "reveal": 1})
    drawn(screen, "transfer", "robust")
    said = screen.page.locator(f"{CARD} .of").text_content()
    assert "mnist-cos-only is not here" in said
    assert "trs train --method cos-only --out checkpoints/mnist-cos-only" in said
    assert "of 12" in cell(screen, "mnist-trs", 3)


def test_a_locked_card_can_only_be_guessed(desk: Screen) -> None:
    desk.card("images", {**SMALL, "attacked": "mnist-trs", "lock": 1})
    assert desk.page.get_by_role("button", name="all three", exact=True).is_disabled()
    assert desk.page.locator(f"{CARD} [data-field=eps] input").is_disabled()
    desk.page.keyboard.press("Control+2")  # the browser's own
    desk.settled()
    assert desk.page.locator(f"{CARD} [aria-pressed=true][data-choice]").count() == 0
    desk.page.keyboard.press("2")
    desk.page.locator(f"{CARD} [aria-pressed=true][data-choice]").wait_for()


def test_what_a_card_measures_ends_when_it_is_left_and_begins_again_when_one_is_back(desk: Screen) -> None:
    desk.card("images", {**SMALL, "n": 900, "steps": 50, "seed": 77, "reveal": 1})
    desk.until("lessonView.answer.texts.of.includes('Measuring')")
    eventually(running)
    measured = running()
    desk.page.keyboard.press("ArrowLeft")
    desk.turned("theorem")
    eventually(lambda: are_cancelled(measured))
    desk.page.go_back()
    desk.turned("images")
    eventually(running)
    measured = running()
    desk.page.goto("about:blank")  # the tab goes elsewhere
    eventually(lambda: are_cancelled(measured))
    desk.page.wait_for_timeout(300)
    assert running() == []  # nor is it begun again by a request that was on its way


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(desk: Screen, theme: str) -> None:
    desk.card("images", {**SMALL, "reveal": 1, "guess": 1, "theme": theme})
    drawn(desk, "transfer", "robust")
    found = Axe().run(desk.page, options=RULES).response["violations"]
    assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in found] == []
    desk.fits_a_phone()
