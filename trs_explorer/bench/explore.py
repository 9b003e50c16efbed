"""`trs bench explore`: the web explorer as a user has it, a server of its own and a real browser, against its targets."""

import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from trs_explorer import data
from trs_explorer.bench.timing import interleaved
from trs_explorer.explore.planes import along_gradient, loss_gradients
from trs_explorer.explore.slices import LEVELS, coordinates, new_points, sample
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError, find_runs
from trs_explorer.shipped import folder, python_m

RUN = "mnist-trs"
WIDE, HIGH = 1400, 1000
TITLE = f"`trs explore {RUN}` in a headless Chromium, {WIDE} x {HIGH}"
BESIDE = "ms from the event's own time stamp to its frame; requests: the part of it (p50) in which an answer was awaited"
STOPWATCH = Path(__file__).with_name("stopwatch.js").read_text()
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADDRESS = re.compile(r"http://[^\s/]+/")
FIRST_SEED = 100  # any but the one that the page opens on

Lap = tuple[float, float]  # milliseconds, and those of them in which an answer was awaited


@dataclass(frozen=True)
class Mark:
    """Something that is waited for: its row's words and target in ms (None: there is none), and its name in stopwatch.js."""

    what: str
    target: float | None
    name: str


def nothing(page: Page, turn: int) -> None:
    """What most interactions need before them."""


@dataclass(frozen=True)
class Interaction:
    """What a user does, the event from which time runs, and what is waited for; `times` times as often as others.

    before: what is done before the clock runs.  settle: and before that, wait until nothing is being computed any more.
    """

    act: Callable[[Page, int], None]
    event: str
    marks: tuple[Mark, ...]
    before: Callable[[Page, int], None] = nothing
    times: int = 1
    settle: bool = True


def bench_explore(rounds: int, say: Callable[[str], None]) -> tuple[list[str], list[dict]]:
    """Lines that name what was measured with, and one row a figure, each of so many rounds after one that does not count.

    Raises: UsageError without a Chromium; RunError if the explorer does not start, or its page does not show what it should.
    """
    try:
        with chromium() as browser, served(folder("checkpoints") / RUN) as address:
            versions = f"Chromium {browser.version}, " + ", ".join(
                f"{name} {version(name)}" for name in ("dash", "plotly", "playwright")
            )
            context = browser.new_context(viewport={"width": WIDE, "height": HIGH})
            context.add_init_script(STOPWATCH)
            rows = in_the_browser(context, f"{address}?run={RUN}&image=0&attack=pgd&steps=10&n=256", rounds, say)
    except Error as error:
        raise RunError(f"the explorer's page did not do as expected: {' '.join(error.message.split())[:200]}") from error
    say("samples a second")
    sampled, plain = sampling(rounds)
    rates = f"samples a second: slices {sampled:,.0f}, plain forward passes {plain:,.0f}"
    return [BESIDE, rates, versions], [
        *rows,
        row("rate that slices lose to plain forward passes", 100 * (1 - sampled / plain), "%", 20),
    ]


def row(what: str, p50: float, unit: str, target: float | None, p95: float | None = None, requests: float | None = None) -> dict:
    """A row of the table. The target is the most that p95 may be, or p50 where there is only that."""
    met = "" if target is None else "yes" if (p50 if p95 is None else p95) <= target else "NO"
    return {"what": what, "p50": p50, "p95": p95, "unit": unit, "target": target, "met": met, "requests": requests}


def laps_row(mark: Mark, laps: list[Lap]) -> dict:
    """The row of a mark."""
    (p50, p95), waited = np.percentile([ms for ms, _ in laps], [50, 95]), np.median([waited for _, waited in laps])
    return row(mark.what, float(p50), "ms", mark.target, float(p95), float(waited))


# --- what a user does ------------------------------------------------------------------------------------------------


def hover(page: Page, turn: int) -> None:
    """Move the pointer to some point of the first panel."""
    box = page.locator("#panels .frame").first.bounding_box()
    assert box
    chance = random.Random(turn)
    page.mouse.move(box["x"] + chance.uniform(0.05, 0.95) * box["width"], box["y"] + chance.uniform(0.05, 0.95) * box["height"])


def show_or_hide(page: Page, turn: int) -> None:
    """Click on a member: off, and the next time on."""
    page.locator("[data-hide='1']").click()


def press(key: str) -> Callable[[Page, int], None]:
    """Press a key."""
    return lambda page, turn: page.keyboard.press(key)


def type_seed(page: Page, turn: int) -> None:
    """Write a seed that was never there into its field."""
    page.locator("#seed").fill(str(FIRST_SEED + turn))


def hold_eps(page: Page, turn: int) -> None:
    """Put the keyboard's focus on the slider."""
    page.locator("#eps").focus()


