"""For everyone: any window, any theme, screen readers, several tabs, a run that is being trained. In a real browser."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext
from web_explorer import Explorer
from web_screen import BARS, CHART, MARKS, QUICK, Screen, serious
from web_screen import screen as new_screen

from trs_explorer import runs
from trs_explorer.shipped import folder

pytestmark = MARKS
WINDOWS = [(1280, 720), (1920, 1080), (768, 1024)]
MAIN_CONTROLS = ("run", "at", "image", "plane", "surrogate", "target", "layer", "eps", "attack", "n", "filter", "scrub", "theme")


# --- windows and themes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [QUICK, BARS], ids=["mnist", "bars"])
@pytest.mark.slow
def test_nothing_is_wider_than_the_window(screen: Screen, state: dict[str, str]) -> None:
    screen.open(state)
    screen.measured()
    screen.until(f"{CHART} && {CHART}._fullLayout")
    for width, height in WINDOWS:
        screen.page.set_viewport_size({"width": width, "height": height})
        screen.until(f"(width) => innerWidth === width && Math.abs({CHART}._fullLayout.width - {CHART}.clientWidth) < 2", width)
        screen.idle()
        _fits(screen, [name for name in MAIN_CONTROLS if name != "plane" or state is QUICK])


def _fits(screen: Screen, controls: list[str]) -> None:
    assert screen.js("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert [name for name in controls if not screen.page.locator(f"#{name}").is_visible()] == []
    # Nothing sticks out of its room, except where the room scrolls.
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
    # Panels are square, large enough, and do not overlap.
    panels = [screen.panel(model) for model in screen.shown]
    for left, top, width, height in panels:
        assert width == pytest.approx(height, abs=1)
        assert width > 90
        assert left >= 0
        assert left + width <= screen.js("innerWidth")
        others = [other for other in panels if other != (left, top, width, height)]
        assert all(x >= left + width or x + w <= left or y >= top + height or y + h <= top for x, y, w, h in others)
    for selector in ("canvas.pixels", "canvas.marks"):  # one lies on the other
        boxes = [tuple(canvas.bounding_box().values()) for canvas in screen.page.locator(f"#panels {selector}").all()]
        for model, box in zip(screen.shown, boxes, strict=True):
            assert box == pytest.approx(screen.panel(model), abs=3)


@pytest.mark.slow
def test_dark_and_light_follow_the_system_and_the_button(screen: Screen) -> None:
    paper, figure = "getComputedStyle(document.body).backgroundColor", f"{CHART}._fullLayout.font.color"
    screen.page.emulate_media(color_scheme="dark")
    screen.open({**QUICK, "theme": ""})
    screen.until(f"{CHART} && {CHART}._fullLayout")
    screen.idle()
    dark = screen.js(f"[{paper}, {figure}]")
    assert screen.js("document.documentElement.dataset.theme") == "dark"
    screen.page.emulate_media(color_scheme="light")
    screen.until("document.documentElement.dataset.theme === 'light'")
    screen.until(f"(before) => {figure} !== before", dark[1])
    screen.idle()
    light = screen.js(f"[{paper}, {figure}]")
    screen.page.locator("#theme").click()
    screen.until_url(theme="dark")
    screen.until(f"(before) => {figure} === before", dark[1])
    assert screen.js(f"[{paper}, {figure}]") == dark != light


# --- screen readers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [QUICK, BARS], ids=["mnist", "bars"])
def test_axe_finds_nothing(screen: Screen, state: dict[str, str]) -> None:
    screen.open(state)
    screen.measured()
    screen.js("document.querySelectorAll('details').forEach((e) => (e.open = true))")
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
    for theme in ("light", "dark"):
        screen.js("(theme) => trs.set({theme})", theme)
        screen.idle()
        found = Axe().run(screen.page, options=rules).response["violations"]
        assert [(theme, v["id"], [(n["target"], n["failureSummary"]) for n in v["nodes"]][:6]) for v in found] == []
    screen.page.locator("#help-button").click()
    found = Axe().run(screen.page, context="#help", options=rules).response["violations"]
    assert [v["id"] for v in found] == []


def test_every_control_has_a_name_and_every_chart_a_table(screen: Screen) -> None:
    screen.open(QUICK)
    screen.measured()
    for control in screen.page.locator("button:visible, select:visible, input:visible, [tabindex='0']:visible").all():
        name = control.evaluate(
            "(e) => e.ariaLabel || [...(e.labels || [])].map((l) => l.textContent).join(' ') || e.textContent || e.title"
        )
        assert name.strip(), control.evaluate("(e) => e.outerHTML.slice(0, 200)")
    screen.page.locator("#shares summary").click()
    screen.until("document.querySelector('#share-table tbody tr')")
    rows = screen.page.locator("#share-table tbody tr").all()
    assert [row.locator("th").text_content() for row in rows] == ["F1", "F2", "F3", "ensemble"]
    for row in rows:
        assert sum(float(cell.text_content().rstrip(" %")) for cell in row.locator("td").all()) == pytest.approx(100, abs=0.6)
    assert screen.page.locator("#history-table tbody tr").count() > 10
    assert screen.page.locator("#angle-table tbody tr").count() >= 3


# --- two tabs --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_tabs_do_not_cancel_each_other(tab: Callable[[], Screen]) -> None:
    one, two = tab(), tab()
    for screen, image, eps in ((one, "21", "0.21"), (two, "22", "0.22")):
        screen.open({**QUICK, "image": image, "eps": eps}, level=None)
    for screen, image, eps in ((one, "21", "0.21"), (two, "22", "0.22")):
        screen.painted()
        screen.measured()
        assert screen.url["image"] == image
        assert f"eps {eps} " in screen.page.locator("#transfer-words").text_content()
        assert screen.problems == []  # no 409 either
    assert one.js("trs.scene.key") != two.js("trs.scene.key")


# --- a run that changes ----------------------------------------------------------------------------------------------


@contextmanager
def on(context: BrowserContext, explorer: Explorer) -> Iterator[Screen]:
    """A tab on another server than the session's."""
    screen = new_screen(context, explorer.address)
    yield screen
    left = serious(screen.problems), screen.foreign, screen.js("watch.refused")
    screen.page.close()
    assert left == ([], [], [])


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
    with runs.trainer_lock(run), on(context, serve(tmp_path)) as screen:
        run.write_status(state="running", step=1, steps=2, epoch=400, epochs=800)
        before = screen.open({**BARS, "run": "growing"}).js("trs.scene.key")
        screen.measured()
        digest = screen.js("trs.scene.digest")
        words = screen.page.locator("#run-words").text_content()
        assert "running" in words
        last = f"Math.max(...{CHART}.data.flatMap((t) => [...t.x]))"
        step = screen.js(last)
        screen.js("window.same = true")

        with (path / "events.jsonl").open("a") as log:
            log.writelines(later[: len(later) // 2])
        screen.until(f"(before) => {last} > before", step)
        assert screen.page.locator("#run-words").text_content() != words
        assert screen.js("trs.scene.digest") == digest

        # Its weights first, then its line in the log, as the trainer does it.
        shutil.copy(folder("checkpoints") / "bars-cos-only" / "epoch-0800.safetensors", path)
        with (path / "events.jsonl").open("a") as log:
            log.writelines(later[len(later) // 2 :])
        run.write_status(state="finished", step=2, steps=2, epoch=800, epochs=800)
        screen.until("(before) => trs.scene.digest !== before", digest)
        screen.painted(but=before)
        screen.until("document.getElementById('run-words').textContent.includes('finished')")
        screen.measured()
        assert screen.page.locator("#at option").last.get_attribute("value") == "0800"
        assert "at" not in screen.url
        assert screen.js("window.same") is True


def test_a_new_checkpoint_is_noticed_also_while_the_log_says_nothing(
    context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path
) -> None:
    path = tmp_path / "quiet"
    _half("bars-cos-only", path, "0400")
    run = runs.open_run(path)
    with runs.trainer_lock(run), on(context, serve(tmp_path)) as screen:
        run.write_status(state="running", step=1, steps=2, epoch=400, epochs=800)
        screen.open({**BARS, "run": "quiet"})
        screen.idle()
        shutil.copy(folder("checkpoints") / "bars-cos-only" / "epoch-0800.safetensors", path)
        screen.until("[...document.querySelectorAll('#at option')].at(-1).value === '0800'")


def test_a_checkpoint_that_goes_while_it_is_on_the_screen(
    context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path
) -> None:
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / "shrinking")
    with on(context, serve(tmp_path)) as screen:
        key = screen.open({**BARS, "run": "shrinking", "at": "0400"}).js("trs.scene.key")
        screen.measured()
        (tmp_path / "shrinking" / "epoch-0400.safetensors").unlink()
        screen.page.locator("#slice-box").focus()
        screen.page.keyboard.press(".")
        screen.until_url(image="1")
        screen.until("document.getElementById('notice').textContent.includes('0400')")
        screen.idle()
        assert "0400" in screen.notice
        screen.page.locator("#at").select_option("0800")
        screen.painted(but=key)
        screen.idle()
        assert screen.notice == ""


def test_a_damaged_checkpoint_among_good_ones(context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path) -> None:
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / "damaged")
    (tmp_path / "damaged" / "epoch-0400.safetensors").write_bytes(b"no weights")
    with on(context, serve(tmp_path)) as screen:
        key = screen.open({**BARS, "run": "damaged"}).js("trs.scene.key")
        screen.idle()
        screen.page.locator("#at").select_option("0400")
        screen.until("document.getElementById('notice').textContent.includes('0400')")
        screen.page.locator("#at").select_option("")
        screen.idle()
        assert screen.notice == ""
        assert screen.js("trs.scene.key") == key


def test_a_run_without_a_checkpoint_yet(context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path) -> None:
    path = tmp_path / "new"
    _half("bars-cos-only", path, "0400")
    (path / "epoch-0400.safetensors").unlink()
    run = runs.open_run(path)
    with runs.trainer_lock(run), on(context, serve(tmp_path)) as screen:
        run.write_status(state="running", step=1, steps=2, epoch=400, epochs=800)
        screen.open({**BARS, "run": "new"}, level=None)
        screen.until("document.getElementById('notice').textContent.includes('no checkpoint yet')")
        shutil.copy(folder("checkpoints") / "bars-cos-only" / "epoch-0400.safetensors", path)
        with (path / "events.jsonl").open("a") as log:
            log.write(
                json.dumps({"v": 1, "kind": "step", "t": 1.0, "step": 99_999, "epoch": 401, "terms": {"total": 1.0}}) + "\n"
            )
        screen.painted()
        screen.idle()
        assert screen.notice == ""
