"""The Compare page in a real browser: two rows on one scale, swapped by a key, at any size, for everyone, and to take home."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from web_screen import MARKS, Screen

pytestmark = MARKS
SMALL = {"a": "mnist-trs", "b": "mnist-standard", "n": "64", "steps": "2", "eps": "0.1", "theme": "light"}
WHOLE = "compare.whole() && compare.shown.live && compare.shown.live.done"
ROWS = "['a', 'b'].map((s) => document.querySelector(`#side-${s} h3`).textContent.trim().split(/\\s+/).at(-1))"


def opened(screen: Screen, **fields: str) -> Screen:
    query = "&".join(f"{name}={value}" for name, value in {**SMALL, **fields}.items())
    screen.page.goto(f"{screen.address}compare?{query}")
    screen.until(
        "window.compare && compare.shown.slices && compare.shown.stored && compare.shown.live && compare.shown.live.done"
    )
    return screen


def pictures(screen: Screen, side: str) -> list[str]:
    return screen.js("(side) => [...document.querySelectorAll(`#side-${side} img`)].map((i) => i.src)", side)


def test_both_rows_have_every_model_on_one_plane(screen: Screen) -> None:
    opened(screen)
    assert screen.js(ROWS) == ["mnist-trs", "mnist-standard"]
    assert len(pictures(screen, "a")) == len(pictures(screen, "b")) == 4
    balls = screen.js(
        "[...document.querySelectorAll('.side svg')].map((s) => s.querySelectorAll('polygon.over')[1]?.getAttribute('points'))"
    )
    assert len(set(balls)) == 1
    sizes = screen.js("[...document.querySelectorAll('.side .frame')].map((f) => Math.round(f.getBoundingClientRect().width))")
    assert len(set(sizes)) == 1


def test_one_key_swaps_the_runs_and_back(screen: Screen) -> None:
    opened(screen, along="a")
    before = pictures(screen, "a"), pictures(screen, "b")
    screen.page.keyboard.press("s")
    screen.until(f"{ROWS}[0] === 'mnist-standard'")
    assert (pictures(screen, "b"), pictures(screen, "a")) == before
    screen.until("location.search.includes('a=mnist-standard') && location.search.includes('along=b')")
    screen.until("document.getElementById('transfer-a-title').textContent === 'Transfer in A: mnist-standard'")
    screen.page.keyboard.press("s")
    screen.until(f"{ROWS}[0] === 'mnist-trs'")
    assert (pictures(screen, "a"), pictures(screen, "b")) == before


@pytest.mark.slow
def test_image_plane_and_run_change_by_keys_and_controls(screen: Screen) -> None:
    opened(screen, image="8")
    before = pictures(screen, "a")
    screen.page.keyboard.press(".")
    screen.until("(before) => document.querySelector('#side-a img').src !== before", before[0])
    screen.until("location.search.includes('image=9')")
    screen.page.keyboard.press("p")
    screen.until("compare.shown.slices.fixed.along === 'a'")
    screen.page.locator("#a").select_option("bars-cos-only")  # other data: B goes with it
    screen.until(f"{ROWS}[0] === 'bars-cos-only' && {ROWS}[1] === 'bars-cos-only'")
    assert screen.js("compare.shown.slices.kind") == "domain"


@pytest.mark.slow
def test_the_state_comes_back_from_the_address(screen: Screen) -> None:
    opened(screen, image="5", along="b", span="2.5", seed="3")
    screen.until("location.search.includes('norm=')")
    told = screen.js("[compare.shown.slices.fixed, location.search]")
    screen.page.goto(f"{screen.address}compare{told[1]}")
    screen.until("window.compare && compare.shown.slices")
    assert screen.js("compare.shown.slices.fixed") == told[0]
    assert (told[0]["image"], told[0]["along"], told[0]["span"], told[0]["seed"]) == (5, "b", 2.5, 3)


def test_what_cannot_be_had_is_said_on_the_page_and_wished_no_more(screen: Screen) -> None:
    opened(screen, image="99999999")
    assert "test images" in screen.notice
    assert screen.page.locator("#image").input_value() == str(screen.js("compare.shown.slices.fixed.image"))
    opened(screen, b="bars-cos-only")
    assert "bars-cos-only is on bars" in screen.notice
    assert screen.page.locator("#b").input_value() == "mnist-standard"
    assert screen.page.locator("#transfer-b-title").text_content() == "Transfer in B: mnist-standard"
    screen.page.goto(f"{screen.address}compare?a=nobody")
    screen.until("document.getElementById('notice').textContent.includes('nobody')")
    screen.until("document.querySelectorAll('#side-a figure').length > 0")


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (400, 800)])
@pytest.mark.slow
def test_nothing_is_wider_than_the_window(screen: Screen, size: tuple[int, int]) -> None:
    screen.page.set_viewport_size({"width": size[0], "height": size[1]})
    opened(screen)
    assert screen.js("document.scrollingElement.scrollWidth - innerWidth") <= 0


@pytest.mark.slow
def test_axe_finds_nothing_in_either_theme(screen: Screen) -> None:
    opened(screen)
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
    for theme in ("light", "dark"):
        screen.js("(theme) => compare.set({theme})", theme)
        screen.until(f"(dark) => compare.dark() === dark && {WHOLE}", theme == "dark")
        found = Axe().run(screen.page, options=rules).response["violations"]
        assert [(theme, v["id"], [(n["target"], n["failureSummary"]) for n in v["nodes"]][:4]) for v in found] == []


def test_the_handout_opens_without_the_explorer(screen: Screen, tmp_path: Path) -> None:
    opened(screen)
    with screen.page.expect_download() as download:
        screen.page.locator("#handout").click()
    saved = tmp_path / "handout.html"
    download.value.save_as(saved)
    text = saved.read_text()
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!data:|#)', text) == []
    asked: list[str] = []
    with screen.page.context.expect_page() as opening:
        screen.js("window.open('about:blank')")
    page = opening.value
    page.on("request", lambda request: asked.append(request.url))
    page.goto(saved.as_uri())
    broken = page.evaluate("[...document.images].filter((i) => !i.complete || !i.naturalWidth).length")
    count = page.evaluate("document.images.length")
    page.close()
    assert (broken, [url for url in asked if not url.startswith(("file:", "data:"))]) == (0, [])
    assert count == 8 + 4  # slices, charts
    assert "mnist-trs" in text
