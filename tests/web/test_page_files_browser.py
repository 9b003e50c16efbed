"""What is saved from the page: numbers, pictures, the offline handout and film. In a real browser."""

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser
from web_explorer import Explorer
from web_screen import BARS, MARKS, QUICK, Screen
from web_screen import screen as new_screen

pytestmark = MARKS
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def save(screen: Screen, tmp_path: Path) -> Callable[[str], Path]:
    """save(text): what is downloaded by the entry of the menu that begins so."""

    def by(text: str) -> Path:
        if screen.page.locator("#save").get_attribute("open") is None:
            screen.page.locator("#save summary").click()
        with screen.page.expect_download() as download:
            screen.page.locator("#save button", has_text=text).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    return by


def test_the_numbers_are_saved_as_the_model_gives_them(screen: Screen, save: Callable[[str], Path], explorer: Explorer) -> None:
    screen.open(BARS, level=3)
    screen.measured()
    loaded = explorer.library.load("bars-cos-only")
    with np.load(save("logits as NPZ")) as saved:
        a, b = np.meshgrid(saved["a"], saved["b"])
        x = torch.tensor(np.stack([a, b], -1), dtype=torch.float32).view(-1, 1, 1, 2)
        with torch.no_grad():
            logits = loaded.ensemble.member_logits(x).transpose(0, 1).numpy()
        assert saved["logits"].shape == (193, 193, 2, 2)
        assert np.abs(saved["logits"].reshape(-1, 2, 2) - logits).max() < 1e-3
        assert str(saved["weights"]) == loaded.digest
    text = save("logits as CSV").read_text()
    assert loaded.digest in text.splitlines()[0]
    rows = list(csv.DictReader(io.StringIO(text.split("\n", 1)[1])))
    assert len(rows) == 193 * 193 * 2
    found = np.array([[float(row["logit 0"]), float(row["logit 1"])] for row in rows]).reshape(-1, 2, 2)
    assert np.abs(found - logits).max() < 1e-3
    cells = list(csv.DictReader(io.StringIO(save("matrix as CSV").read_text().split("\n", 1)[1])))
    shown = {(f"F{i + 1}", ["F1", "F2", "ensemble"][j]): screen.page.locator(f'[data-cell="{i},{j}"] small').last.text_content()
             for i in range(2) for j in range(3)}  # fmt: skip
    assert {(cell["surrogate"], cell["target"]): f"{cell['fooled']}/{cell['eligible']}" for cell in cells} == shown
    steps = list(csv.DictReader(io.StringIO(save("history as CSV").read_text())))
    events = explorer.library.events("bars-cos-only")
    assert len(steps) == sum(len(e["terms"]) for e in events if e["kind"] == "step")


def test_menus_close_with_a_click_elsewhere_and_with_escape(screen: Screen) -> None:
    screen.open(BARS)
    menu = screen.page.locator("#save")
    for leave in (lambda: screen.page.mouse.click(500, 15), lambda: screen.page.keyboard.press("Escape")):
        menu.locator("summary").click()
        screen.page.locator("#save-width").click()  # within it
        assert menu.get_attribute("open") is not None
        leave()
        assert menu.get_attribute("open") is None


def test_the_link_says_that_it_is_copied(screen: Screen) -> None:
    screen.open(BARS)
    screen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    screen.page.locator("#link").click()
    screen.until("document.getElementById('link').textContent === 'copied'")
    assert screen.js("navigator.clipboard.readText()") == screen.page.url
    screen.until("document.getElementById('link').textContent === 'copy link'")


