"""What leaves the page: the address with the whole state, and uploaded pictures; and what needs no request. In a real browser."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Route
from web_explorer import Explorer
from web_screen import GRAPH, MARKS, QUICK, Screen, decoded
from web_screen import screen as new_screen

from trs_explorer.figures.layers import LAYERS
from trs_explorer.web.controls import FIELDS

pytestmark = MARKS
CALLBACKS = "**/_dash-update-component*"


# --- the address -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_address_brings_the_same_screen_back_elsewhere(screen: Screen, explorer: Explorer, browser: Browser) -> None:
    begin = {**QUICK, "image": "5", "plane": "random", "seed": "3", "span": "2.5", "swap": "1", "at": "0018", "theme": "dark"}
    before = screen.open(begin).key
    page = screen.page
    page.locator("#layer").select_option("confidence")
    _more(screen)
    page.get_by_label("F2", exact=True).uncheck()
    screen.until_url(layer="confidence", hide="1")
    page.locator("#eps").focus()
    page.keyboard.press("ArrowLeft")
    screen.until("!location.search.includes('eps=0.3&')")
    page.locator("#slice-box").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    screen.until("location.search.includes('start=')")
    screen.painted(level=3)
    screen.idle()
    assert screen.key == before  # none of it changes the plane
    assert screen.shown == [0, 2, 3]
    wanted = screen.url
    assert (wanted["layer"], wanted["theme"], wanted["at"], wanted["hide"]) == ("confidence", "dark", "0018", "1")
    assert 0.2 < float(wanted["eps"]) < 0.3
    with browser.new_context(viewport={"width": 1280, "height": 720}) as elsewhere:
        other = new_screen(elsewhere, explorer.address)
        other.page.goto(page.url)
        other.painted(level=3)
        assert other.url == wanted
        assert (other.key, other.notice) == (before, "")
        assert other.js("explorerView.state") == screen.js("explorerView.state")
        _more(other)
        for name, prop in FIELDS.items():
            if prop == "value" and name != "shown":
                values = [one.page.locator(f"#{name}").evaluate("(e) => [e.value, e.checked]") for one in (other, screen)]
                assert values[0] == values[1], name
        assert other.shown == [0, 2, 3]
        assert other.js("document.documentElement.dataset.theme") == "dark"
        for model in other.shown:
            assert other.picture(model) == screen.picture(model)
            assert other.traces(model) == screen.traces(model)
            assert other.headline(model) == screen.headline(model)


def _more(screen: Screen) -> None:
    """Unfold the rare controls of the slices."""
    screen.page.locator("#slice summary", has_text="more").click()


def test_two_quick_changes_both_arrive_in_the_address(screen: Screen) -> None:
    """Dash drops the answer to a request when a newer one starts: what it was about must not be lost."""
    screen.open(QUICK)
    screen.measured()
    screen.page.locator("#slice-box").focus()
    screen.page.keyboard.press(".")
    screen.page.keyboard.press(".")
    screen.page.locator("#eps").focus()
    screen.page.keyboard.press("ArrowLeft")
    eps = screen.page.locator("#eps").input_value()
    assert float(eps) < 0.3
    screen.until_url(image="2", eps=eps)
    screen.idle()
    assert (screen.url["image"], screen.url["eps"]) == ("2", eps)
    assert screen.page.locator("#image").input_value() == "2"
    assert screen.page.locator("#eps").input_value() == eps
    screen.until("document.getElementById('picked-words').textContent.startsWith('image 2:')")


@pytest.mark.slow
def test_what_is_broken_in_an_address_is_named_and_the_page_goes_on(screen: Screen, explorer: Explorer) -> None:
    broken = {"eps": "abc", "image": "99999", "start": "nan", "own": "xx", "plane": "nonsense", "surrogate": "9", "at": "7777"}
    unneeded = {"layer": "nonsense", "filter": "some", "n": "abc", "label": "77"}  # by the slices
    screen.open({**QUICK, **broken, **unneeded, "weights": "0123456789ab"})
    screen.idle()
    for name, value in {**broken, **unneeded}.items():
        assert name in screen.notice, name
        assert screen.url.get(name) != value
    assert "other weights" in screen.notice
    assert screen.url["weights"] == explorer.library.load("mnist-trs").digest[:12]
    assert (screen.url["plane"], screen.url["surrogate"]) == ("gradients", "0")
    for name in unneeded:
        assert screen.page.locator(f"#{name}").input_value() not in ("", unneeded[name]), name
    said = screen.notice
    screen.beats()
    assert screen.notice == said  # it goes on saying it


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
    assert screen.url["run"] == "mnist-trs"
    assert screen.page.locator("#notice b").count() == 0
    assert screen.shown == [0, 1, 2, 3]


@pytest.mark.slow
def test_back_and_forth_between_runs(screen: Screen) -> None:
    """Images and points of the plane have other fields: what does not fit the other run is left behind."""
    first = screen.open({**QUICK, "image": "700", "span": "2", "hide": "2", "eps": "0.2"}).key
    screen.page.locator("#run").select_option("bars-cos-only")
    second = screen.painted(but=first)
    screen.idle()
    assert screen.notice == ""
    assert screen.shown == [0, 1, 2]
    assert screen.page.locator("#surrogate option:not([value=''])").all_text_contents() == ["F1", "F2", "ensemble"]
    screen.page.locator("#run").select_option("mnist-standard")
    screen.painted(but=second)
    screen.idle()
    assert screen.notice == ""
    assert (screen.url["run"], screen.url["eps"]) == ("mnist-standard", "0.3")
    assert screen.shown == [0, 1, 2, 3]


# --- what needs no request -------------------------------------------------------------------------------------------


def test_layers_and_models_are_switched_before_any_request_and_the_last_brings_all_back(screen: Screen) -> None:
    """No answer of the server comes while it is tried: every one is held back."""
    screen.open(QUICK, level=3)
    screen.measured()
    screen.beats(1)  # the first one sets what the run has saved
    asked = len(screen.asked)
    screen.page.mouse.move(*screen.at(2, -1, 1))
    screen.idle()
    assert screen.asked[asked:] == []  # nor does the crosshair need one, while its readout is folded

    held: list[Route] = []
    free: list[bool] = []

    def hold(route: Route) -> None:
        route.continue_() if free else held.append(route)

    screen.page.route(CALLBACKS, hold)
    pictures = {screen.picture(0)}
    for layer in [*LAYERS][1:]:
        screen.page.locator("#layer").select_option(layer)
        screen.until(f"(layer) => {GRAPH}._fullLayout.images.slice(0, 4)"
                     ".every(({source}, k) => source === explorerView.slice.layers[layer]?.[k])", layer)  # fmt: skip
        pictures.add(screen.picture(0))
        screen.until(f"(wanted) => {GRAPH}.data.some(({{name}}) => name === 'gradient arrows') === wanted", layer == "arrows")
    assert len(pictures) == 4  # margin, confidence, disagreement; arrows lie on the classes
    widths = [screen.panel(0)[2]]
    _more(screen)
    for name, left in (("F1", [1, 2, 3]), ("F3", [1, 3]), ("ensemble", [1])):
        screen.page.get_by_label(name, exact=True).uncheck()
        screen.until(f"(n) => Object.entries({GRAPH}._fullLayout).filter(([k, v]) => /^xaxis/.test(k) && v.visible).length === n",
                     len(left))  # fmt: skip
        assert screen.shown == left
        widths.append(screen.panel(left[0])[2])
    assert widths == sorted(widths)
    assert widths[-1] > 1.2 * widths[0]
    assert [screen.headline(1)[:2], screen.traces(0), screen.traces(3)] == ["F2", {}, {}]

    assert held
    free.append(True)
    for route in held:
        route.continue_()
    screen.until_url(layer="arrows", hide="0,2,3")
    screen.idle()
    assert screen.shown == [1]
    screen.page.get_by_label("F2", exact=True).click()  # not uncheck(), which fails where the answer checks it again at once
    screen.until_url(hide="")
    screen.idle()
    assert screen.shown == [0, 1, 2, 3]
    assert all(screen.page.get_by_label(name, exact=True).is_checked() for name in ("F1", "F2", "F3", "ensemble"))


@pytest.mark.slow
def test_swapped_axes_are_the_slice_mirrored(screen: Screen) -> None:
    before = screen.open({**QUICK, "image": "8"}, level=3).key
    straight, names = [decoded(screen.picture(model)) for model in range(4)], screen.axes().split("   ")
    _more(screen)
    screen.page.locator("#swap").click()
    screen.painted(but=before, level=3)
    assert screen.page.locator("#swap").is_checked()
    assert [name[2:] for name in screen.axes().split("   ")] == [name[2:] for name in names[::-1]]
    for model in range(4):
        mirrored = decoded(screen.picture(model))
        same = (mirrored[::-1] == straight[model][::-1].transpose(1, 0, 2)).all(-1)
        assert same.mean() > 0.99


# --- uploaded pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_own_picture_is_in_the_address_and_survives_a_reload(screen: Screen, explorer: Explorer, tmp_path: Path) -> None:
    pixels = np.zeros((28, 28), dtype=np.uint8)
    pixels[4:24, 12:16] = np.arange(160, 240, 4, dtype=np.uint8)[:, None]
    Image.fromarray(pixels).resize((56, 56), Image.Resampling.NEAREST).save(tmp_path / "one.png")
    before = screen.open(QUICK).key
    screen.page.locator("#upload input").set_input_files(tmp_path / "one.png")
    screen.until("location.search.includes('own=')")
    key = screen.painted(but=before)
    screen.idle()
    assert "resized to 28 x 28" in screen.page.locator("#upload-words").text_content()  # it goes on saying what was done
    loaded = explorer.library.load("mnist-trs")
    x = torch.from_numpy(pixels / 255).float().view(1, 1, 28, 28)
    with torch.no_grad():
        answer = int(loaded.ensemble(x).argmax())
    assert screen.page.locator("#picked-words").text_content() == f"uploaded picture, class {answer} by the ensemble's prediction"
    assert screen.headline(3).startswith(f"ensemble: {answer}")
    assert screen.page.locator('#gallery [aria-pressed="true"]').count() == 0
    screen.page.locator("#readout-box summary").click()
    screen.page.mouse.move(*screen.at(1, 0, 0))
    screen.until("document.querySelector('#readout img')")
    middle = decoded(screen.page.locator("#readout img").get_attribute("src"))[..., 0]
    assert np.abs(middle - pixels.astype(int)).mean() < 1
    screen.page.reload()
    assert screen.painted() == key
    screen.idle()
    screen.page.locator('#gallery [data-image="2"]').click()
    screen.until_url(own="", image="2")
    screen.until("!document.getElementById('upload-words').textContent")


@pytest.mark.slow
def test_a_file_that_is_no_picture_is_refused_in_words(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("this is no picture")
    screen.open(QUICK)
    screen.page.locator("#upload input").set_input_files(tmp_path / "no.png")
    screen.until("document.getElementById('upload-words').textContent.includes('not a readable picture')")
    assert "own" not in screen.url
