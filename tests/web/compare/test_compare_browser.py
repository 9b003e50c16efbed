"""The Compare page in a real browser: two rows on one scale, swapped by a key, at any size, for everyone, and to take home."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Request, Route
from web_screen import MARKS, Screen

pytestmark = MARKS
SMALL = {"a": "mnist-trs", "b": "mnist-standard", "n": "64", "steps": "2", "eps": "0.1", "theme": "light"}
GRAPHS = "['a', 'b'].map((side) => document.querySelector(`#graph-${side} .js-plotly-plot`))"
NAMES = "['a', 'b'].map((side) => document.getElementById(`name-${side}`).textContent.split(/[:,] */)[1])"
# What both figures show: of every panel its pixels, its title, the points of its path and its range.
SHOWN = f"""{GRAPHS}.map((plot) => [0, 1, 2, 3].map((k) => {{
  const name = k ? k + 1 : "", of = (trace) => (trace.xaxis || "x") === `x${{name}}`;
  const path = plot.data.filter(of).find((trace) => trace.name.startsWith("path"));
  const {{images, annotations}} = plot.layout, {{range}} = plot._fullLayout[`xaxis${{name}}`];
  return [images[k].source, annotations[k + 1].text, path.name, path.x, range];
}}))"""
DRAWN = (
    f"{GRAPHS}.every((plot) => plot?.data.some((trace) => trace.name.startsWith('path'))"
    " && plot.layout.annotations[1].text.includes(':'))"
)
FINE = f"""['a', 'b'].every((side, k) => compareView.slices[side].level === 2
  && {GRAPHS}[k].layout.images[0].source === compareView.slices[side].layers.class[0])"""
MEASURED = "document.querySelector('#live-chart .js-plotly-plot') && ['a', 'b'].every((side) =>"
MEASURED += " document.getElementById(`words-${side}`).textContent.includes('Ensemble robust accuracy'))"
STORED = "document.querySelectorAll('#cosine-chart .point').length && document.querySelector('#table1 table')"


def opened(screen: Screen, measured: bool = True, **fields: str) -> Screen:
    query = "&".join(f"{name}={value}" for name, value in {**SMALL, **fields}.items())
    screen.page.goto(f"{screen.address}compare?{query}")
    screen.until(f"window.compareView && {DRAWN} && {STORED} && {FINE}")
    if measured:
        screen.until(MEASURED)
    return screen


def test_both_rows_have_every_model_on_one_plane(screen: Screen) -> None:
    opened(screen, measured=False)
    assert screen.js(NAMES) == ["mnist-trs", "mnist-standard"]
    a, b = screen.js(SHOWN)
    paths = [f"path of PGD-2 on {model}" for model in ("F1", "F2", "F3", "ensemble")]
    assert [panel[2] for panel in a] == [panel[2] for panel in b] == paths
    assert all(panel[4] == a[0][4] for panel in a + b)
    assert len({panel[0] for panel in a + b}) == 8
    squares = screen.js(
        f"{GRAPHS}.map((p) => ['xaxis', 'xaxis2', 'yaxis', 'yaxis4'].map((axis) => Math.round(p._fullLayout[axis]._length)))"
    )
    assert len({side for sides in squares for side in sides}) == 1  # pixels: squares of one size
    headlines = screen.js("[compareView.attacks.a.headlines, compareView.attacks.b.headlines]")
    for panels, words in zip((a, b), headlines, strict=True):
        assert [panel[1].partition(": ")[2] for panel in panels] == words


@pytest.mark.slow
def test_one_key_swaps_the_runs_and_back_and_the_choice_of_b_is_remembered(screen: Screen) -> None:
    opened(screen, along="a")
    before = screen.js(SHOWN)
    matrices = "['a', 'b'].map((side) => document.getElementById(`matrix-${side}`).innerHTML)"
    numbers = screen.js(matrices)
    screen.page.keyboard.press("s")
    screen.until(f"([a, b]) => {NAMES}[0] === 'mnist-standard' && {matrices}[0] === b && {matrices}[1] === a", numbers)
    screen.until(f"(first) => {FINE} && {SHOWN}[1][0][3].join() === first.join()", before[0][0][3])
    assert screen.js(SHOWN)[::-1] == before
    screen.until("location.search.includes('a=mnist-standard') && location.search.includes('along=b')")
    assert screen.page.locator("#transfer-a-title").text_content() == "Transfer in A: mnist-standard"
    screen.page.keyboard.press("s")
    screen.until(f"(first) => {FINE} && {SHOWN}[0][0][3].join() === first.join()", before[0][0][3])
    assert screen.js(SHOWN) == before
    screen.page.locator("#b").select_option("mnist-trs")
    screen.until("location.search.includes('b=mnist-trs')")
    screen.page.goto(f"{screen.address}compare?a=mnist-standard&n=64&steps=2")
    screen.until(f"window.compareView?.slices && {NAMES}.join() === 'mnist-standard,mnist-trs'")
    screen.js("localStorage.clear()")


@pytest.mark.slow
def test_image_plane_and_run_change_by_keys_and_controls(screen: Screen) -> None:
    opened(screen, measured=False, image="8")
    before = screen.js(SHOWN)[0][0][0]
    screen.page.keyboard.press(".")
    screen.page.keyboard.press(".")
    screen.until("location.search.includes('image=10&')")
    screen.until(f"(before) => {SHOWN}[0][0][0] !== before", before)
    screen.page.keyboard.press("p")
    screen.until("location.search.includes('along=a&')")
    screen.page.keyboard.press("?")
    screen.until("document.getElementById('help').open")
    screen.page.keyboard.press("Escape")
    screen.page.locator("#a").select_option("bars-cos-only")  # other data: B goes with it
    screen.until(f"{NAMES}[0] === 'bars-cos-only' && {NAMES}[1] === 'bars-cos-only'")
    screen.until("document.getElementById('plane-words').textContent.includes('the inputs themselves')")
    assert not screen.page.locator("#along").is_visible()


def test_a_slider_draws_no_slice_anew(screen: Screen) -> None:
    opened(screen, measured=False)
    sources = [panel[0] for panel in screen.js(SHOWN)[0]]
    asked = len(screen.asked)
    screen.page.locator("#eps").focus()
    screen.page.keyboard.press("ArrowRight")
    screen.until("!location.search.includes('eps=0.1&')")
    eps = "new URLSearchParams(location.search).get('eps')"
    screen.until(f"document.getElementById('plane-words').textContent.includes(`ε ${{{eps}}} (max norm)`)")
    bodies = [url for url in screen.asked[asked:] if "_dash-update-component" in url]
    assert bodies
    assert [panel[0] for panel in screen.js(SHOWN)[0]] == sources


BUSY = "[...document.querySelectorAll('.box')].filter((box) => box.ariaBusy === 'true').map((box) => box.closest('section').id)"


def test_what_is_of_other_settings_is_grey_and_says_so_until_the_answer(screen: Screen) -> None:
    opened(screen)
    screen.until(f"{BUSY}.length === 0")
    numbers = "['matrix', 'words'].map((name) => document.getElementById(`${name}-a`).textContent).join()"
    before = screen.js(numbers)

    def is_measurement(request: Request) -> bool:
        return '"output":"..matrix-a-html.data' in (request.post_data or "")

    def hold(route: Route) -> None:
        if not is_measurement(route.request):
            route.continue_()

    screen.page.route("**/_dash-update-component*", hold)
    screen.page.locator("#eps").focus()
    with screen.page.expect_request(is_measurement):
        screen.page.keyboard.press("ArrowRight")
    screen.until(f"{BUSY}.join() === 'transfer-a,transfer-b,live'")
    screen.until("getComputedStyle(document.getElementById('matrix-a')).opacity === '0.45'")
    screen.until("getComputedStyle(document.querySelector('#transfer-a .waiting')).visibility === 'visible'")
    assert screen.js(numbers) == before
    screen.page.unroute("**/_dash-update-component*")  # which lets those go on that are held
    screen.until(f"(before) => {BUSY}.length === 0 && {numbers} !== before", before)
    assert screen.js("getComputedStyle(document.querySelector('#transfer-a .waiting')).visibility") == "hidden"


def test_the_theme_does_not_wait_for_the_figures(screen: Screen) -> None:
    def hold(route: Route) -> None:
        if '"output":"..attack-data.data' not in (route.request.post_data or ""):
            route.continue_()

    screen.page.route("**/_dash-update-component*", hold)
    screen.page.goto(f"{screen.address}compare?theme=dark&n=64&steps=2")
    screen.until("document.documentElement.dataset.theme === 'dark'")
    assert screen.js(f"{GRAPHS}.every((plot) => !plot)")
    screen.page.unroute("**/_dash-update-component*")
    screen.until(DRAWN)


def test_what_cannot_be_had_is_said_on_the_page(screen: Screen) -> None:
    opened(screen, measured=False, image="99999999")
    assert "test images" in screen.notice
    assert screen.page.locator("#image").input_value() == "8"
    opened(screen, measured=False, b="bars-cos-only")
    assert "bars-cos-only is on bars" in screen.notice
    assert screen.page.locator("#b").input_value() == "mnist-standard"
    screen.page.goto(f"{screen.address}compare?a=nobody")
    screen.until("document.getElementById('notice')?.textContent.includes('nobody')")
    screen.until(f"{DRAWN}")


def test_a_server_that_has_gone_is_said_and_unsaid_when_it_is_back(screen: Screen) -> None:
    opened(screen, measured=False)
    screen.page.route("**/alive", lambda route: route.fulfill(status=503, body=""))
    screen.until("document.getElementById('gone').textContent.includes('does not answer')")
    screen.page.unroute("**/alive")
    screen.until("document.getElementById('gone').textContent === ''")
    screen.problems[:] = [problem for problem in screen.problems if "503" not in problem]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_axe_finds_nothing(screen: Screen, theme: str) -> None:
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
    opened(screen, theme=theme)
    assert screen.js("document.documentElement.dataset.theme") == theme
    for width, height in ((1920, 1080), (1280, 720), (768, 1024), (375, 800)):
        screen.page.set_viewport_size({"width": width, "height": height})
        screen.until(f"innerWidth === {width} && document.scrollingElement.scrollWidth <= {width}")
        screen.until(f"{GRAPHS}.every((plot) => plot.getBoundingClientRect().right <= {width})")
        found = Axe().run(screen.page, options=rules).response["violations"]
        assert [(v["id"], [(n["target"], n["failureSummary"]) for n in v["nodes"]][:4]) for v in found] == [], (width, theme)
    screen.page.set_viewport_size({"width": 1280, "height": 720})


def test_the_handout_opens_without_the_explorer(screen: Screen, tmp_path: Path) -> None:
    opened(screen)
    with screen.page.expect_download() as download:
        screen.page.locator("#handout").click()
    assert download.value.suggested_filename == "mnist-trs-and-mnist-standard-handout.html"
    saved = tmp_path / "handout.html"
    download.value.save_as(saved)
    asked: list[str] = []
    with screen.page.context.expect_page() as opening:
        screen.js("window.open('about:blank')")
    page = opening.value
    page.on("request", lambda request: asked.append(request.url))
    page.goto(saved.as_uri())
    page.wait_for_selector(".js-plotly-plot .main-svg")
    charts = page.evaluate("document.querySelectorAll('.js-plotly-plot').length")
    wide = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.js-plotly-plot')].map((p) => p.getBoundingClientRect().right))"
    )
    text = page.evaluate("document.body.innerText")
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert charts == 2 + 1 + 3
    assert wide <= 1280
    assert len(re.findall(r"weights [0-9a-f]{64}", text)) == 2
