"""For everyone: any window, any theme, screen readers, several tabs, a run or a server that changes. In a real browser."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext
from web_explorer import Explorer
from web_screen import BARS, CHART, GRAPH, MARKS, QUICK, Screen, serious
from web_screen import screen as new_screen

from trs_explorer import runs
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web.access import protect
from trs_explorer.web.app import create_app
from trs_explorer.web.server import bind, serving

pytestmark = MARKS
WINDOWS = [(1280, 720), (1920, 1080), (768, 1024), (375, 800)]
MAIN_CONTROLS = ("run", "at", "image", "plane", "surrogate", "target", "layer", "eps", "attack", "n", "filter", "scrub", "theme")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}


# --- windows, themes, screen readers ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("state", [QUICK, BARS], ids=["mnist", "bars"])
def test_it_fits_every_window_and_axe_finds_nothing(screen: Screen, state: dict[str, str]) -> None:
    screen.open(state)
    screen.measured()
    screen.until(f"{CHART}?._fullLayout")
    controls = [name for name in MAIN_CONTROLS if name != "plane" or state is QUICK]
    for k, (width, height) in enumerate(WINDOWS):
        screen.page.set_viewport_size({"width": width, "height": height})
        screen.until(f"(width) => innerWidth === width && Math.abs({CHART}._fullLayout.width - {CHART}.clientWidth) < 2", width)
        screen.until(f"Math.abs({GRAPH}._fullLayout.width - document.getElementById('slice-box').clientWidth) < 2")
        for theme in ("dark", "light")[:: 1 if k % 2 else -1]:
            if screen.js("explorerView.state.theme") != theme:
                screen.page.locator("#theme").select_option(theme)
                screen.until_url(theme=theme)
            screen.until("(theme) => document.documentElement.dataset.theme === theme", theme)
            screen.idle()
            _fits(screen, controls)
            _axe(screen)
            screen.js("document.querySelectorAll('#rooms details:not(.pop)').forEach((e) => (e.open = true))")
            assert screen.js("document.scrollingElement.scrollWidth - innerWidth") <= 0
            _axe(screen)
            screen.js("document.querySelectorAll('details').forEach((e) => (e.open = false))")
    screen.page.locator("#help-button").click()
    _axe(screen, "#help")


def _axe(screen: Screen, part: str | None = None) -> None:
    found = Axe().run(screen.page, context=part, options=RULES).response["violations"]
    size = screen.js("[innerWidth, document.documentElement.dataset.theme]")
    assert [(size, v["id"], [(n["target"], n["failureSummary"]) for n in v["nodes"]][:6]) for v in found] == []


def _fits(screen: Screen, controls: list[str]) -> None:
    assert screen.js("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert [name for name in controls if not screen.page.locator(f"#{name}").is_visible()] == []
    # Nothing sticks out of its section, except where something scrolls.
    out = screen.js(
        """[...document.querySelectorAll("section")].flatMap((room) => {
          const edge = room.getBoundingClientRect().right + 1;
          const cut = (e) => e !== room && (getComputedStyle(e).overflowX !== "visible" || cut(e.parentElement));
          const out = (e) => e.checkVisibility() && !e.closest("svg") && e.getBoundingClientRect().right > edge;
          return [...room.querySelectorAll("*")].filter((e) => out(e) && !cut(e.parentElement))
            .map((e) => `${room.id}: ${e.tagName} ${e.id} ${e.textContent.slice(0, 20)}`);
        })"""
    )
    assert out == []
    # Panels are square, large enough, and do not overlap; nor are they wider than the window, nor lies text beside the figure.
    panels = [screen.panel(model) for model in screen.shown]
    for left, top, width, height in panels:
        assert width == pytest.approx(height, abs=1)
        assert width > 90
        assert left >= 0
        assert left + width <= screen.js("innerWidth")
        others = [other for other in panels if other != (left, top, width, height)]
        assert all(x >= left + width or x + w <= left or y >= top + height or y + h <= top for x, y, w, h in others)
    beside = screen.js(
        "[...document.querySelectorAll('#slices text')].filter((e) => e.checkVisibility() && e.textContent"
        " && (e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0)).map((e) => e.textContent)"
    )
    assert beside == []


@pytest.mark.slow
def test_dark_and_light_follow_the_system_and_the_choice(screen: Screen) -> None:
    paper, figure = "getComputedStyle(document.body).backgroundColor", f"{GRAPH}._fullLayout.font.color"
    chart = f"{CHART}._fullLayout.font.color"
    colours = f"[{paper}, {figure}, {chart}]"
    screen.page.emulate_media(color_scheme="dark")
    screen.open({**QUICK, "theme": ""})
    screen.until(f"{CHART}?._fullLayout")
    screen.until(f"{figure} === {chart}")
    screen.idle()
    dark = screen.js(colours)
    assert screen.js("document.documentElement.dataset.theme") == "dark"
    screen.page.emulate_media(color_scheme="light")
    screen.until("document.documentElement.dataset.theme === 'light'")
    screen.until(f"(before) => {figure} !== before && {chart} !== before", dark[1])
    screen.idle()
    light = screen.js(colours)
    screen.page.locator("#theme").select_option("dark")
    screen.until_url(theme="dark")
    screen.until(f"(before) => {figure} === before && {chart} === before", dark[1])
    assert screen.js(colours) == dark != light


def test_every_control_has_a_name_and_every_chart_a_table(screen: Screen) -> None:
    screen.open(QUICK, level=3)
    screen.measured()
    nameless = screen.js(
        """(() => { const all = [...document.querySelectorAll("button, select, input, [tabindex='0']")];
          const labels = (e) => [...(e.labels || [])].map((label) => label.textContent).join(" ");
          const name = (e) => e.ariaLabel || labels(e) || e.textContent || e.title;
          return all.filter((e) => e.checkVisibility() && !name(e).trim()).map((e) => e.outerHTML.slice(0, 200)); })()"""
    )
    assert nameless == []
    screen.page.locator("#slice summary", has_text="table").click()
    screen.until("document.querySelector('#share-table tbody tr')")
    table = screen.page.locator("#share-table")
    assert table.locator("thead th").all_text_contents() == ["class", "F1", "F2", "F3", "ensemble"]
    shares = [row.locator("td").all_text_contents() for row in table.locator("tbody tr").all()]
    for model in range(4):
        assert sum(float(row[model].rstrip(" %")) for row in shares) == pytest.approx(100, abs=0.6)
    assert screen.page.locator("#history-table tbody tr").count() > 10
    assert screen.page.locator("#angle-table tbody tr").count() >= 3


# --- two tabs --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_tabs_do_not_cancel_each_other(tab: Callable[[], Screen]) -> None:
    one, two = tab(), tab()
    for screen, image, eps in ((one, "21", "0.21"), (two, "22", "0.22")):
        screen.open({**QUICK, "image": image, "eps": eps}, level=None)
    for screen, image, eps in ((one, "21", "0.21"), (two, "22", "0.22")):
        screen.painted(level=3)
        screen.measured()
        assert screen.url["image"] == image
        assert f"ε {eps} " in screen.page.locator("#transfer-words").text_content()
        assert screen.problems == []
    assert one.key != two.key


# --- a run, or the server, that changes ------------------------------------------------------------------------------


@contextmanager
def on(context: BrowserContext, address: str) -> Iterator[Screen]:
    """A tab on another server than the session's."""
    screen = new_screen(context, address)
    yield screen
    left = serious(screen.problems), screen.foreign, screen.js("watch.refused")
    screen.page.close()
    assert left == ([], [], [])


