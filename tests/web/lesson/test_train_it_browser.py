"""Card three in a real browser: two networks that are trained while one looks on."""

from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from web_screen import MARKS, Screen

from trs_explorer.explore.two_nets import CORNERS

pytestmark = MARKS
NAMES = ("lambda_a", "neighbours", "smooth")
LABEL = "document.querySelector('#card-train-it canvas').getAttribute('aria-label')"
PIXELS = "(() => { const c = document.querySelector('#card-train-it canvas'); return c.toDataURL(); })()"


def card(screen: Screen, name: str = "train-it", **fields: object) -> Screen:
    screen.page.goto(f"{screen.address}lesson/{name}?{urlencode(fields)}")
    screen.until("window.lesson && lesson.meta")
    return screen


def trained(screen: Screen, count: int = 1) -> list[Mapping[str, object]]:
    """Wait until so many pairs were trained here; those."""
    screen.until("(count) => lesson.pairs.length >= count && !lesson.training.busy()", count)
    return screen.js("lesson.pairs")


def text(screen: Screen, out: str) -> str:
    return screen.page.locator(f"#card-train-it [data-out={out}]").first.text_content()


@pytest.mark.slow
def test_two_networks_are_trained_while_one_looks_on(screen: Screen) -> None:
    card(screen, seed=11)
    screen.until(f"{LABEL}.includes('at step 0 of 800')")
    assert "not trained yet" in text(screen, "step")
    untrained = screen.js(PIXELS)
    screen.page.locator("#train").click()
    screen.until("document.getElementById('training-bar').value > 0")
    first = screen.js(f"[document.getElementById('training-bar').value, {PIXELS}]")
    screen.until("(first) => document.getElementById('training-bar').value > first", first[0])
    second = screen.js(f"[document.getElementById('training-bar').value, {PIXELS}]")
    assert 0 < first[0] < second[0] < 800
    assert len({untrained, first[1], second[1]}) == 3  # the boundaries move
    assert not screen.page.locator("#card-train-it [data-out=share]").is_visible()
    (pair,) = trained(screen)
    assert (pair["seed"], pair["corner"], pair["n"]) == (11, "cos", 400)
    assert f"|cos| at the points {pair['cosine']:.3f}" == text(screen, "now")
    bare = screen.js(PIXELS)
    screen.page.keyboard.press("r")
    screen.until("document.querySelector('#card-train-it [data-out=share]').checkVisibility()")
    assert text(screen, "share") == f"{100 * pair['fooled'] / pair['eligible']:.0f}\u00a0%"
    low, high = pair["interval"]
    assert f"{pair['fooled']} of {pair['eligible']} attacks" in text(screen, "counts")
    assert f"95 %: {100 * low:.0f}\u00a0% to {100 * high:.0f}\u00a0%" in text(screen, "counts")
    assert screen.js(PIXELS) != bare  # now with the attacks
    assert "26 attacks that fool F" in screen.js(LABEL)
    row = [cell.text_content() for cell in screen.page.locator("#trained-here tr > *").all()]
    assert row[:3] == ["cos", "11", f"{pair['cosine']:.3f}"]


def test_corners_set_the_sliders_and_train_nothing(screen: Screen) -> None:
    card(screen, seed=12)
    for corner, weights in CORNERS.items():
        button = screen.page.get_by_role("button", name=corner, exact=True)
        button.click()
        shown = [screen.page.locator(f"#card-train-it input[data-field={name}]").input_value() for name in NAMES]
        assert [float(value) for value in shown] == list(weights)
        assert button.get_attribute("aria-pressed") == "true"
    screen.until("new URLSearchParams(location.search).get('smooth') === '0.02'")
    assert "not trained yet" in text(screen, "step")
    assert screen.js("lesson.training.busy()") is False
    assert screen.js("lesson.pairs") == []


@pytest.mark.slow
def test_the_newest_training_is_the_one_that_is_shown(screen: Screen) -> None:
    card(screen, seed=13)
    screen.page.locator("#train").click()
    screen.until("document.getElementById('training-bar').value > 0")
    screen.page.locator("#card-train-it input[data-field=seed]").fill("14")
    screen.page.locator("#train").click()
    pairs = trained(screen)
    assert [pair["seed"] for pair in pairs] == [14]
    assert "seed 14: trained in" in text(screen, "step")
    assert screen.notice == ""  # the older one was stopped by its own page
    # What was trained is found again, and the table outlives a new load.
    card(screen, seed=14)
    screen.until(f"{LABEL}.includes('at step 800 of 800')")
    card(screen, seed=16)
    screen.until(f"{LABEL}.includes('at step 0 of 800')")
    assert [pair["seed"] for pair in screen.js("lesson.pairs")] == [14]
    assert screen.page.locator("#trained-here tr").count() == 1


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
    assert screen.page.locator("#train").is_disabled()
    assert screen.page.locator("#train-all").is_disabled()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_and_can_be_used_by_everyone(screen: Screen, theme: str) -> None:
    def load() -> None:
        card(screen, theme=theme)
        screen.until(f"{LABEL}.includes('at step')")

    screen.fits_every_window(load)
