"""Card three in a real browser: two networks that are trained while one looks on."""

from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from lesson_screen import are_cancelled, drawn, eventually, running
from web_screen import MARKS, Screen

from trs_explorer.explore.two_nets import CORNERS

pytestmark = MARKS
NAMES = ("lambda_a", "neighbours", "smooth")
CARD = "#card-train-it"
LABEL = f"document.querySelector('{CARD} [data-figure=plane] [role=img]')?.getAttribute('aria-label')"
STEP = f"document.querySelector('{CARD} progress')?.value"
BOUNDARY = f"document.querySelector('{CARD} [data-figure=plane] .contourlayer path').getAttribute('d')"


def card(screen: Screen, name: str = "train-it", **fields: object) -> Screen:
    screen.page.goto(f"{screen.address}lesson/{name}?{urlencode(fields)}")
    screen.until("window.lessonView?.state")
    return screen


def trained(screen: Screen, which: str) -> Mapping[str, str]:
    """Wait until a pair is trained; what the card says of it."""
    screen.until("(which) => lessonView.answer.texts.step.startsWith(`${which}: trained in`)", which)
    return screen.js("lessonView.answer.texts")


def text(screen: Screen, out: str) -> str:
    return screen.page.locator(f"{CARD} [data-out={out}]").first.text_content()


@pytest.mark.slow
def test_two_networks_are_trained_while_one_looks_on(screen: Screen) -> None:
    card(screen, seed=11)
    drawn(screen, "plane")
    assert "at step 0 of 800" in screen.js(LABEL)
    assert "not trained yet" in text(screen, "step")
    boundaries = [screen.js(BOUNDARY)]
    screen.page.get_by_role("button", name="Train", exact=True).click()
    for _ in range(2):
        before = screen.js(STEP)
        screen.until(f"(before) => {STEP} > before", before)
        screen.until(f"(before) => {BOUNDARY} !== before", boundaries[-1])
        boundaries.append(screen.js(BOUNDARY))
    assert screen.js(STEP) < 800
    assert len(set(boundaries)) == 3  # they move
    assert not screen.page.locator(f"{CARD} [data-out=forth]").is_visible()
    trained(screen, "cos, seed 11")
    assert "attacks" not in screen.js(LABEL)
    screen.page.keyboard.press("r")
    screen.until("lessonView.answer.texts.forth")
    screen.until(f"{LABEL}.includes('attacks that fool F')")
    assert text(screen, "forth").endswith("\u00a0%")
    assert "F → G: " in text(screen, "forthOf")
    assert "G → F: " in text(screen, "backOf")
    row = [cell.text_content() for cell in screen.page.locator(f"{CARD} .trained tbody tr > *").all()]
    assert row[:2] == ["cos", "11"]
    assert row[4:] == [text(screen, "forth"), text(screen, "back")]


def test_corners_set_the_sliders_and_train_nothing(screen: Screen) -> None:
    card(screen, seed=12)
    for corner, weights in CORNERS.items():
        button = screen.page.get_by_role("button", name=corner, exact=True)
        button.click()
        screen.until(
            "([names, weights]) => names.every((name, k) =>"
            f" Number(document.querySelector(`{CARD} [data-field=${{name}}] input`).value) === weights[k])",
            [NAMES, weights],
        )
        assert button.get_attribute("aria-pressed") == "true"
    screen.until("new URLSearchParams(location.search).get('smooth') === '0.02'")
    screen.until("lessonView.answer.texts.step === 'all three, seed 12: not trained yet'")


@pytest.mark.slow
def test_the_newest_training_is_the_one_that_is_shown_and_the_table_outlives_a_new_load(screen: Screen) -> None:
    card(screen, seed=13)
    train = screen.page.get_by_role("button", name="Train", exact=True)
    train.click()
    screen.until(f"{STEP} > 0")
    screen.page.locator(f"{CARD} [data-field=seed] input").fill("14")
    train.click()
    trained(screen, "cos, seed 14")
    assert screen.notice == ""  # the older one was stopped by its own page
    card(screen, seed=14)
    screen.until(f"{LABEL}?.includes('at step 800 of 800')")
    card(screen, seed=16, reveal=1)
    screen.until(f"{LABEL}?.includes('at step 0 of 800')")
    assert [cell.text_content() for cell in screen.page.locator(f"{CARD} .trained tbody td:nth-child(2)").all()] == ["14"]


def test_a_training_ends_when_the_card_is_left(screen: Screen) -> None:
    card(screen, seed=17)
    screen.page.get_by_role("button", name="Train", exact=True).click()
    screen.until(f"{STEP} > 0")
    training = running()
    screen.page.keyboard.press("ArrowRight")
    screen.turned("theorem")
    eventually(lambda: are_cancelled(training))
    assert screen.page.locator("#card-theorem [data-out=training]").text_content() == ""


def test_a_bad_address_is_told(screen: Screen) -> None:
    card(screen, lambda_a="1e99", neighbours="nan", smooth="-1", seed="seven")
    assert screen.notice.split("\n") == [
        "lambda_a takes a number from 0 to 1, got 1e99: showing 1",
        "neighbours takes a number from 0 to 1, got nan: showing 0",
        "smooth takes a number from 0 to 0.5, got -1: showing 0",
        "seed takes a number from 0 to 999999, got seven: showing 0",
    ]
    card(screen, seed="1.5")
    screen.until("document.getElementById('notice').textContent")
    assert screen.notice == "seed takes a whole number, got 1.5"


def test_locked_nothing_can_be_trained(screen: Screen) -> None:
    card(screen, lock=1)
    assert screen.page.get_by_role("button", name="Train", exact=True).is_disabled()
    assert screen.page.get_by_role("button", name="Train all six").is_disabled()


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_it_fits_and_can_be_used_by_everyone(screen: Screen, theme: str) -> None:
    def load() -> None:
        card(screen, theme=theme)
        drawn(screen, "plane")

    screen.fits_every_window(load)