def test_a_server_that_has_gone_is_said_within_two_beats_and_unsaid_when_it_is_back(
    context: BrowserContext, explorer: Explorer
) -> None:
    app = create_app(Library([explorer.library.run("bars-cos-only").path.parent]))
    protect(app.server)
    sock = bind(port=0)
    port = sock.getsockname()[1]
    with on(context, f"http://127.0.0.1:{port}/") as screen:
        beats: list[str] = []
        with serving(app.server, sock):
            screen.open(BARS)
            screen.measured()
            before = screen.key
            screen.page.on("requestfailed", lambda request: beats.append(request.url))
        screen.until("document.getElementById('gone').textContent.includes('does not answer')")
        assert screen.page.locator("#gone").is_visible()
        assert 1 <= len(beats) <= 2
        assert all(url.endswith("/alive") for url in beats)
        assert all("alive" in text or "ERR_CONNECTION" in text for text in screen.problems)
        again = bind(port=port)
        assert again.getsockname()[1] == port
        with serving(app.server, again):
            screen.until("!document.getElementById('gone').textContent")
            screen.problems.clear()
            screen.page.locator("#scrub").focus()
            screen.page.keyboard.press("Home")
            screen.painted(but=before)
            screen.until_url(at="0400")
            screen.idle()


def _half(name: str, to: Path, last: str) -> list[str]:
    """A copy of a shipped run as it was when a checkpoint had just been saved; the lines of its log that are to come."""
    source = folder("checkpoints") / name
    to.mkdir(parents=True)
    shutil.copy(source / "config.json", to)
    shutil.copy(source / f"epoch-{last}.safetensors", to)
    lines = (source / "events.jsonl").read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines]
    cut = next(i for i, e in enumerate(events) if e["kind"] == "checkpoint" and e["name"] == last) + 1
    (to / "events.jsonl").write_text("".join(lines[:cut]))
    return lines[cut:]


