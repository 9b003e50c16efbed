"""Time the web explorer as a user sees it, with its own server and a real browser, against its targets.

Run by: python tests/bench/explore.py [--rounds N] [--json FILE]
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from bench_script import main
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from trs_explorer import data
from trs_explorer.bench.timing import interleaved
from trs_explorer.explore.planes import along_gradient, loss_directions
from trs_explorer.explore.slices import LEVELS, coordinates, new_points, sample
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError, find_runs
from trs_explorer.shipped import folder, python_m

RUN = "mnist-trs"
WIDTH, HEIGHT = 1400, 1000
TITLE = f"`trs explore {RUN}` in a headless Chromium, {WIDTH} x {HEIGHT}"
NOTE = "ms from the event's time stamp to its painted frame; requests: the part of it (p50) spent waiting for the server"
STOPWATCH = Path(__file__).with_name("stopwatch.js").read_text()
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADDRESS = re.compile(r"http://[^\s/]+/")

Lap = tuple[float, float]  # milliseconds, and how many of them a request was under way


@dataclass(frozen=True)
class Mark:
    """A change of the page that is timed: its label, its target in ms (None: no target), and its name in stopwatch.js."""

    label: str
    target: float | None
    name: str


def no_preparation(page: Page, turn: int) -> None:
    """Prepare nothing: most interactions need nothing."""


@dataclass(frozen=True)
class Interaction:
    """Something that a user does.

    act: do it.  event: the browser event from which time runs.  marks: the changes that are waited for.
    prepare: called before the clock runs.  times: how many times as often as others it is done.
    settle: before all that, wait until nothing is being computed.
    """

    act: Callable[[Page, int], None]
    event: str
    marks: tuple[Mark, ...]
    prepare: Callable[[Page, int], None] = no_preparation
    times: int = 1
    settle: bool = True


def bench_explore(rounds: int, show: Callable[[str], None]) -> tuple[str, list[str], list[dict]]:
    """Title, notes, and one row per figure, each of that many rounds after an unmeasured one.

    show: told what is being measured.
    Raises: UsageError without a Chromium; RunError if the explorer does not start, or its page does not show what it should.
    """
    try:
        with chromium() as browser, served(folder("checkpoints") / RUN) as address:
            versions = f"Chromium {browser.version}, " + ", ".join(
                f"{name} {version(name)}" for name in ("dash", "plotly", "playwright")
            )
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
            context.add_init_script(STOPWATCH)
            rows = measure_page(context, f"{address}?run={RUN}&image=0&attack=pgd&steps=10&n=256", rounds, show)
    except Error as error:
        raise RunError(f"the explorer's page did not do as expected: {' '.join(error.message.split())[:200]}") from error
    show("samples per second")
    sampled, plain = sampling_rates(rounds)
    rates = f"samples per second: slices {sampled:,.0f}, plain forward passes {plain:,.0f}"
    return (
        TITLE,
        [NOTE, rates, versions],
        [
            *rows,
            row("slices: rate lost against plain forward passes", 100 * (1 - sampled / plain), "%", 20),
        ],
    )


def row(what: str, p50: float, unit: str, target: float | None, p95: float | None = None, requests: float | None = None) -> dict:
    """A row of the table. target: the most that p95 may be, or p50 where there is no p95."""
    met = "" if target is None else "yes" if (p50 if p95 is None else p95) <= target else "NO"
    return {"what": what, "p50": p50, "p95": p95, "unit": unit, "target": target, "met": met, "requests": requests}


def laps_row(mark: Mark, laps: list[Lap]) -> dict:
    """The row of a mark: median and 95th percentile of its laps."""
    (p50, p95), waited = np.percentile([ms for ms, _ in laps], [50, 95]), np.median([waited for _, waited in laps])
    return row(mark.label, float(p50), "ms", mark.target, float(p95), float(waited))


# --- what a user does ------------------------------------------------------------------------------------------------


def hover(page: Page, turn: int) -> None:
    """Move the pointer to a random point of the first panel."""
    left, top, width, height = page.evaluate(FIRST_PANEL)
    rng = random.Random(turn)
    page.mouse.move(left + rng.uniform(0.05, 0.95) * width, top + rng.uniform(0.05, 0.95) * height)


def click_member(page: Page, turn: int) -> None:
    """Hide a member, or show it again."""
    page.get_by_label("F2", exact=True).click()


def with_member(*, shown: bool) -> Callable[[Page, int], None]:
    """The preparation that shows a member or hides it, and waits until that is done."""

    def prepare(page: Page, turn: int) -> None:
        page.locator("#slice summary", has_text="more").locator("xpath=..").evaluate("(details) => { details.open = true; }")
        if page.get_by_label("F2", exact=True).is_checked() is not shown:
            click_member(page, turn)
            page.wait_for_timeout(500)
            wait_until_settled(page)

    return prepare


def press(key: str) -> Callable[[Page, int], None]:
    """The action that presses a key."""
    return lambda page, turn: page.keyboard.press(key)


def focus(name: str) -> Callable[[Page, int], None]:
    """The preparation that focuses an element."""
    return lambda page, turn: page.locator(f"#{name}").focus()


FIRST_PANEL = """(() => {
  const graph = document.querySelector("#slices .js-plotly-plot"), {xaxis, yaxis} = graph._fullLayout;
  const box = graph.getBoundingClientRect();
  return [box.left + xaxis._offset, box.top + yaxis._offset, xaxis._length, yaxis._length];
})()"""
COARSE, FINE, FINEST = LEVELS[0], LEVELS[2], LEVELS[3]
WITHOUT_REQUEST = (
    Interaction(hover, "pointermove", (Mark("hover: the crosshair on all panels", 50, "crosshair"),), times=4),
    Interaction(press("l"), "keydown", (Mark("the next layer", 50, "switched"),), prepare=focus("slice-box"), times=4),
    Interaction(click_member, "click", (Mark("hide a member", 50, "switched"),), prepare=with_member(shown=True)),
    Interaction(click_member, "click", (Mark("show a member again", 50, "switched"),), prepare=with_member(shown=False)),
)
SLICES = Interaction(
    press("."),  # the next image
    "keydown",
    (
        Mark(f"a new image: slice {COARSE} x {COARSE}", 200, "level 0"),
        Mark("a new image: its lines, drawn by plotly", None, "newLines"),
        Mark(f"a new image: slice {FINE} x {FINE}", 1000, "level 2"),
        Mark(f"a new image: slice {FINEST} x {FINEST}", 4000, "level 3"),
    ),
    prepare=focus("slice-box"),
)
# Not settled: a slider is moved while the matrix of its last position is still being filled.
EPS = Interaction(
    press("ArrowLeft"),
    "keydown",
    (Mark("eps, one step: the attacks' paths", 150, "path"),),
    prepare=focus("eps"),
    settle=False,
)
MATRIX = Interaction(
    press("ArrowLeft"),  # a further step, of which nothing is known yet
    "keydown",
    (
        Mark("a new eps: first cells of the matrix", 1000, "cells"),
        Mark("a new eps: the matrix, N=3, n=256, PGD-10", 8000, "pairs"),
        Mark("a new eps: the attack on the ensemble itself", None, "everything"),
    ),
    prepare=focus("eps"),
)
LINK = (
    Mark("a link to what is cached: a picture of the slice", 500, "still"),
    Mark("a link to what is cached: the live figure", 2200, "level 0"),
    Mark("a link to what is cached: all sections", 3500, "rooms"),
    Mark(f"a link to what is cached: slice {FINEST} x {FINEST}", None, "level 3"),
)


def measure_page(context: BrowserContext, url: str, rounds: int, show: Callable[[str], None]) -> list[dict]:
    """The rows of everything that is measured in the page at url."""
    show("opening the page, with its first slice and matrix")
    page = context.new_page()
    page.goto(url)
    page.evaluate("stopwatch.opened")
    rows = []
    for interaction in (*WITHOUT_REQUEST, SLICES):
        rows += measure(page, interaction, rounds, show)
    wait_until_settled(page)
    links = [time_opening(context, page.url, turn, show) for turn in range(rounds + 1)][1:]
    rows += [laps_row(mark, [laps[i] for laps in links]) for i, mark in enumerate(LINK)]
    return [*rows, *measure(page, EPS, rounds, show), *measure(page, MATRIX, rounds, show)]


def measure(page: Page, interaction: Interaction, rounds: int, show: Callable[[str], None]) -> list[dict]:
    """The rows of an interaction's marks: it is done rounds * times times, at random moments, after an unmeasured time."""
    rng, laps = random.Random(0), []
    for turn in range(1 + rounds * interaction.times):
        show(f"{interaction.marks[0].label}, {turn}")
        if interaction.settle or turn == 0:
            wait_until_settled(page)
        page.wait_for_timeout(rng.uniform(200, 400))
        interaction.prepare(page, turn)
        laps.append(time_once(page, interaction, turn))
    return [laps_row(mark, [turn[i] for turn in laps[1:]]) for i, mark in enumerate(interaction.marks)]