COARSE, FINE, FINEST = LEVELS[0], LEVELS[2], LEVELS[3]
AT_HAND = (
    Interaction(hover, "pointermove", (Mark("hover: the readout", 50, "readout"),), times=4),
    Interaction(press("l"), "keydown", (Mark("the next layer", 50, "painted"),), times=4),
    Interaction(show_or_hide, "click", (Mark("a member off, or on again", 50, "panels"),)),
)
SLICES = Interaction(
    press("."),  # the next image
    "keydown",
    (
        Mark(f"a new image: slice {COARSE} x {COARSE}", 150, "level 0"),
        Mark(f"a new image: slice {FINE} x {FINE}", 1000, "level 2"),
        Mark(f"a new image: slice {FINEST} x {FINEST}", 4000, "level 3"),
    ),
)
# A slider is moved on while the matrix of the step before is still being filled.
EPS = Interaction(
    press("ArrowRight"),
    "keydown",
    (Mark("eps, one step: the attack's path", 100, "path"), Mark("eps, one step: the paths on all four models", None, "paths")),
    before=hold_eps,
    settle=False,
)
MATRIX = Interaction(
    press("Enter"),
    "keydown",
    (
        Mark("a new seed: first cells of the matrix", 1000, "cells"),
        Mark("a new seed: the matrix, N=3, n=256, PGD-10", 8000, "pairs"),
        Mark("a new seed: and the ensemble attacked itself", None, "everything"),
    ),
    before=type_seed,
)
LINK = (
    Mark(f"a link to what is cached: slice {COARSE} x {COARSE}", 500, "level 0"),
    Mark(f"a link to what is cached: slice {FINEST} x {FINEST}", None, "level 3"),
)


def in_the_browser(context: BrowserContext, url: str, rounds: int, say: Callable[[str], None]) -> list[dict]:
    """The rows of everything that is measured in the page at url."""
    say("opening the page, with its first slice and matrix")
    page = context.new_page()
    page.goto(url)
    page.evaluate("stopwatch.opened")
    rows = []
    for what in (*AT_HAND, SLICES):
        rows += interaction(page, what, rounds, say)
    settled(page)
    links = [opened(context, page.url, turn, say) for turn in range(rounds + 1)][1:]
    rows += [laps_row(mark, [laps[i] for laps in links]) for i, mark in enumerate(LINK)]
    return [*rows, *interaction(page, EPS, rounds, say), *interaction(page, MATRIX, rounds, say)]


def interaction(page: Page, what: Interaction, rounds: int, say: Callable[[str], None]) -> list[dict]:
    """Do it 1 + rounds * times times, at random moments, and give the rows of its marks without the first time."""
    chance, found = random.Random(0), []
    for turn in range(1 + rounds * what.times):
        say(f"{what.marks[0].what}, {turn}")
        if what.settle or turn == 0:
            settled(page)
        page.wait_for_timeout(chance.uniform(200, 400))
        what.before(page, turn)
        found.append(timed(page, what, turn))
    return [laps_row(mark, [laps[i] for laps in found[1:]]) for i, mark in enumerate(what.marks)]


def settled(page: Page) -> None:
    """Wait until nothing is being computed."""
    page.evaluate("stopwatch.settled()")


def timed(page: Page, what: Interaction, turn: int) -> list[Lap]:
    """Do it once; the laps of its marks."""
    page.evaluate("([event, marks]) => stopwatch.arm(event, marks)", [what.event, [mark.name for mark in what.marks]])
    what.act(page, turn)
    return [(ms, waited) for ms, waited in page.evaluate("stopwatch.done")]


def opened(context: BrowserContext, url: str, turn: int, say: Callable[[str], None]) -> list[Lap]:
    """Open url in a new page, time running from the start of the navigation; the laps of LINK."""
    say(f"{LINK[0].what}, {turn}")
    with context.new_page() as page:
        page.goto(url, wait_until="commit")
        return [(ms, waited) for ms, waited in page.evaluate("stopwatch.opened")]


# --- the explorer and the browser ------------------------------------------------------------------------------------


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of an explorer of that run, in a process of its own, as long as the block lasts."""
    command = [*python_m("trs_explorer"), "explore", str(run), "--no-browser", "--port", "0"]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
    ):
        try:
            assert process.stdout
            address = next((found[0] for line in process.stdout if (found := ADDRESS.search(line))), None)
            if address is None:
                complaints.seek(0)
                raise RunError(f"trs explore {run} did not start: {' '.join(complaints.read().split())[-300:]}")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium: playwright's own where it has one, else the system's."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=None if Path(own).exists() else system_chromium())
        try:
            yield browser
        finally:
            browser.close()


def system_chromium() -> str:
    """The Chromium on the PATH. Raises UsageError if there is none."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        raise UsageError("trs bench explore needs a Chromium: apt install chromium, or playwright install chromium")
    return found


# --- the samples themselves ------------------------------------------------------------------------------------------


def sampling(rounds: int) -> tuple[float, float]:
    """Samples a second: of a whole slice as the explorer computes it, and of forward passes on images that are ready.

    A sample is the logits of all members at one point. The passes have the batch size that is fastest here.
    """
    (run,) = find_runs(folder("checkpoints") / RUN)
    ensemble, _ = load_ensemble(run)
    ensemble.requires_grad_(False)
    test = data.load(run.config.data, train=False)
    x, y = test.images(slice(0, 1)), test.y[:1]
    plane = along_gradient(loss_gradients(ensemble, x, y)[0], x[0], name="F1", seed=0)
    levels = [coordinates(new_points(level), level, low=-4.0, high=4.0) for level in range(len(LEVELS))]
    ready = plane.images(torch.from_numpy(levels[2]).float())

    def plain(size: int) -> None:
        with torch.inference_mode():
            for batch in ready.split(size):
                ensemble.member_logits(batch)

    def whole() -> None:
        for points in levels:
            sample(ensemble, plane, points)

    sizes = (64, 128, 256, 512, 1024)
    tried = interleaved({str(size): lambda size=size: plain(size) for size in sizes}, 3)
    best = int(min(tried, key=lambda size: tried[size]))
    times = interleaved({"whole": whole, "plain": lambda: plain(best)}, rounds)
    return sum(map(len, levels)) / times["whole"], len(ready) / times["plain"]