@pytest.mark.slow
def test_a_training_is_followed_without_a_reload(
    context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path
) -> None:
    path = tmp_path / "growing"
    later = _half("bars-cos-only", path, "0400")
    run = runs.open_run(path)
    with runs.trainer_lock(run), on(context, serve(tmp_path).address) as screen:
        run.write_status(state="running", step=1, steps=2, epoch=400, epochs=800)
        before = screen.open({**BARS, "run": "growing"}).key
        screen.measured()
        words = screen.page.locator("#run-words").text_content()
        assert "running" in words
        last = f"Math.max(...{CHART}._fullData.flatMap((t) => [...t.x]))"
        step = screen.js(last)
        screen.js("window.same = true")

        with (path / "events.jsonl").open("a") as log:
            log.writelines(later[: len(later) // 2])
        screen.until(f"(before) => {last} > before", step)
        assert screen.page.locator("#run-words").text_content() != words
        assert screen.key == before

        # Its weights first, then its line in the log, as the trainer does it.
        shutil.copy(folder("checkpoints") / "bars-cos-only" / "epoch-0800.safetensors", path)
        with (path / "events.jsonl").open("a") as log:
            log.writelines(later[len(later) // 2 :])
        run.write_status(state="finished", step=2, steps=2, epoch=800, epochs=800)
        screen.painted(but=before)
        screen.until("document.getElementById('run-words').textContent.includes('finished')")
        screen.measured()
        assert screen.page.locator("#at option").last.get_attribute("value") == "0800"
        assert "at" not in screen.url
        assert screen.js("window.same") is True


def test_runs_that_change_a_new_checkpoint_a_damaged_one_and_one_that_goes(
    context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path
) -> None:
    path, shipped = tmp_path / "changing", folder("checkpoints") / "bars-cos-only"
    _half("bars-cos-only", path, "0400")
    run = runs.open_run(path)
    with runs.trainer_lock(run), on(context, serve(tmp_path).address) as screen:
        run.write_status(state="running", step=1, steps=2, epoch=400, epochs=800)
        first = screen.open({**BARS, "run": "changing"}).key
        # Noticed also while the log says nothing.
        shutil.copy(shipped / "epoch-0800.safetensors", path)
        newest = screen.painted(but=first)
        assert screen.page.locator("#at option").last.get_attribute("value") == "0800"
        # A damaged one among good ones.
        good = (path / "epoch-0400.safetensors").read_bytes()
        (path / "epoch-0400.safetensors").write_bytes(b"no weights")
        screen.page.locator("#at").select_option("0400")
        screen.until("document.getElementById('slice-error').textContent.includes('0400')")
        screen.page.locator("#at").select_option("newest")
        screen.until("!document.getElementById('slice-error').textContent")
        screen.idle()
        assert (screen.notice, screen.key) == ("", newest)
        # One that goes while it is on the screen.
        (path / "epoch-0400.safetensors").write_bytes(good)
        screen.page.locator("#at").select_option("0400")
        assert screen.painted(but=newest) == first
        (path / "epoch-0400.safetensors").unlink()
        screen.page.locator("#slice-box").focus()
        screen.page.keyboard.press(".")
        screen.until("document.getElementById('notice').textContent.includes('0400')")
        screen.until_url(image="1", at="")
        screen.page.locator("#at").select_option("0800")
        screen.until_url(at="0800")
        screen.idle()
        assert screen.notice == ""


def test_a_run_without_a_checkpoint_yet(context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path) -> None:
    path = tmp_path / "new"
    _half("bars-cos-only", path, "0400")
    (path / "epoch-0400.safetensors").unlink()
    run = runs.open_run(path)
    with runs.trainer_lock(run), on(context, serve(tmp_path).address) as screen:
        run.write_status(state="running", step=1, steps=2, epoch=400, epochs=800)
        screen.open({**BARS, "run": "new"}, level=None)
        screen.until("document.getElementById('slice-error').textContent.includes('no checkpoint yet')")
        shutil.copy(folder("checkpoints") / "bars-cos-only" / "epoch-0400.safetensors", path)
        with (path / "events.jsonl").open("a") as log:
            log.write(
                json.dumps({"v": 1, "kind": "step", "t": 1.0, "step": 99_999, "epoch": 401, "terms": {"total": 1.0}}) + "\n"
            )
        screen.painted()
        screen.until("!document.getElementById('slice-error').textContent")
        screen.idle()
        assert screen.notice == ""