def wait_until_settled(page: Page) -> None:
    """Wait until nothing is being computed."""
    page.evaluate("stopwatch.settled()")


def time_once(page: Page, interaction: Interaction, turn: int) -> list[Lap]:
    """Do an interaction once; the laps of its marks."""
    names = [mark.name for mark in interaction.marks]
    page.evaluate("([event, marks]) => stopwatch.arm(event, marks)", [interaction.event, names])
    interaction.act(page, turn)
    return [(ms, waited) for ms, waited in page.evaluate("stopwatch.done")]


def time_opening(context: BrowserContext, url: str, turn: int, show: Callable[[str], None]) -> list[Lap]:
    """Open url in a new page; the laps of LINK, timed from the start of the navigation."""
    show(f"{LINK[0].label}, {turn}")
    with context.new_page() as page:
        page.goto(url, wait_until="commit")
        return [(ms, waited) for ms, waited in page.evaluate("stopwatch.opened")]


# --- the explorer and the browser ------------------------------------------------------------------------------------


@contextmanager
def served(run: Path) -> Iterator[str]:
    """Run an explorer of that run in its own process while the block lasts; gives its address."""
    command = [*python_m("trs_explorer"), "explore", str(run), "--no-browser", "--port", "0"]
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            assert process.stdout
            address = next((match[0] for line in process.stdout if (match := ADDRESS.search(line))), None)
            if address is None:
                stderr.seek(0)
                raise RunError(f"trs explore {run} did not start: {' '.join(stderr.read().split())[-300:]}")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium: playwright's if it is installed, else the system's."""
    with sync_playwright() as playwright:
        bundled = Path(playwright.chromium.executable_path)
        browser = playwright.chromium.launch(executable_path=None if bundled.exists() else system_chromium())
        try:
            yield browser
        finally:
            browser.close()


def system_chromium() -> str:
    """The Chromium on the PATH. Raises UsageError if there is none."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        raise UsageError("this benchmark needs a Chromium: apt install chromium, or playwright install chromium")
    return path


