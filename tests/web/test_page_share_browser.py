"""What leaves the page: the address with the whole state, and own pictures. In a real browser."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser
from web_explorer import Explorer
from web_screen import BARS, CHART, MARKS, PIXELS, QUICK, Screen
from web_screen import screen as new_screen

pytestmark = MARKS


# --- the address -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_address_brings_the_same_screen_back_elsewhere(screen: Screen, explorer: Explorer, browser: Browser) -> None:
    begin = {**QUICK, "image": "5", "plane": "random", "seed": "3", "span": "2.5", "swap": "1", "at": "0018", "theme": "dark"}
    before = screen.open(begin).js("trs.scene.key")
    page = screen.page
    page.locator("#layer").select_option("confidence")
    page.locator('[data-hide="1"]').click()
    page.locator("#eps").focus()
    page.keyboard.press("ArrowLeft")
    screen.until("!location.search.includes('eps=0.3&')")
    page.locator("#slice-box").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    screen.until("location.search.includes('start=')")
    screen.idle()
    shown = "[trs.scene.key, trs.walks.start, trs.get('layer'), Number(trs.get('eps')), trs.dark(), trs.get('at')]"
    wanted = screen.js(shown)
    assert wanted[0] == before  # none of it changes the plane
    assert screen.shown == [0, 2, 3]
    assert wanted[2:] == ["confidence", 0.295, True, "0018"]
    with browser.new_context() as elsewhere:
        other = new_screen(elsewhere, explorer.address)
        assert screen.url  # has been written
        other.page.goto(page.url)
        other.painted()
        other.idle()
        assert other.js(shown) == wanted
        assert other.shown == [0, 2, 3]
        assert other.url == screen.url
        assert other.notice == ""
        for name in (
            "plane",
            "surrogate",
            "seed",
            "span",
            "layer",
            "attack",
            "steps",
            "norm",
            "n",
            "image",
            "filter",
            "eps",
            "at",
        ):
            assert other.page.locator(f"#{name}").input_value() == page.locator(f"#{name}").input_value(), name
        assert other.js("document.documentElement.dataset.theme") == "dark"
        canvas = f"[...document.querySelectorAll('{PIXELS}')].map((c) => c.toDataURL())"
        assert len(set(other.js(canvas))) == 3


def test_a_link_made_on_other_weights_says_so_and_goes_on_saying_it(screen: Screen, explorer: Explorer) -> None:
    screen.open({**BARS, "weights": "0123456789ab"})
    screen.idle()
    assert "other weights" in screen.notice
    assert screen.url["weights"] == explorer.library.load("bars-cos-only").digest[:12]


@pytest.mark.slow
def test_what_is_broken_in_an_address_is_named_and_the_page_goes_on(screen: Screen) -> None:
    broken = {"eps": "abc", "image": "99999", "start": "nan", "own": "xx", "plane": "nonsense", "surrogate": "9", "at": "7777"}
    screen.open({**QUICK, **broken})
    screen.idle()
    for name, value in broken.items():
        assert name in screen.notice
        assert screen.url.get(name) != value
    assert screen.js("[trs.get('plane'), Number(trs.get('surrogate'))]") == ["gradients", 0]


def test_also_what_the_slices_do_not_need_is_named(screen: Screen) -> None:
    broken = {"layer": "nonsense", "filter": "some", "n": "abc", "label": "77"}
    screen.open({**QUICK, **broken})
    screen.idle()
    for name, value in broken.items():
        assert screen.page.locator(f"#{name}").input_value() not in ("", value), name
        assert screen.url.get(name) != value
    assert [name for name in broken if name not in screen.notice] == []


@pytest.mark.slow
def test_an_address_of_a_run_that_is_not_there(screen: Screen) -> None:
    broken = {
        "run": "<b>nonsense",
        "eps": "1e999",
        "image": "-3",
        "start": "1,2,3",
        "hide": "0,1,2,3,9",
        "seed": "x",
        "theme": "pink",
    }
    screen.open({**QUICK, **broken})
    screen.idle()
    assert "nonsense" in screen.notice
    assert "eps" in screen.notice
    assert screen.url["run"] == "mnist-trs"
    assert screen.page.locator("#notice b").count() == 0
    assert screen.shown == [0, 1, 2, 3]


@pytest.mark.slow
def test_back_and_forth_between_runs(screen: Screen) -> None:
    """Images and points of the plane have other fields: what does not fit the other run is left behind."""
    screen.open({**QUICK, "image": "700", "span": "2", "hide": "2", "eps": "0.2"})
    screen.page.locator("#run").select_option("bars-cos-only")
    screen.until("trs.scene.kind === 'domain' && trs.grid && trs.grid.models.length === 3")
    screen.idle()
    assert screen.notice == ""
    assert screen.shown == [0, 1, 2]
    assert [o.text_content() for o in screen.page.locator("#surrogate option").all()] == ["F1", "F2", "ensemble"]
    screen.page.locator("#run").select_option("mnist-standard")
    screen.until("trs.scene.kind === 'gradients' && trs.grid && trs.grid.models.length === 4")
    screen.idle()
    assert screen.notice == ""
    assert (screen.url["run"], screen.url["eps"]) == ("mnist-standard", "0.3")


# --- what needs no request -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_layers_and_the_crosshair_need_no_request(screen: Screen) -> None:
    screen.open(QUICK, level=3)
    screen.measured()
    screen.until(f"{CHART} && {CHART}._fullLayout")  # the last to come
    screen.idle()
    asked = len(screen.asked)
    pictures = set()
    for layer in ("margin", "confidence", "disagreement", "arrows", "class"):
        screen.page.locator("#layer").select_option(layer)
        screen.until_url(layer=layer)
        pictures.add(screen.js("document.querySelector('#panels canvas.pixels').toDataURL()"))
    screen.page.mouse.move(*screen.at(2, -1, 1))
    screen.idle()
    assert len(pictures) == 5
    assert screen.asked[asked:] == []


def test_models_are_hidden_and_shown_and_one_stays(screen: Screen) -> None:
    screen.open(BARS)
    key = screen.js("trs.scene.key")
    for model, left in (("0", 2), ("2", 1)):
        screen.page.locator(f'[data-hide="{model}"]').click()
        assert len(screen.shown) == left
    assert screen.shown == [1]
    assert screen.url["hide"] == "0,2"
    assert screen.headline(1).startswith("F2")
    screen.page.locator('[data-hide="1"]').click()
    screen.until("document.getElementById('notice').textContent.includes('one model stays')")
    assert screen.url["hide"] == "0,2"
    for model, left in (("0", 2), ("2", 3)):
        screen.page.locator(f'[data-hide="{model}"]').click()
        assert len(screen.shown) == left
    assert screen.js("trs.scene.key") == key
    screen.until(
        "document.querySelectorAll('#panels canvas.pixels')[2].getContext('2d').getImageData(50, 50, 1, 1).data[3] === 255"
    )


@pytest.mark.slow
def test_swapped_axes_are_the_slice_mirrored(screen: Screen) -> None:
    before = screen.open({**QUICK, "image": "8"}, level=3).js("trs.scene.key")
    straight, names = screen.classes(), screen.js("trs.scene.names")
    screen.page.locator("#swap").click()
    screen.painted(but=before, level=3)
    assert screen.page.locator("#swap").get_attribute("aria-pressed") == "true"
    assert screen.js("trs.scene.names") == names[::-1]
    assert (screen.classes() == straight.transpose(0, 2, 1)).mean() > 0.999


# --- own pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_own_picture_is_in_the_address_and_survives_a_reload(screen: Screen, explorer: Explorer, tmp_path: Path) -> None:
    pixels = np.zeros((28, 28), dtype=np.uint8)
    pixels[4:24, 12:16] = np.arange(160, 240, 4, dtype=np.uint8)[:, None]
    Image.fromarray(pixels).resize((56, 56), Image.Resampling.NEAREST).save(tmp_path / "one.png")
    before = screen.open(QUICK).js("trs.scene.key")
    screen.page.locator("#own-file").set_input_files(tmp_path / "one.png")
    screen.until("location.search.includes('own=')")
    key = screen.painted(but=before)
    screen.idle()
    assert "resized to 28 x 28" in screen.notice  # it goes on saying what was done to the picture
    loaded = explorer.library.load("mnist-trs")
    x = torch.from_numpy(pixels / 255).float().view(1, 1, 28, 28)
    with torch.no_grad():
        answer = int(loaded.ensemble(x).argmax())
    assert screen.page.locator("#picked-words").text_content() == f"own picture: class {answer} (the ensemble's prediction)"
    assert np.abs(screen.plane()[0] - pixels.flatten() / 255).max() < 1e-6
    screen.page.reload()
    assert screen.painted() == key
    screen.page.locator('#gallery [data-image="2"]').click()
    screen.until_url(own="", image="2")


@pytest.mark.slow
def test_a_file_that_is_no_picture_is_refused_in_words(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("this is no picture")
    screen.open(QUICK)
    screen.page.locator("#own-file").set_input_files(tmp_path / "no.png")
    screen.until("document.getElementById('notice').textContent.includes('not a readable picture')")
    screen.idle()
    assert "not a readable picture" in screen.notice
    assert "own" not in screen.url
