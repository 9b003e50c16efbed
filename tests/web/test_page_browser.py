"""The page in a real browser: pick, the matrix, time; by mouse and by keys. The oracle is the Python model."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from web_explorer import Explorer
from web_screen import BARS, CHART, GRAPH, MARKS, QUICK, Screen, decoded

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.transfer import TransferMatrix, transfer_matrix
from trs_explorer.explore.library import Loaded
from trs_explorer.figures.layers import LAYERS
from trs_explorer.web.page import KEYS

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
    assert screen.js("explorerView.state.run") == "mnist-trs"
    assert screen.js("explorerView.state.run") == "mnist-trs"
    screen.beats()
    assert screen.url == {}  # is written once something has been changed
    assert screen.page.locator("#gallery button").count() == 60
    titles = screen.page.locator("h2:visible").all_text_contents()
    assert titles == ["Slices", "Transfer", "Pick", "Angles and smoothness", "Bounds on transfer", "Training"]
    assert screen.page.title() == "trs explore"
    assert screen.page.locator("#still").count() == 0
    box = screen.page.locator("#slices").bounding_box()
    assert box["width"] * box["height"] >= 0.33 * 1280 * 720
    assert box["y"] + box["height"] <= 720


@pytest.mark.slow
def test_an_image_is_picked_by_its_thumbnail_its_number_and_its_class(screen: Screen, mnist: Loaded) -> None:
    before = screen.open(QUICK).key
    screen.page.locator('#gallery [data-image="3"]').click()
    second = screen.painted(but=before)
    assert screen.url["image"] == "3"
    assert screen.page.locator("#picked-words").text_content() == f"image 3: class {int(mnist.data.y[3])}"
    assert screen.page.locator("#image").input_value() == "3"
    assert screen.page.locator('#gallery [aria-pressed="true"]').get_attribute("data-image") == "3"
    with torch.no_grad():
        seen = int(mnist.ensemble.members[0](mnist.data.images([3])).argmax())
    assert screen.headline(0).startswith(f"F1: {seen}")
    thumbnail = decoded(screen.page.locator('#gallery [data-image="3"] img').get_attribute("src"))[..., 0]
    assert np.abs(thumbnail - mnist.data.images([3]).view(28, 28).numpy() * 255).max() < 1

    screen.page.locator("#image").fill("1234")
    screen.page.locator("#image").press("Enter")
    screen.painted(but=second)
    assert screen.url["image"] == "1234"
    screen.page.locator("#label").select_option("4")
    screen.until("document.getElementById('gallery-words').textContent.includes('of class 4')")
    assert screen.url["label"] == "4"
    shown = screen.js("[...document.querySelectorAll('#gallery button')].map((e) => Number(e.dataset.image))")
    assert shown == [k for k in range(1000) if mnist.data.y[k] == 4][:60]


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
    unit = 8 / 96
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowUp")
    assert screen.js("explorerView.cross") == pytest.approx([2 * unit, unit])
    keyboard.press("Shift+ArrowLeft")
    keyboard.press("ArrowDown")
    assert screen.js("explorerView.cross") == pytest.approx([-6 * unit, 0], abs=1e-9)
    keyboard.press("Enter")
    screen.until("location.search.includes('start=')")
    assert [float(part) for part in screen.url["start"].split(",")] == pytest.approx([-6 * unit, 0], abs=1e-3)
    keyboard.press("Escape")
    screen.until_url(start="")
    assert screen.js("document.activeElement.id") == "slice-box"

    for layer in [*LAYERS][1:] + [*LAYERS][:1]:
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
    for key, at in (("]", ""), ("[", "0018"), ("[", "0018"), ("]", ""), ("]", "")):  # none is before or after these two
        keyboard.press(key)
        screen.until_url(at=at)
    for theme in ("dark", "light"):
        keyboard.press("t")
        screen.until_url(theme=theme)
        screen.until("(theme) => document.documentElement.dataset.theme === theme", theme)
    keyboard.press("?")
    assert screen.page.locator("#help").is_visible()
    assert screen.page.locator("#help tr").count() == len(KEYS)
    keyboard.press("l")  # the list has the keys now
    keyboard.press("Escape")
    assert not screen.page.locator("#help").is_visible()
    assert screen.url["layer"] == "class"
    assert screen.notice == ""


def test_presentation_leaves_slices_and_matrix_in_large_type(screen: Screen) -> None:
    """By a key, there and back."""
    screen.open(QUICK)
    screen.measured()
    before, small = screen.panel(0), screen.layout["size"]
    screen.page.locator("#slice-box").focus()
    screen.page.keyboard.press("f")
    screen.until_url(present="1")
    screen.until(f"(size) => {GRAPH}._fullLayout.font.size > size", small)
    screen.idle()
    assert screen.page.locator("h2:visible").all_text_contents() == ["Transfer"]
    assert screen.page.locator("section:visible").evaluate_all("(found) => found.map((e) => e.id)") == ["slice", "transfer"]
    assert screen.page.locator("#matrix b:visible").count() == 12
    visible = screen.page.locator("section select:visible, section input:visible, section summary:visible")
    assert visible.evaluate_all("(found) => found.map((e) => e.id || e.textContent)") == []
    assert screen.js("parseFloat(getComputedStyle(document.body).fontSize)") >= 20
    assert screen.panel(0)[2] * len(screen.shown) > 0.5 * 1280
    assert screen.js("document.scrollingElement.scrollWidth - innerWidth") <= 0
    for model in range(4):
        left, top, width, height = screen.panel(model)
        assert width == pytest.approx(height, abs=1)
        assert top + height <= 720
        assert left + width <= 1280
    screen.page.keyboard.press("f")
    screen.until_url(present="0")
    screen.until(f"(size) => {GRAPH}._fullLayout.font.size === size", small)
    screen.idle()
    assert screen.panel(0) == pytest.approx(before, abs=1)


# --- the matrix ------------------------------------------------------------------------------------------------------


def test_the_matrix_is_what_python_measures_and_its_filter_shows_a_cells_images(
    screen: Screen, mnist: Loaded, matrix: TransferMatrix
) -> None:
    screen.open({**QUICK, "surrogate": "1", "target": "3", "filter": "transfers"})
    screen.measured()
    buttons = screen.page.locator("#matrix [data-cell]").all()
    assert len(buttons) == 12
    for button in buttons:
        i, j = map(int, button.get_attribute("data-cell").split(","))
        low, high = matrix.interval(i, j)
        share, between = f"{100 * matrix.rate(i, j):.0f}", f"{100 * low:.0f}-{100 * high:.0f}"
        told = [share, between, f"{matrix.fooled[i][j]}/{matrix.eligible[i][j]}"]
        assert button.locator("b, small").all_text_contents() == told
    words = screen.page.locator("#transfer-words").text_content()
    fooled, eligible = matrix.pooled()
    assert f"{fooled}/{eligible}." in words
    x, y = mnist.data.images(slice(0, 64)), mnist.data.y[:64]
    x_adv = pgd(mnist.ensemble, x, y, eps=0.3, steps=10, step_size=0.075, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        clean, attacked = mnist.ensemble(x).argmax(-1) == y, mnist.ensemble(x_adv).argmax(-1) == y
    robust = f"Ensemble robust accuracy: {int((clean & attacked).sum())}/64"
    assert robust in words
    assert robust in screen.page.locator("#transfer-summary").text_content()

    hits = [k for k, letter in enumerate(matrix.outcomes[1][3]) if letter == "1"]
    assert hits
    screen.until("(n) => document.querySelectorAll('#gallery button').length === n", len(hits))
    screen.idle()
    shown = screen.js("[...document.querySelectorAll('#gallery button')].map((e) => Number(e.dataset.image))")
    assert shown == hits
    assert f"{matrix.fooled[1][3]} of 64 images" in screen.page.locator("#gallery-words").text_content()


def test_a_cell_of_the_matrix_and_a_thumbnail_are_reached_by_tab(screen: Screen) -> None:
    screen.open(QUICK)
    screen.measured()
    keyboard = screen.page.keyboard
    screen.page.locator("#n").focus()
    reached = ""
    for _ in range(20):
        keyboard.press("Tab")
        reached = screen.js("document.activeElement.dataset.cell || ''")
        if reached == "1,2":
            break
    assert reached == "1,2"
    keyboard.press("Enter")
    screen.until_url(surrogate="1", target="2")
    screen.idle()
    screen.page.locator('#gallery [data-image="0"]').focus()
    keyboard.press("Tab")
    assert screen.js("document.activeElement.dataset.image") == "1"
    keyboard.press("Space")
    screen.until_url(image="1")


@pytest.mark.slow
def test_a_cell_sets_the_pair_the_plane_and_a_strip_of_images(screen: Screen, mnist: Loaded, matrix: TransferMatrix) -> None:
    before = screen.open({**QUICK, "plane": "random"}).key
    screen.measured()
    screen.page.locator('[data-cell="1,3"]').click()
    screen.until_url(surrogate="1", target="3", plane="gradients")
    screen.painted(but=before)
    assert screen.page.locator("#surrogate").input_value() == "1"
    assert screen.page.locator("#target").input_value() == "3"
    screen.until("document.querySelector('#matrix [aria-pressed=\"true\"]')?.dataset.cell === '1,3'")
    first, second = screen.axes().split("↑")
    assert "gradient of the loss of F2" in first
    assert "gradient of the loss of the ensemble" in second
    hits = [k for k, letter in enumerate(matrix.outcomes[1][3]) if letter == "1"]
    screen.until("(first) => (document.querySelector('#strip figcaption') || {}).textContent?.startsWith(`${first}: `)", hits[0])
    captions = screen.page.locator("#strip figcaption").all_text_contents()
    assert [int(text.split(":")[0]) for text in captions] == hits[:6]
    for text in captions:
        k, y, seen = map(int, re.findall(r"\d+", text))
        assert y == mnist.data.y[k]
        assert seen != y
    screen.until("[...document.querySelectorAll('#strip img')].every((image) => image.naturalWidth === 28)")
    assert screen.page.locator("#strip img").count() == 3 * len(hits[:6])
    screen.page.locator("#strip button").last.click()
    screen.until_url(image=str(hits[:6][-1]))


# --- time ------------------------------------------------------------------------------------------------------------


def test_the_scrubber_goes_through_the_checkpoints(screen: Screen, explorer: Explorer) -> None:
    newest = screen.open(BARS).key
    screen.until("[...document.querySelectorAll('#at option')].map((e) => e.value).filter(Boolean).join() === 'newest,0400,0800'")
    screen.idle()
    screen.page.locator("#scrub").focus()
    screen.page.keyboard.press("Home")
    screen.until_url(at="0400")
    older = screen.painted(but=newest)
    assert screen.url["weights"] == explorer.library.load("bars-cos-only", "0400").digest[:12]
    assert screen.page.locator("#at").input_value() == "0400"
    assert "400" in screen.page.locator("#scrub-value").text_content()
    saved = next(e["step"] for e in explorer.library.events("bars-cos-only") if e.get("name") == "0400")
    screen.until(f"(step) => Number({CHART}?._fullLayout?.shapes[0]?.x0) === step", saved)
    screen.page.keyboard.press("End")
    screen.until_url(at="")
    assert screen.painted(but=older) == newest
    screen.page.locator("#at").select_option("0400")
    screen.until_url(at="0400")
    assert screen.painted(but=newest) == older
    screen.page.locator("#at").select_option("newest")
    screen.until_url(at="")
    assert screen.painted(but=older) == newest
