"""The page in a real browser: pick, the matrix, time; by mouse and by keys. The oracle is the Python model."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from trs_explorer.web.layout import KEYS
from web_explorer import Explorer
from web_screen import BARS, CHART, MARKS, QUICK, Screen

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.transfer import TransferMatrix, transfer_matrix
from trs_explorer.explore.library import Loaded

pytestmark = MARKS


@pytest.fixture(scope="module")
def matrix(mnist: Loaded) -> TransferMatrix:
    x, y = mnist.data.images(slice(0, 64)), mnist.data.y[:64]
    attack = partial(pgd, eps=0.3, steps=10, step_size=0.075)
    return transfer_matrix(mnist.ensemble, x, y, attack=attack, ensemble_column=True, seed=0)


# --- load and pick ---------------------------------------------------------------------------------------------------


def test_the_page_loads_without_a_word_on_the_console_and_asks_nobody_else(screen: Screen) -> None:
    screen.open("", level=3)
    screen.measured()  # of 256 images: the only test that waits for that
    assert screen.problems == []
    assert screen.foreign == []
    assert screen.js("watch.refused") == []
    assert screen.notice == ""
    assert screen.url["run"] == "mnist-trs"
    assert screen.page.locator("#gallery button").count() == 60
    assert [h.text_content() for h in screen.page.locator("h2").all()][:5] == [
        "Pick", "Slices", "Transfer", "Angles and smoothness", "Training"]  # fmt: skip
    assert screen.page.title() == "trs explore"


def test_an_image_is_picked_by_its_thumbnail(screen: Screen, mnist: Loaded) -> None:
    before = screen.open(QUICK).js("trs.scene.key")
    screen.page.locator('#gallery [data-image="3"]').click()
    screen.painted(but=before)
    y = int(mnist.data.y[3])
    assert screen.url["image"] == "3"
    assert screen.page.locator("#picked-words").text_content() in (f"3: class {y} (the label)", f"image 3: class {y} (the label)")
    assert screen.page.locator("#image").input_value() == "3"
    assert screen.page.locator('#gallery [aria-pressed="true"]').get_attribute("data-image") == "3"
    with torch.no_grad():
        seen = int(mnist.ensemble.members[0](mnist.data.images([3])).argmax())
    assert screen.headline(0).startswith(f"F1: {seen}")
    painted = screen.js(
        "(() => { const c = document.getElementById('picture'), p = c.getContext('2d').getImageData(0, 0, 28, 28).data;"
        " return Array.from({length: 784}, (_, i) => p[4 * i]); })()"
    )
    assert np.abs(np.array(painted) - mnist.data.images([3]).flatten().numpy() * 255).max() < 1


def test_the_number_field_and_a_class_filter_pick_too(screen: Screen, mnist: Loaded) -> None:
    before = screen.open(QUICK).js("trs.scene.key")
    screen.page.locator("#image").fill("1234")
    screen.page.locator("#image").press("Enter")
    screen.painted(but=before)
    assert screen.url["image"] == "1234"
    screen.page.locator("#label").select_option("4")
    screen.until("document.getElementById('gallery-words').textContent.includes('of class 4')")
    shown = [int(button.get_attribute("data-image")) for button in screen.page.locator("#gallery button").all()]
    assert shown == [k for k in range(1000) if mnist.data.y[k] == 4][:60]
    assert screen.url["label"] == "4"


# --- keys only -------------------------------------------------------------------------------------------------------


def test_everything_by_keys(screen: Screen) -> None:
    screen.open(QUICK)
    keyboard = screen.page.keyboard
    screen.page.locator("body").focus()
    for _ in range(120):
        keyboard.press("Tab")
        if screen.js("document.activeElement.id") == "slice-box":
            break
    assert screen.js("document.activeElement.id") == "slice-box"
    unit = 8 / 48
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowUp")
    assert screen.js("trs.cross") == pytest.approx([2 * unit, unit])
    keyboard.press("Shift+ArrowLeft")
    keyboard.press("ArrowDown")
    assert screen.js("trs.cross") == pytest.approx([-2 * unit, 0], abs=1e-9)
    keyboard.press("Enter")
    screen.until("location.search.includes('start=')")
    assert [float(part) for part in screen.url["start"].split(",")] == pytest.approx([-2 * unit, 0], abs=1e-3)
    screen.idle()
    keyboard.press("Escape")
    screen.until_url(start="")
    assert screen.js("trs.cross") is None
    assert screen.js("document.activeElement.id") == "slice-box"

    for layer in ("margin", "confidence", "disagreement", "arrows", "class"):
        keyboard.press("l")
        screen.until_url(layer=layer)
    keyboard.press("x")
    screen.until_url(swap="1")
    keyboard.press("x")
    screen.until_url(swap="0")
    for plane in ("random", "images", "gradients"):
        keyboard.press("p")
        screen.until_url(plane=plane)
    for key, image in ((".", "1"), (".", "2"), (",", "1"), (",", "0"), (",", "0")):
        keyboard.press(key)
        screen.until_url(image=image)
    keyboard.press("[")
    screen.until_url(at="0018")
    keyboard.press("]")
    screen.until_url(at="")
    dark = screen.js("document.documentElement.dataset.theme")
    keyboard.press("t")
    assert screen.js("document.documentElement.dataset.theme") == {"light": "dark", "dark": "light"}[dark]
    keyboard.press("?")
    assert screen.page.locator("#help").is_visible()
    assert screen.page.locator("#help tr").count() == len(KEYS)
    keyboard.press("Escape")
    assert not screen.page.locator("#help").is_visible()
    screen.idle()
    assert screen.notice == ""


def test_a_cell_of_the_matrix_and_a_thumbnail_are_reached_by_tab(screen: Screen) -> None:
    screen.open(QUICK)
    screen.measured()
    keyboard = screen.page.keyboard
    screen.page.locator("#norm").focus()
    reached = ""
    for _ in range(20):
        keyboard.press("Tab")
        reached = screen.js("document.activeElement.dataset.cell || ''")
        if reached == "1,2":
            break
    assert reached == "1,2"
    keyboard.press("Enter")
    screen.until_url(surrogate="1", target="2")
    screen.page.locator("#label").focus()
    keyboard.press("Tab")
    assert screen.js("document.activeElement.dataset.image") == "0"
    keyboard.press("Tab")
    keyboard.press("Space")
    screen.until_url(image="1")


# --- the matrix ------------------------------------------------------------------------------------------------------


def test_the_matrix_is_what_python_measures(screen: Screen, mnist: Loaded, matrix: TransferMatrix) -> None:
    screen.open(QUICK)
    screen.measured()
    buttons = screen.page.locator("#matrix [data-cell]").all()
    assert len(buttons) == 12
    for button in buttons:
        i, j = map(int, button.get_attribute("data-cell").split(","))
        low, high = matrix.interval(i, j)
        share, between = f"{100 * matrix.rate(i, j):.0f}", f"{100 * low:.0f}-{100 * high:.0f}"
        told = [share, between, f"{matrix.fooled[i][j]}/{matrix.eligible[i][j]}"]
        assert [part.text_content() for part in button.locator("b, small").all()] == told
    words = screen.page.locator("#transfer-words").text_content()
    fooled, eligible = matrix.pooled()
    assert f"{fooled}/{eligible}." in words
    x, y = mnist.data.images(slice(0, 64)), mnist.data.y[:64]
    x_adv = pgd(mnist.ensemble, x, y, eps=0.3, steps=10, step_size=0.075, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        clean, attacked = mnist.ensemble(x).argmax(-1) == y, mnist.ensemble(x_adv).argmax(-1) == y
    assert f"Ensemble robust accuracy: {int((clean & attacked).sum())}/64" in words


@pytest.mark.slow
def test_a_cell_sets_the_pair_the_plane_and_a_strip_of_images(screen: Screen, mnist: Loaded, matrix: TransferMatrix) -> None:
    before = screen.open({**QUICK, "plane": "random"}).js("trs.scene.key")
    screen.measured()
    screen.page.locator('[data-cell="1,3"]').click()
    screen.until_url(surrogate="1", target="3", plane="gradients")
    screen.painted(but=before)
    assert screen.page.locator("#surrogate").input_value() == "1"
    assert screen.page.locator("#target").input_value() == "3"
    assert screen.page.locator('#matrix [aria-pressed="true"]').get_attribute("data-cell") == "1,3"
    assert "gradient of the loss of F2" in screen.js("trs.scene.names[0]")
    assert "gradient of the loss of the ensemble" in screen.js("trs.scene.names[1]")
    hits = [k for k, letter in enumerate(matrix.outcomes[1][3]) if letter == "1"]
    screen.until("(first) => (document.querySelector('#strip figcaption') || {}).textContent?.startsWith(`${first}: `)", hits[0])
    captions = [caption.text_content() for caption in screen.page.locator("#strip figcaption").all()]
    assert [int(text.split(":")[0]) for text in captions] == hits[:6]
    for text in captions:
        k, y, seen = map(int, re.findall(r"\d+", text))
        assert y == mnist.data.y[k]
        assert seen != y
    screen.until("[...document.querySelectorAll('#strip img')].every((image) => image.naturalWidth === 28)")
    assert screen.page.locator("#strip img").count() == 3 * len(hits[:6])
    screen.page.locator("#strip button").last.click()
    screen.until_url(image=str(hits[:6][-1]))


def test_the_filter_of_what_transfers_shows_the_images_of_the_cell(screen: Screen, matrix: TransferMatrix) -> None:
    screen.open({**QUICK, "surrogate": "1", "target": "3", "filter": "transfers"})
    screen.measured()
    hits = [k for k, letter in enumerate(matrix.outcomes[1][3]) if letter == "1"]
    assert hits
    screen.until("(n) => document.querySelectorAll('#gallery button').length === n", len(hits))
    screen.idle()
    assert [int(button.get_attribute("data-image")) for button in screen.page.locator("#gallery button").all()] == hits
    assert f"{matrix.fooled[1][3]} of 64 images" in screen.page.locator("#gallery-words").text_content()


# --- time ------------------------------------------------------------------------------------------------------------


def test_the_scrubber_goes_through_the_checkpoints(screen: Screen, explorer: Explorer) -> None:
    newest = screen.open(BARS).js("trs.scene.key")
    screen.until("document.querySelectorAll('#at option').length === 3")
    screen.idle()
    scrub = screen.page.locator("#scrub")
    scrub.focus()
    screen.page.keyboard.press("Home")
    screen.until_url(at="0400")
    older = screen.painted(but=newest)
    screen.idle()
    assert screen.js("trs.scene.digest") == explorer.library.load("bars-cos-only", "0400").digest
    assert screen.page.locator("#at").input_value() == "0400"
    assert "400" in screen.page.locator("#scrub-value").text_content()
    screen.page.keyboard.press("End")
    screen.until_url(at="")
    assert screen.painted(but=older) == newest
    screen.page.locator("#at").select_option("0400")
    screen.until_url(at="0400")
    assert screen.painted(but=newest) == older
    screen.page.locator("#at").select_option("")  # "newest"
    screen.until_url(at="")
    assert screen.painted(but=older) == newest
    saved = next(e["step"] for e in explorer.library.events("bars-cos-only") if e.get("name") == "0400")
    screen.js("trs.set({at: '0400'})")
    screen.until(f"(step) => Number({CHART}._fullLayout.shapes[0].x0) === step", saved)
