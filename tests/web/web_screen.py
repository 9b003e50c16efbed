"""One page of the explorer in a real browser, and the patience to wait for what it does."""

import base64
import io
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import BrowserContext, Page

# waitress drops the buffers of connections that are open at the end of the session without closing them.
MARKS = [pytest.mark.browser, pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")]
GRAPH = "document.querySelector('#slices .js-plotly-plot')"
CHART = "document.querySelector('#history-figure .js-plotly-plot')"
# The matrix of 64 images, and mostly the same slice: what one test has made the server compute, it keeps for the next.
PLAIN = {"n": "64", "eps": "0.3", "surrogate": "0", "target": "1", "theme": "light"}
QUICK = {"run": "mnist-trs", "image": "0", "plane": "gradients", "span": "4", **PLAIN}
BARS = {"run": "bars-cos-only", "image": "0", **PLAIN}
PATIENCE_S = 60
FUNCTION = re.compile(r"\([^()]*\) =>")
BEAT = '"changedPropIds":["alive.data"]'  # every 1.5 s: whether the run has grown; and /alive, whether the server is there

# Runs before the page's own scripts: counts what it waits for, and writes down what it paints and what its policy refuses.
WATCH = """
window.watch = {pending: 0, beats: 0, refused: [], painted: []};
const ask = window.fetch;
window.fetch = async (...what) => {
  const body = String(what[1]?.body ?? "");
  if (/\\balive$/.test(what[0]) || body.includes('@BEAT')) {
    watch.beats += body.includes('"output":"newest.data"');
    return ask(...what);
  }
  watch.pending++;
  try {
    const answer = await ask(...what);
    const whole = await answer.clone().arrayBuffer().catch(() => null);  // so that a body on its way counts as pending
    return answer;
  } finally {
    setTimeout(() => watch.pending--, 0);
  }
};
document.addEventListener("securitypolicyviolation", (event) => watch.refused.push(event.violatedDirective + event.blockedURI));
document.addEventListener("explorer:painted", ({detail}) => watch.painted.push(detail));
watch.idle = () => new Promise((resolve) => {
  let quiet = 0;
  const look = () => {
    quiet = watch.pending ? 0 : quiet + 1;
    if (quiet > 12) resolve(true); else setTimeout(look, 16);
  };
  look();
});
""".replace("@BEAT", BEAT)


@dataclass
class Screen:
    """A tab. Everything that goes wrong in it is in `problems`; requests to any other host are in `foreign`."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, query: Mapping[str, object] | str = QUICK, level: int | None = 0) -> "Screen":
        """Load the page in a state, and wait for its slices at a level of the grid; None: only for the page."""
        text = query if isinstance(query, str) else urlencode(query)
        self.page.goto(f"{self.address}?{text}")
        self.until("window.explorerView?.state")
        if level is not None:
            self.painted(level=level)
        return self

    def card(self, name: str, query: Mapping[str, object] | None = None) -> "Screen":
        """Load a card of the lesson in a state, and wait until it shows what the browser or the server has made of it."""
        self.page.goto(f"{self.address}lesson/{name}?{urlencode(query or {})}")
        self.turned(name)
        self.until("lessonView.measured || lessonView.answer")
        return self

    def turned(self, name: str) -> None:
        """Wait until a card of the lesson is the one on the screen."""
        self.until(
            "(name) => window.lessonView?.shown === name && document.querySelectorAll('.card').length === 1"
            " && document.getElementById(`card-${name}`)?.checkVisibility()",
            name,
        )

    def set(self, **fields: object) -> None:
        """Set the components of the card's fields, and wait until the card shows them."""
        self.js(
            "(fields) => Object.entries(fields).forEach(([field, value]) => dash_clientside.set_props({field}, {value}))", fields
        )
        self.until("(fields) => Object.entries(fields).every(([field, value]) => lessonView.state[field] === value)", fields)

    def settled(self) -> None:
        """Wait until nothing is on its way between the lesson and the server, for a dozen frames."""
        self.until("window.lessonView?.state")
        self.js("watch.idle()")

    @property
    def revealed(self) -> bool:
        """Whether the lesson's card shows its answer, once it is at rest."""
        self.settled()
        return self.js("Number(lessonView.state.reveal) === 1")

    def painted(self, *, but: str | None = None, level: int = 0) -> str:
        """Wait until a slice is on the screen at a level (another one than `but`), with its attacks; its key."""
        self.until(
            "([level, but]) => { const {slice, attack} = explorerView, last = watch.painted.at(-1);"
            " return slice?.spec && slice.key !== but && slice.level >= level && attack?.key === slice.key"
            " && last?.key === slice.key && last.level === slice.level; }",
            [level, but],
        )
        return self.key

    @property
    def key(self) -> str:
        """The key of the slice that the page has."""
        return self.js("explorerView.slice.key")

    def idle(self) -> None:
        """Wait until nothing is on its way to or from the server, for a dozen frames. The beats do not count."""
        self.until("window.explorerView?.state")
        self.js("watch.idle()")

    def beats(self, count: int = 2) -> None:
        """Wait until the page has asked that often whether the run has changed, and for what follows from the answer."""
        self.until("(until) => watch.beats > until", self.js("watch.beats") + count)
        self.idle()

    def measured(self) -> None:
        """Wait until the matrix and the attack on the ensemble itself are done."""
        self.until("document.getElementById('transfer-words').textContent.includes('Ensemble robust accuracy')")
        self.idle()

    def js(self, expression: str, argument: object = None) -> object:
        """What an expression or function gives in the page."""
        return self.page.evaluate(expression, argument)

    def until(self, expression: str, argument: object = None) -> None:
        """Wait until an expression, or a function of the argument, is true in the page.

        Not by playwright's wait_for_function: that evaluates strings in the page, which the page's policy forbids.
        """
        test = expression if FUNCTION.match(expression) else f"() => ({expression})"
        found = self.page.evaluate(
            f"async ([argument, until]) => {{ const test = {test};"
            " while (!test(argument)) { if (Date.now() > until) return false; await new Promise((r) => setTimeout(r, 15)); }"
            " return true; }",
            [argument, 1000 * (time.time() + PATIENCE_S)],
        )
        assert found, f"in {PATIENCE_S} seconds it did not come to {expression} {argument or ''}; the page says {self.notice!r}"

    def fits_a_phone(self) -> None:
        """Wait until nothing is wider than a phone's window; then the window is as it was."""
        before = self.page.viewport_size
        try:
            self.page.set_viewport_size({"width": 400, "height": 800})
            self.until("innerWidth === 400 && document.scrollingElement.scrollWidth <= 400")
        finally:
            self.page.set_viewport_size(before)

    def fits_every_window(self, load: Callable[[], object]) -> None:
        """`load` at three sizes: nothing is wider than the window, nor, before the reveal, higher than a large one; and axe."""
        for width, height in ((1280, 720), (1920, 1080), (400, 860)):
            self.page.set_viewport_size({"width": width, "height": height})
            load()
            assert self.js("document.scrollingElement.scrollWidth - innerWidth") <= 0
            if width > 900:
                assert self.js("document.scrollingElement.scrollHeight - innerHeight") <= 0
            self.page.keyboard.press("r")
            found = Axe().run(self.page).response["violations"]
            assert [[one["id"], [node["target"] for node in one["nodes"]]] for one in found] == []

    @property
    def url(self) -> dict[str, str]:
        """The state as the address has it, once nothing is on its way any more."""
        self.idle()
        return dict(parse_qsl(urlsplit(self.page.url).query))

    def until_url(self, **fields: str) -> None:
        """Wait until the address has these fields."""
        self.until(
            "(want) => { const has = new URLSearchParams(location.search);"
            " return Object.entries(want).every(([name, value]) => (has.get(name) ?? '') === value); }",
            fields,
        )

    @property
    def notice(self) -> str:
        """What the page says has gone otherwise than asked."""
        return self.page.locator("#notice").text_content() or ""

    def pixels(self, canvas: str, colour: tuple[int, int, int]) -> int:
        """How many pixels of a canvas have a colour, to 12 of 255 in each part."""
        return self.js(
            "([canvas, [r, g, b]]) => { const c = document.querySelector(canvas);"
            " const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
            " for (let i = 0; i < p.length; i += 4)"
            " n += p[i + 3] > 200 && Math.abs(p[i] - r) < 12 && Math.abs(p[i + 1] - g) < 12 && Math.abs(p[i + 2] - b) < 12;"
            " return n; }",
            [canvas, colour],
        )

    # --- what plotly has drawn -------------------------------------------------------------------------------------------

    @property
    def shown(self) -> list[int]:
        """The numbers of the models whose panels are on the screen."""
        axes = "Object.keys(layout).filter((name) => /^xaxis\\d*$/.test(name) && layout[name].visible)"
        numbers = f"{axes}.map((name) => Number(name.slice(5) || 1) - 1).sort((a, b) => a - b)"
        return self.js(f"(() => {{ const layout = {GRAPH}._fullLayout; return {numbers}; }})()")

    @property
    def layout(self) -> dict:
        """What the slices' figure has besides traces: its pictures, the titles of its panels, its template's colours."""
        return self.js(
            f"(() => {{ const {{images, annotations, font, height}} = {GRAPH}._fullLayout;"
            " const texts = annotations.map(({text, visible}) => ({text, visible}));"
            " const pictures = images.map(({source, visible, name}) => ({source, visible, name}));"
            " return {images: pictures, annotations: texts, colour: font.color, size: font.size, height}; })()"
        )

    def traces(self, model: int) -> dict[str, dict]:
        """The traces that are visible on a model's panel, by name."""
        found = self.js(
            f"(axis) => {GRAPH}._fullData.filter((trace) => trace.visible === true && trace.xaxis === axis && !trace.showlegend)"
            ".map(({name, x, y, text, mode, meta, marker}) => ({name, x: [...x], y: [...y], text, mode, meta,"
            " symbol: marker?.symbol}))",
            f"x{model + 1}" if model else "x",
        )
        return {trace["name"]: trace for trace in found}

    def points(self, model: int, name: str) -> np.ndarray:
        """The points of a trace, [point, 2], without gaps."""
        trace = self.traces(model)[name]
        return np.array([point for point in zip(trace["x"], trace["y"], strict=True) if point[0] is not None])

    def headline(self, model: int) -> str:
        """What stands above a model's panel."""
        return re.sub(r"<[^>]*>", "", self.layout["annotations"][model + 1]["text"])

    def axes(self) -> str:
        """What stands below the panels: the names of both axes."""
        return self.layout["annotations"][0]["text"]

    def picture(self, model: int) -> str:
        """The pixels of a model's panel as plotly has them; the same are in the document."""
        source = self.layout["images"][model]["source"]
        assert self.js(
            "(uri) => [...document.querySelectorAll('#slices image')].some((e) => e.getAttribute('href') === uri)", source
        )
        return source

    def panel(self, model: int) -> tuple[float, float, float, float]:
        """Left, top, width and height in the window of what a model's panel draws on."""
        return tuple(self.js(
            f"(axis) => {{ const box = {GRAPH}.getBoundingClientRect(), layout = {GRAPH}._fullLayout;"
            " const x = layout[`xaxis${axis}`], y = layout[`yaxis${axis}`];"
            " return [box.left + x._offset, box.top + y._offset, x._length, y._length]; }",
            str(model + 1) if model else ""))  # fmt: skip

    def at(self, model: int, a: float, b: float) -> tuple[float, float]:
        """Where a point (a, b) of the plane lies in the window, on a model's panel."""
        left, top, width, height = self.panel(model)
        low, high = self.js("[explorerView.slice.low, explorerView.slice.high]")
        return left + (a - low) / (high - low) * width, top + (high - b) / (high - low) * height


def decoded(source: str) -> np.ndarray:
    """The colours of a data URI, [row from the top, column, 3]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB")).astype(int)


def screen(context: BrowserContext, address: str) -> Screen:
    """A new tab on a server."""
    page = context.new_page()
    page.add_init_script(WATCH)
    page.set_default_timeout(40_000)
    found = Screen(page, address)
    own = urlsplit(address).netloc

    def request(url: str, body: str = "") -> None:
        if "favicon" not in url and not url.endswith("/alive") and BEAT not in body:
            found.asked.append(f"{url} {body[:5000]}")
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != own:
            found.foreign.append(url)

    page.on("request", lambda r: request(r.url, r.post_data or ""))
    page.on("websocket", lambda socket: request(socket.url))
    page.on("console", lambda m: found.problems.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.problems.append(f"error: {error}"))
    page.on("requestfailed", lambda r: found.problems.append(f"failed: {r.url} {r.failure}"))
    page.on("response", lambda r: found.problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    return found


def serious(problems: list[str]) -> list[str]:
    """Problems without requests that were on their way when the page went on."""
    return [p for p in problems if "willReadFrequently" not in p and not re.match(r"failed: .*ERR_ABORTED", p)]