def test_pictures_have_the_slices_in_them_and_the_width_that_was_asked_for(screen: Screen, save: Callable[[str], Path]) -> None:
    screen.open({**BARS, "theme": "dark"}, level=3)
    screen.idle()
    on_screen = [len(screen.points(model, "boundaries")) for model in range(3)]
    with Image.open(save("slices as PNG")) as png:
        assert png.width == 1800
        assert _share(png, (255, 255, 255)) > 0.05  # on white
    screen.page.locator("#save-width").fill("1350")
    screen.page.locator("#save-white").uncheck()
    with Image.open(save("slices as PNG")) as png:
        assert png.format == "PNG"
        assert png.width == 1350
        assert _share(png, (0x14, 0x17, 0x1B)) > 0.05
        assert len(png.convert("RGB").getcolors(1 << 24)) > 50
    root = ET.fromstring(save("slices as SVG").read_text())
    hrefs = [value for image in root.iter(f"{SVG}image") for name, value in image.items() if name.endswith("href")]
    assert sum(value.startswith("data:image/png;base64,") for value in hrefs) == 3
    # The boundaries are lines, of about as many points as on the screen (plotly leaves out what no eye can tell apart).
    subplots = [e for e in root.iter(f"{SVG}g") if "scatterlayer" in e.get("class", "").split()]
    assert len(subplots) == 3
    for subplot, points in zip(subplots, on_screen, strict=True):
        lines = [e.get("d", "") for e in subplot.iter(f"{SVG}path") if "js-line" in e.get("class", "")]
        assert max(line.count("L") for line in lines) > min(20, 0.1 * points)
    text = " ".join("".join(e.itertext()) for e in root.iter(f"{SVG}text"))
    for part in ("F1", "F2", "ensemble", "class", "bars-cos-only", "epoch 800", "test point 0", "PGD-10", "ε 0.3"):
        assert part in text, part


def _share(png: Image.Image, colour: tuple[int, int, int]) -> float:
    """The share of the pixels that have a colour."""
    colours = {found: n for n, found in png.convert("RGB").getcolors(1 << 24)}
    return colours.get(colour, 0) / (png.width * png.height)


def _offline(browser: Browser, path: Path, address: str, look: Callable[[Screen], None]) -> None:
    """Open a file without a network: nothing goes wrong, and it asks for nothing."""
    with browser.new_context(offline=True, viewport={"width": 1280, "height": 720}) as elsewhere:
        other = new_screen(elsewhere, address)
        other.page.goto(path.as_uri())
        other.until("document.querySelector('.js-plotly-plot')?._fullLayout")
        look(other)
        asked = [entry.split(" ")[0] for entry in other.asked]
        assert [url for url in asked if not url.startswith(("data:", "blob:")) and url != path.as_uri()] == []
        assert other.problems == []


def test_the_handout_opens_offline_and_shows_what_was_on_the_screen(
    screen: Screen, save: Callable[[str], Path], explorer: Explorer, browser: Browser
) -> None:
    screen.open(QUICK, level=3)
    screen.measured()
    cells = [screen.page.locator(f'[data-cell="{i},{j}"] b').text_content() for i in range(3) for j in range(4)]
    pictures = [screen.picture(model) for model in range(4)]

    def look(other: Screen) -> None:
        assert other.js("[...document.querySelectorAll('#matrix b, td b')].map((e) => e.textContent)") == cells
        plot = "document.querySelector('.js-plotly-plot')"
        drawn = other.js(f"{plot}._fullLayout.images.map(({{source}}) => source)")
        assert drawn == pictures
        titles = other.js(f"{plot}._fullLayout.annotations.map(({{text}}) => text.replace(/<[^>]*>/g, ''))")[1:]
        assert titles == [screen.headline(model) for model in range(4)]
        text = other.page.locator("body").inner_text()
        assert explorer.library.load("mnist-trs").digest[:12] in text
        assert "mnist-trs" in text
        assert other.page.locator("button, select, input").count() == 0
        assert other.js("document.scrollingElement.scrollWidth - innerWidth") <= 0
        ids = other.js("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids))

    _offline(browser, save("handout"), explorer.address, look)


def test_the_film_plays_offline_with_a_frame_for_every_checkpoint(
    screen: Screen, save: Callable[[str], Path], explorer: Explorer, browser: Browser
) -> None:
    screen.open(BARS)
    screen.idle()

    def look(other: Screen) -> None:
        plot = "document.querySelector('.js-plotly-plot')"
        frames = f"{plot}._transitionData._frames"
        assert other.js(f"{frames}.map(({{name}}) => name)") == ["epoch 400", "epoch 800"]
        sources = other.js(f"{frames}.map((frame) => frame.layout.images.map(({{source}}) => source))")
        assert sources[0] != sources[1]
        now = f"{plot}._fullLayout.images.map(({{source}}) => source)"
        assert other.js(now) == sources[0]
        lines = f"JSON.stringify({plot}._fullData.filter(({{name}}) => name === 'boundaries').map(({{x}}) => [...x]))"
        before = other.js(lines)
        other.page.locator(".updatemenu-button", has_text="play").click()
        other.until(f"(last) => JSON.stringify({now}) === last", other.js("(value) => JSON.stringify(value)", sources[1]))
        assert other.js(lines) != before

    _offline(browser, save("film"), explorer.address, look)
    screen.until("!document.getElementById('film-words').textContent")
