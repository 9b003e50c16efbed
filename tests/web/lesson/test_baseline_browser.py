"""The card of the baseline in a real browser: curves to their end, slices after the reveal, without a run."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from web_explorer import Explorer
from web_screen import MARKS, Screen

from trs_explorer.attacks.fgsm import fgsm
from trs_explorer.attacks.mora import mora
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.web.figures import CLASS_COLOURS
from trs_explorer.web.lesson.baseline import RADII, RUNS
from trs_explorer.web.lesson.measurements import accuracy_share

pytestmark = MARKS

SMALL = {"n": 8, "steps": 2}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CARD = "#card-baseline"


def measured(screen: Screen, *runs: str) -> None:
    screen.until("(runs) => runs.every((run) => lesson.cards.baseline.found[run]?.done)", runs)


def drawn(screen: Screen, image: int, *runs: str) -> None:
    screen.until(
        "([image, runs]) => runs.every((run) => lesson.cards.baseline.slices[run]?.looks?.startsWith(`${image},`))", [image, runs]
    )


@pytest.mark.slow
def test_strong_attacks_and_slices_are_seen_after_the_guess_only(desk: Screen, classroom: Explorer) -> None:
    desk.card("baseline", SMALL)
    measured(desk, *RUNS)
    canvas = desk.page.locator(f"{CARD} canvas.curves")
    said = canvas.get_attribute("aria-label")
    assert said.count("FGSM") == 2
    assert "PGD" not in said
    assert not desk.page.locator(f"{CARD} .slices").is_visible()
    assert not any("/slice" in url for url in desk.asked)
    covered = desk.js(f"document.querySelector('{CARD} canvas.curves').toDataURL()")
    desk.page.keyboard.press("4")
    desk.page.keyboard.press("Enter")
    drawn(desk, 8, *RUNS)
    said = canvas.get_attribute("aria-label")
    assert [said.count(name) for name in ("FGSM", "PGD", "MORA")] == [2, 2, 2]
    assert desk.js(f"document.querySelector('{CARD} canvas.curves').toDataURL()") != covered
    assert desk.page.locator(f"{CARD} .choices .right").text_content().startswith("4")
    desk.page.locator(f"{CARD} summary").click()
    for run in RUNS:
        loaded = classroom.library.load(run)
        x, y = loaded.data.images(slice(0, 8)), loaded.data.y[:8]
        cells = desk.page.locator(f"{CARD} tr[data-run={run}] td").all_inner_texts()
        for eps, text in zip(RADII, cells, strict=True):
            attacks = [("fgsm", fgsm, {"eps": eps}), ("mora", mora, {"eps": eps, "steps": 2})]
            _, weak, strong = evaluate(loaded.ensemble, x, y, attacks=attacks)
            assert f"FGSM {accuracy_share(weak)['words']}" in text
            assert f"MORA {accuracy_share(strong)['words']}" in text


def test_a_slice_shows_its_classes_and_its_words_follow_the_image(desk: Screen, classroom: Explorer) -> None:
    desk.card("baseline", {**SMALL, "reveal": 1})
    drawn(desk, 8, *RUNS)
    label = int(classroom.library.load(RUNS[0]).data.y[8])
    # The class' own colour in the lower left corner, where the ensemble is surest: beside the label, off the path.
    pixel = desk.js(f"[...document.querySelector('{CARD} [data-slice] canvas').getContext('2d').getImageData(4, 8, 1, 1).data]")
    colour = [int(CLASS_COLOURS[label][k : k + 2], 16) for k in (1, 3, 5)]
    assert np.abs(np.array(pixel[:3]) - colour).max() < 25
    assert "class" in desk.page.locator(f"{CARD} [data-slice={RUNS[0]}] canvas").get_attribute("aria-label")
    desk.page.locator(f"{CARD} [data-set='{{\"image\": 15}}']").click()
    drawn(desk, 15, *RUNS)
    assert desk.page.locator(f"{CARD} [data-slice={RUNS[1]}] figcaption").text_content().startswith("TRS image 15, a 5")
    desk.page.locator(f"{CARD} input[data-field=image]").fill("3")
    drawn(desk, 3, *RUNS)
    desk.until_url(image="3")
    desk.page.locator(f"{CARD} input[data-field=eps]").focus()
    desk.page.keyboard.press("ArrowRight")
    desk.until(f"document.querySelector('{CARD} [data-slice={RUNS[0]}] figcaption').textContent.includes('eps 0.25')")
    box = desk.page.locator(f"{CARD} [data-slice={RUNS[0]}] canvas").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)


def test_without_dverge_the_card_says_how_to_get_it_and_trs_works(screen: Screen) -> None:
    screen.card("baseline", {**SMALL, "reveal": 1})
    measured(screen, "mnist-trs")
    drawn(screen, 8, "mnist-trs")
    said = screen.page.locator(f"{CARD} .of").text_content()
    assert "mnist-dverge is not here" in said
    assert "trs train --method dverge --out checkpoints/mnist-dverge" in said
    assert "first 8 test images" in said
    assert "TRS MORA" in screen.page.locator(f"{CARD} canvas.curves").get_attribute("aria-label")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(desk: Screen, theme: str) -> None:
    desk.card("baseline", {**SMALL, "reveal": 1, "guess": 1, "theme": theme})
    measured(desk, *RUNS)
    drawn(desk, 8, *RUNS)
    found = Axe().run(desk.page, options=RULES).response["violations"]
    assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in found] == []
    desk.fits_a_phone()
