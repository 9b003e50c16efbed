"""The "Bounds" section in a real browser: its switch, its chart, and a phone."""

from axe_playwright_python.sync_playwright import Axe
from web_screen import BARS, MARKS, Screen

pytestmark = MARKS
POINTS = "document.querySelector('#bounds-figure .js-plotly-plot')?._fullData?.[0].x.length"


def test_the_switch_measures_and_the_address_has_it(screen: Screen) -> None:
    screen.open({**BARS, "n": "8"})
    screen.until("document.getElementById('bounds-words').textContent.startsWith('Not measured')")
    assert screen.js(POINTS) is None
    screen.page.locator("#bounds").click()
    screen.until(f"{POINTS} === 4")
    screen.until("document.getElementById('bounds-words').textContent.startsWith('Lower bound')")
    assert screen.url["bounds"] == "1"
    screen.page.locator("#bounds-room summary", has_text="table").click()
    assert screen.page.locator("#bounds-table tbody tr").count() == 8
    screen.page.locator("#bounds-room summary", has_text="why").click()
    assert "Theorem 1" in screen.page.locator("#bounds-sentences").text_content()
    screen.fits_a_phone()
    found = Axe().run(screen.page, "#bounds-room").response["violations"]
    assert [[one["id"], [node["target"] for node in one["nodes"]]] for one in found] == []
    ink = screen.js("document.querySelector('#bounds-figure .js-plotly-plot')._fullLayout.font.color")
    screen.page.keyboard.press("t")
    screen.until("(ink) => document.querySelector('#bounds-figure .js-plotly-plot')._fullLayout.font.color !== ink", ink)
    assert screen.problems == []
