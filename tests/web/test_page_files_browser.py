"""What is saved from the page: numbers, pictures, the offline handout. In a real browser."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Route
from web_explorer import Explorer
from web_screen import BARS, MARKS, QUICK, Screen
from web_screen import screen as new_screen

pytestmark = MARKS


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


def test_a_picture_asked_for_before_plotly_is_there_comes_when_it_is(screen: Screen) -> None:
    """plotly.js, 4 MB, comes after the first slice."""
    held: list[Route] = []
    screen.page.route("**/plotly*.js*", lambda route: held.append(route))
    with screen.page.expect_request("**/plotly*.js*"):
        screen.open(BARS)
    screen.page.locator("#save summary").click()
    with screen.page.expect_download() as download:
        screen.page.locator('[data-save="png"]').click()
        screen.idle()
        assert screen.notice == ""
        held[0].continue_()
    with Image.open(download.value.path()) as png:
        assert png.width > 800


def test_pictures_have_the_slices_in_them(screen: Screen, save: Callable[[str], Path]) -> None:
    screen.open({**BARS, "theme": "dark"})
    screen.until("window.Plotly")
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
        other = new_screen(elsewhere, explorer.address)
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