# --- sampling rates --------------------------------------------------------------------------------------------------


def sampling_rates(rounds: int) -> tuple[float, float]:
    """Samples per second of a whole slice as the explorer computes it, and of plain forward passes on prepared images.

    A sample is the logits of all members at one point. The plain passes use the batch size that is fastest on this machine.
    """
    (run,) = find_runs(folder("checkpoints") / RUN)
    ensemble, _ = load_ensemble(run)
    ensemble.requires_grad_(False)
    test = data.load(run.config.data, train=False)
    x, y = test.images(slice(0, 1)), test.y[:1]
    plane = along_gradient(loss_directions(ensemble, x, y)[0], x[0], name="F1", seed=0)
    levels = [coordinates(new_points(level), level, low=-4.0, high=4.0) for level in range(len(LEVELS))]
    prepared = plane.images(torch.from_numpy(levels[2]).float())

    def plain(size: int) -> None:
        with torch.inference_mode():
            for batch in prepared.split(size):
                ensemble.member_logits(batch)

    def whole_slice() -> None:
        for points in levels:
            sample(ensemble, plane, points)

    sizes = (64, 128, 256, 512, 1024)
    tried = interleaved({str(size): lambda size=size: plain(size) for size in sizes}, 3)
    best = int(min(tried, key=lambda size: tried[size]))
    times = interleaved({"slice": whole_slice, "plain": lambda: plain(best)}, rounds)
    return sum(map(len, levels)) / times["slice"], len(prepared) / times["plain"]


if __name__ == "__main__":
    sys.exit(main("explore", __doc__.splitlines()[0], bench_explore))
