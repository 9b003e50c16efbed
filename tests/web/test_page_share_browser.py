"""What leaves the page: the address with the whole state, own pictures, files, the handout. In a real browser."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Explorer
from PIL import Image
from playwright.sync_api import Browser, BrowserContext
from web_screen import BARS, QUICK, Screen
from web_screen import screen as new_screen

pytestmark = pytest.mark.browser


# --- the address -----------------------------------------------------------------------------------------------------


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
    shown = (
        "[trs.scene.key, trs.scene.shown, trs.scene.start, trs.get('layer'), Number(trs.get('eps')), trs.dark(), trs.get('at')]"
    )
    wanted = screen.js(shown)
    assert wanted[0] == before  # none of it changes the plane
    assert wanted[1] == [0, 2, 3]
    assert wanted[3:] == ["confidence", 0.295, True, "0018"]
    with browser.new_context() as elsewhere:
        other = _tab(elsewhere, explorer)
        other.page.goto(page.url)
        other.painted()
        other.idle()
        assert other.js(shown) == wanted
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
        canvas = "[...document.querySelectorAll('#canvases canvas')].map((c) => c.toDataURL())"
        assert len(set(other.js(canvas))) == 3


def _tab(context: BrowserContext, explorer: Explorer) -> Screen:
    return new_screen(context, explorer.address)


def test_a_link_made_on_other_weights_says_so_and_goes_on_saying_it(screen: Screen, explorer: Explorer) -> None:
    screen.open({**BARS, "weights": "0123456789ab"})
    screen.idle()
    assert "other weights" in screen.notice
    assert screen.url["weights"] == explorer.library.load("bars-cos-only").digest[:12]


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
    assert screen.js("trs.scene.shown.length") == 4


def test_back_and_forth_between_runs(screen: Screen) -> None:
    """Images and points of the plane have other fields: what does not fit the other run is left behind."""
    screen.open({**QUICK, "image": "700", "span": "2", "hide": "2", "eps": "0.2"})
    screen.page.locator("#run").select_option("bars-cos-only")
    screen.until("trs.scene.kind === 'domain' && trs.grid && trs.grid.models.length === 3")
    screen.idle()
    assert screen.notice == ""
    assert screen.js("trs.scene.shown") == [0, 1, 2]
    assert screen.page.locator("#canvases canvas").count() == 3
    assert [o.text_content() for o in screen.page.locator("#surrogate option").all()] == ["F1", "F2", "ensemble"]
    screen.page.locator("#run").select_option("mnist-standard")
    screen.until("trs.scene.kind === 'gradients' && trs.grid && trs.grid.models.length === 4")
    screen.idle()
    assert screen.notice == ""
    assert (screen.url["run"], screen.url["eps"]) == ("mnist-standard", "0.3")


# --- what needs no request -------------------------------------------------------------------------------------------


def test_layers_and_the_crosshair_need_no_request(screen: Screen) -> None:
    screen.open(QUICK, level=3)
    screen.measured()
    asked = len(screen.asked)
    pictures = set()
    for layer in ("margin", "confidence", "disagreement", "arrows", "class"):
        screen.page.locator("#layer").select_option(layer)
        screen.until_url(layer=layer)
        pictures.add(screen.js("document.querySelector('#canvases canvas').toDataURL()"))
    screen.page.mouse.move(*screen.at(2, -1, 1))
    screen.idle()
    assert len(pictures) == 5
    assert screen.asked[asked:] == []


def test_models_are_hidden_and_shown_and_one_stays(screen: Screen) -> None:
    screen.open(BARS)
    key = screen.js("trs.scene.key")
    for model, left in (("0", 2), ("2", 1)):
        screen.page.locator(f'[data-hide="{model}"]').click()
        screen.until("(n) => document.querySelectorAll('#canvases canvas').length === n && trs.scene.shown.length === n", left)
    assert screen.js("trs.scene.shown") == [1]
    assert screen.url["hide"] == "0,2"
    assert [t[:2] for t in screen.page.locator("#slices .annotation-text").all_text_contents() if t[0] != "→"] == ["F2"]
    screen.page.locator('[data-hide="1"]').click()
    screen.until("document.getElementById('notice').textContent.includes('one model stays')")
    assert screen.url["hide"] == "0,2"
    for model, left in (("0", 2), ("2", 3)):
        screen.page.locator(f'[data-hide="{model}"]').click()
        screen.until("(n) => document.querySelectorAll('#canvases canvas').length === n && trs.scene.shown.length === n", left)
    assert screen.js("trs.scene.key") == key


def test_swapped_axes_are_the_slice_mirrored(screen: Screen) -> None:
    before = screen.open({**QUICK, "image": "8"}, level=3).js("trs.scene.key")
    straight, names = screen.classes(), screen.js("trs.scene.names")
    screen.page.locator("#swap").click()
    screen.painted(but=before, level=3)
    assert screen.page.locator("#swap").get_attribute("aria-pressed") == "true"
    assert screen.js("trs.scene.names") == names[::-1]
    assert (screen.classes() == straight.transpose(0, 2, 1)).mean() > 0.999


# --- own pictures ----------------------------------------------------------------------------------------------------


def test_an_own_picture_is_in_the_address_and_survives_a_reload(screen: Screen, explorer: Explorer, tmp_path: Path) -> None:
    pixels = np.zeros((28, 28), dtype=np.uint8)
    pixels[4:24, 12:16] = np.arange(160, 240, 4, dtype=np.uint8)[:, None]
    Image.fromarray(pixels).resize((56, 56), Image.Resampling.NEAREST).save(tmp_path / "one.png")
    before = screen.open(QUICK).js("trs.scene.key")
    screen.page.locator("#upload input[type=file]").set_input_files(tmp_path / "one.png")
    screen.until("location.search.includes('own=')")
    key = screen.painted(but=before)
    screen.idle()
    assert "resized to 28 x 28" in screen.notice  # it goes on saying what was done to the picture
    loaded = explorer.library.load("mnist-trs")
    x = torch.from_numpy(pixels / 255).float().view(1, 1, 28, 28)
    with torch.no_grad():
        answer = int(loaded.ensemble(x).argmax())
    assert screen.page.locator("#picked-words").text_content() == f"own picture: taken as a {answer} (the ensemble's answer)"
    assert np.abs(screen.plane()[0] - pixels.flatten() / 255).max() < 1e-6
    screen.page.reload()
    assert screen.painted() == key
    screen.page.locator('#gallery [data-image="2"]').click()
    screen.until_url(own="", image="2")


def test_a_file_that_is_no_picture_is_refused_in_words(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("this is no picture")
    screen.open(QUICK)
    screen.page.locator("#upload input[type=file]").set_input_files(tmp_path / "no.png")
    screen.until("document.getElementById('notice').textContent.includes('no picture')")
    screen.idle()
    assert "no picture" in screen.notice
    assert "own" not in screen.url


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def save(screen: Screen, tmp_path: Path) -> Callable[[str], Path]:
    """save(selector): what is downloaded by that entry of the menu."""

    def by(selector: str) -> Path:
        if screen.page.locator("#save").get_attribute("open") is None:
            screen.page.locator("#save summary").click()
        with screen.page.expect_download() as download:
            screen.page.locator(selector).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    return by


def test_the_numbers_are_saved_as_the_model_gives_them(screen: Screen, save: Callable[[str], Path], explorer: Explorer) -> None:
    screen.open(BARS, level=3)
    screen.measured()
    loaded = explorer.library.load("bars-cos-only")
    with np.load(save("#save-npz")) as saved:
        a, b = np.meshgrid(saved["a"], saved["b"])
        x = torch.tensor(np.stack([a, b], -1), dtype=torch.float32).view(-1, 1, 1, 2)
        with torch.no_grad():
            logits = loaded.ensemble.member_logits(x).transpose(0, 1).numpy()
        assert saved["logits"].shape == (193, 193, 2, 2)
        assert np.abs(saved["logits"].reshape(-1, 2, 2) - logits).max() < 1e-3
        assert str(saved["weights"]) == loaded.digest
    text = save("#save-csv").read_text()
    assert loaded.digest in text.splitlines()[0]
    rows = list(csv.DictReader(io.StringIO(text.split("\n", 1)[1])))
    assert len(rows) == 193 * 193 * 2
    found = np.array([[float(row["logit 0"]), float(row["logit 1"])] for row in rows]).reshape(-1, 2, 2)
    assert np.abs(found - logits).max() < 1e-3
    cells = list(csv.DictReader(io.StringIO(save("#save-matrix").read_text().split("\n", 1)[1])))
    shown = {(f"F{i + 1}", ["F1", "F2", "ensemble"][j]): screen.page.locator(f'[data-cell="{i},{j}"] small').last.text_content()
             for i in range(2) for j in range(3)}  # fmt: skip
    assert {(cell["surrogate"], cell["target"]): f"{cell['fooled']}/{cell['eligible']}" for cell in cells} == shown
    steps = list(csv.DictReader(io.StringIO(save("#save-history").read_text())))
    events = explorer.library.events("bars-cos-only")
    assert len(steps) == sum(len(e["terms"]) for e in events if e["kind"] == "step")


def test_pictures_have_the_slices_in_them(screen: Screen, save: Callable[[str], Path]) -> None:
    screen.open({**BARS, "theme": "dark"})
    with Image.open(save('[data-save="png"]')) as png:
        assert png.format == "PNG"
        assert png.width > 800
        colours = png.convert("RGB").getcolors(1 << 24)
        assert len(colours) > 50
        ground = (0x14, 0x17, 0x1B)
        assert {colour: n for n, colour in colours}.get(ground, 0) > 0.05 * png.width * png.height
    svg = save('[data-save="svg"]').read_text()
    assert svg.startswith("<svg")
    assert svg.count("data:image/png;base64,") == 3
    assert svg.count("<path") > 20
    assert "F2" in svg


def test_the_handout_opens_offline_and_shows_what_was_on_the_screen(
    screen: Screen, save: Callable[[str], Path], explorer: Explorer, browser: Browser
) -> None:
    screen.open(QUICK)
    screen.measured()
    path = save('[data-save="handout"]')
    with browser.new_context(offline=True) as elsewhere:
        other = _tab(elsewhere, explorer)
        other.page.goto(path.as_uri())
        assert [url for url in other.asked if not url.startswith(("data:", "blob:")) and url != path.as_uri()] == []
        assert other.problems == []
        images = other.js("[...document.images].map((image) => [image.naturalWidth, image.offsetWidth, image.alt])")
        assert sum(width > 400 and shown > 300 for width, shown, _ in images) >= 2  # slices and history
        assert all(width for width, _, _ in images)
        assert other.page.locator("script, button, select, input").count() == 0
        text = other.page.locator("body").inner_text()
        assert explorer.library.load("mnist-trs").digest[:16] in text
        for i in range(3):
            cell = screen.page.locator(f'[data-cell="{i},3"] b').text_content()
            assert f"{cell}\n" in text or f"{cell} " in text
        assert screen.page.locator("#angle-words").text_content() in text
        ids = other.js("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids))
