"""The benchmark of the web explorer: its parts, the stopwatch on a page with known delays, and once the whole; not its speed."""

import http.server
import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="drives a browser")

import explore
from bench_script import main
from playwright.sync_api import Browser, Error, Page

from trs_explorer.options import UsageError
from trs_explorer.runs import RunError

SHOWN = 120  # ms after a click at which the page below shows something
# What the stopwatch expects of the explorer's page, with delays of our own.
PAGE = f"""
<button id="show">show</button> <button id="busy">busy</button> <button id="nothing">nothing</button>
<div id="crosshair"></div>
<div id="matrix"></div> <p id="transfer-words">starting ...</p>
<script>
  const move = (text) => document.getElementById("crosshair").textContent = text;
  document.getElementById("show").onclick = () => setTimeout(() => move("moved"), {SHOWN});
  const work = () => {{
    for (const until = performance.now() + {SHOWN}; performance.now() < until;);
  }};
  document.getElementById("busy").onclick = () => {{
    move("busy");
    Promise.resolve().then(() => requestAnimationFrame(work)); // after the stopwatch's own first one: the frame comes late
  }};
</script>
"""
CROSSHAIR = (explore.Mark("the crosshair", None, "crosshair"),)


def test_an_address_is_found_in_what_the_explorer_prints() -> None:
    for line in ("1 run at http://127.0.0.1:8050/  (Ctrl-C ends it)", "12 runs at \x1b[1mhttp://127.0.0.1:8050/\x1b[0m  (Ctrl-C"):
        match = explore.ADDRESS.search(line)
        assert match
        assert match[0] == "http://127.0.0.1:8050/"


def test_the_95th_percentile_is_held_to_the_target() -> None:
    laps = [(float(i), i / 2) for i in range(101)]
    row = explore.laps_row(explore.Mark("x", 94, "crosshair"), laps)
    assert (row["p50"], row["p95"], row["requests"], row["met"]) == (50, pytest.approx(95), 25, "NO")
    assert explore.laps_row(explore.Mark("x", 96, "crosshair"), laps)["met"] == "yes"
    assert explore.laps_row(explore.Mark("x", None, "crosshair"), laps)["met"] == ""
    assert explore.row("x", 21.0, "%", 20)["met"] == "NO"


def test_every_mark_is_one_that_the_stopwatch_knows() -> None:
    marks = [
        *explore.LINK,
        *(mark for what in (*explore.WITHOUT_REQUEST, explore.SLICES, explore.EPS, explore.MATRIX) for mark in what.marks),
    ]
    for mark in marks:
        assert f"    {mark.name}: (" in explore.STOPWATCH or mark.name in {f"level {k}" for k in range(4)}, mark.name


def test_without_a_chromium_one_line_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt install chromium"):
        explore.system_chromium()


def test_an_explorer_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"did not start: .*nowhere"), explore.served(tmp_path / "nowhere"):
        pass


# --- with a browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with explore.chromium() as launched:
        yield launched


class Handler(http.server.BaseHTTPRequestHandler):
    """The page above, and /slow, which takes its time."""

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            time.sleep(SHOWN / 1000)
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with browser.new_context() as context:
        context.add_init_script(explore.STOPWATCH.replace("PATIENCE = 120000", "PATIENCE = 2000"))
        opened = context.new_page()
        opened.goto(address)
        yield opened


def click(name: str) -> explore.Interaction:
    return explore.Interaction(lambda page, turn: page.locator(f"#{name}").click(), "click", CROSSHAIR)


@pytest.mark.browser
@pytest.mark.parametrize("name", ["show", "busy"])
def test_a_lap_runs_from_the_event_to_the_frame(page: Page, name: str) -> None:
    """A page that shows its answer at once, but lets no frame through for a while, has not shown it before."""
    before = page.evaluate("performance.now()")
    ((ms, waited),) = explore.time_once(page, click(name), 0)
    passed = page.evaluate("performance.now()") - before
    assert SHOWN <= ms <= passed
    assert waited == 0


@pytest.mark.browser
def test_what_moves_before_the_event_is_not_its_answer(page: Page) -> None:
    page.evaluate("setTimeout(() => move('from before'), 10)")
    what = explore.Interaction(lambda page, turn: (page.wait_for_timeout(50), page.locator("#show").click()), "click", CROSSHAIR)
    assert explore.time_once(page, what, 0)[0][0] >= SHOWN


@pytest.mark.browser
def test_time_in_which_answers_are_awaited_counts_once(page: Page) -> None:
    both = "Promise.all([fetch('slow?1'), fetch('slow?2')].map(async (answer) => (await answer).text()))"
    page.evaluate(f"document.getElementById('show').onclick = async () => {{ await {both}; move('x'); }}")
    ((ms, waited),) = explore.time_once(page, click("show"), 0)
    assert SHOWN - 1 <= waited <= ms


@pytest.mark.browser
def test_what_is_never_shown_ends_with_its_name(page: Page) -> None:
    with pytest.raises(Error, match="not seen: crosshair"):
        explore.time_once(page, click("nothing"), 0)


@pytest.mark.campaign
@pytest.mark.browser
@pytest.mark.slow
def test_every_figure_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rounds", "3", "--json", str(tmp_path / "figures.json")]
    assert main("explore", "", explore.bench_explore, arguments) == 0
    assert "Chromium" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert any("plotly" in line for line in figures["beside"])
    rows = {row["what"]: row for row in figures["rows"]}
    slices, link, attacks = [200, None, 1000, 4000], [500, 2200, 3500, None], [150, 1000, 8000, None]
    assert [row["target"] for row in rows.values()] == [50, 50, 50, *slices, *link, *attacks, 20]
    assert all(math.isfinite(row["p50"]) for row in rows.values())
    assert all(row["p50"] <= row["p95"] and row["requests"] <= row["p95"] for row in rows.values() if row["unit"] == "ms")
    coarse, fine, finest = (rows[f"a new image: slice {n} x {n}"]["p50"] for n in (25, 97, 193))
    assert coarse < fine < finest
    assert rows["a new image: slice 193 x 193"]["requests"] > 0
    assert rows["hover: the crosshair on all panels"]["requests"] == 0
