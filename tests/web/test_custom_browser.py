"""Ensembles and attacks of others in a browser: their options are controls, and names of classes are texts."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from custom_runs import attack_file, imported_run
from web_explorer import Explorer

from trs_explorer.web import custom_attacks

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext
    from web_screen import Screen

pytestmark = pytest.mark.browser
NAMES = ("<img src=x onerror='window.hurt = 1'> %{x}", "a name that is longer than any panel is wide, by far, and goes on")


@pytest.fixture(scope="module")
def theirs(serve: Callable[[Path], Explorer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("theirs")
    imported_run(place, "own", shape=(3, 6, 10), names=NAMES)
    imported_run(place, "many", shape=(3, 6, 10), names=NAMES, members=16)
    custom_attacks.offer([f"{attack_file(place)}:mirror", f"{place}/mine.py:broken"])
    yield serve(place / "runs").address
    custom_attacks.offer([])


@pytest.fixture
def screen(context: "BrowserContext", theirs: str) -> "Iterator[Screen]":
    from web_screen import screen as new_screen
    from web_screen import serious

    one = new_screen(context, theirs)
    yield one
    told = [one.foreign, serious(one.problems)]
    one.page.close()
    assert told == [[], []]


def test_an_own_option_that_is_set_changes_attack_and_address(screen: "Screen", theirs: str) -> None:
    screen.page.goto(f"{theirs}?run=own&image=0&eps=0.1&attack=mine.py:mirror")
    screen.until("document.querySelector('#fooled-words')?.innerText.includes('also fools')")
    screen.page.evaluate("document.querySelectorAll('#transfer details.pop > summary')[0].click()")
    side = screen.page.locator("[data-option=side]")
    assert side.input_value() == "28"
    side.fill("1")
    side.press("Tab")
    screen.until("document.querySelector('#fooled-words').innerText.includes('fools no model at all')")
    screen.until("location.search.includes('options=side%3D1')")
    assert screen.page.evaluate("document.activeElement.dataset.option") == "kind"  # where Tab went
    screen.page.select_option("#attack", "pgd")
    screen.until("document.querySelectorAll('[data-option]').length === 0 && !location.search.includes('options=')")


def test_an_attack_that_fails_is_said_and_its_lines_are_gone(screen: "Screen", theirs: str) -> None:
    screen.page.goto(f"{theirs}?run=own&image=0&eps=0.1&attack=mine.py:mirror")
    has_paths = "document.querySelector('.js-plotly-plot')?.data?.some((trace) => trace.name.startsWith('path of'))"
    screen.until(has_paths)
    screen.page.select_option("#attack", "mine.py:broken")
    screen.until("document.querySelector('#start-words').innerText.includes('mine.py, line 17, in broken: NameError')")
    screen.until(f"!{has_paths}")
    assert screen.page.locator(".js-plotly-plot").count() > 0


def test_names_of_classes_are_texts_that_fit(screen: "Screen", theirs: str) -> None:
    screen.page.goto(f"{theirs}?run=own&image=0&eps=0.1&attack=mine.py:mirror")
    screen.until("[...document.querySelectorAll('.annotation-text')].some((one) => one.textContent.includes('fooled'))")
    titles = screen.page.evaluate(
        "[...document.querySelectorAll('.annotation-text')].slice(1).map((one) => [one.textContent, one.getBoundingClientRect()])"
    )
    assert all("…" in text for text, _ in titles)
    edges = [(box["left"], box["right"]) for _, box in titles]
    assert all(right <= following for (_, right), (following, _) in pairwise(edges))
    screen.page.locator("#gallery button").first.wait_for()
    assert screen.page.evaluate("window.hurt") is None


def test_sixteen_members_have_a_matrix_over_the_whole_width_with_numbers_apart(screen: "Screen", theirs: str) -> None:
    screen.page.goto(f"{theirs}?run=many&image=0&eps=0.1&attack=mine.py:mirror&n=64")
    screen.until("document.querySelectorAll('#matrix .large b').length === 272")
    screen.until("!document.querySelector('#transfer-summary').innerText.includes('Measuring')")
    apart = """
        [...document.querySelectorAll('#matrix tbody tr')].every((row) => {
            const numbers = [...row.querySelectorAll('b')].map((one) => {
                const range = document.createRange();
                range.selectNodeContents(one);
                return range.getBoundingClientRect();
            });
            return numbers.every((box, k) => k === 0 || numbers[k - 1].right + 4 < box.left);
        })
    """
    assert screen.page.evaluate(apart)
    assert screen.page.evaluate("document.querySelector('#transfer').getBoundingClientRect().width") > 1000
