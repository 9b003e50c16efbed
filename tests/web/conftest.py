"""The explorer on a few shipped runs, and a headless Chromium: one of each for the session, a tab for every test."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from linear import Line
from small_server import Served, serving_small
from web_explorer import Explorer

from trs_explorer.data import Dataset
from trs_explorer.explore.library import Library, Loaded
from trs_explorer.models import Ensemble
from trs_explorer.shipped import folder, shipped_runs

if TYPE_CHECKING:
    import dash
    from playwright.sync_api import Browser, BrowserContext
    from web_screen import Screen

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RUNS = ("mnist-trs", "mnist-standard", "bars-cos-only")


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], Explorer]]:
    """serve(folder of runs): an explorer on it, behind the guard, until the session ends."""
    from trs_explorer.web.access import protect
    from trs_explorer.web.app import create_app
    from trs_explorer.web.server import bind, serving

    with ExitStack() as stack:

        def start(runs: Path) -> Explorer:
            library = Library([runs])
            app = create_app(library)
            protect(app.server)
            sock = bind(port=0)
            stack.enter_context(serving(app.server, sock))
            return Explorer(f"http://127.0.0.1:{sock.getsockname()[1]}/", library)

        yield start


@pytest.fixture
def served() -> Iterator[Served]:
    with serving_small() as start:
        yield start


@pytest.fixture(scope="session")
def explorer(serve: Callable[[Path], Explorer], tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    runs = tmp_path_factory.mktemp("runs")
    for name in RUNS:
        shutil.copytree(folder("checkpoints") / name, runs / name)
    return serve(runs)


@pytest.fixture(scope="session")
def mnist(explorer: Explorer) -> Loaded:
    return explorer.library.load("mnist-trs")


@pytest.fixture(scope="session")
def bars(explorer: Explorer) -> Loaded:
    return explorer.library.load("bars-cos-only")


@pytest.fixture(scope="session")
def app(explorer: Explorer) -> "dash.Dash":
    """The explorer's app, whose callbacks `dash_client` calls."""
    from trs_explorer.web.app import create_app

    return create_app(explorer.library)


@pytest.fixture
def one_way(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> "dash.Dash":
    """An app in which attacks transfer in one direction only: FGSM with eps .2 at (.4, .4).

    F1 predicts class 1 where 4 x1 + 8 x2 > 6, F2 where 8 x1 - x2 > 3.5. The attack on F1 ends at (.6, .6), which fools F1, F2
    and the ensemble; that on F2 at (.6, .2), which fools F2 alone.
    """
    from trs_explorer.web.app import create_app

    ensemble = Ensemble([Line([4.0, 8.0], 6.0), Line([8.0, -1.0], 3.5)])
    x = torch.tensor([[0.4, 0.4], [0.9, 0.9]]).view(2, 1, 1, 2)
    data = Dataset("bars", x, torch.tensor([0, 1]), 2)
    library = Library([explorer.library.run("bars-cos-only").path.parent])
    loaded = Loaded(library.run("bars-cos-only"), "bars-cos-only", "0800", ensemble, "cd" * 32, data, data)
    monkeypatch.setattr(library, "load", lambda name, at="": loaded)
    return create_app(library)


@pytest.fixture
def alone(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> "dash.Dash":
    """An app with an ensemble of one member: F1 predicts class 1 where 4 x1 + 8 x2 > 6."""
    from trs_explorer.web.app import create_app

    x = torch.tensor([[0.4, 0.4], [0.9, 0.9]]).view(2, 1, 1, 2)
    data = Dataset("bars", x, torch.tensor([0, 1]), 2)
    library = Library([explorer.library.run("bars-cos-only").path.parent])
    ensemble = Ensemble([Line([4.0, 8.0], 6.0)])
    loaded = Loaded(library.run("bars-cos-only"), "bars-cos-only", "0800", ensemble, "ef" * 32, data, data)
    monkeypatch.setattr(library, "load", lambda name, at="": loaded)
    return create_app(library)


@pytest.fixture(scope="session")
def flat() -> Loaded:
    """Two linear members in the plane: x1 > .5 and x2 > .7; the point looked at is (.4, .4), of class 0."""
    ensemble = Ensemble([Line([8.0, 0.0], 4.0), Line([0.0, 8.0], 5.6)])
    x = torch.tensor([[0.4, 0.4], [0.9, 0.9]]).view(2, 1, 1, 2)
    data = Dataset("bars", x, torch.tensor([0, 1]), 2)
    (run,) = (run for run in shipped_runs() if run.name == "bars-trs")
    return Loaded(run, "bars-trs", "0800", ensemble, "ab" * 32, data, data)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser on the PATH: looked for {', '.join(BROWSERS)} (Debian's package is chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    # No name but this machine's is ever looked up, whatever the page asks for.
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", alone])
        yield started
        started.close()


@pytest.fixture(scope="session")
def context(browser: "Browser") -> "Iterator[BrowserContext]":
    """One for all tests, for its cache: the page's scripts are 5 MB. The page keeps nothing else.

    Without motion: axe would judge colours that are on their way.
    """
    with browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce") as found:
        yield found


@pytest.fixture
def tab(context: "BrowserContext", explorer: Explorer) -> "Iterator[Callable[[], Screen]]":
    """tab(): another tab on the explorer, without a page yet; afterwards nothing may have gone wrong in any."""
    from web_screen import screen, serious

    tabs: list[Screen] = []

    def new() -> "Screen":
        tabs.append(screen(context, explorer.address))
        return tabs[-1]

    yield new
    told = [[one.foreign, serious(one.problems), one.page.evaluate("window.watch ? watch.refused : []")] for one in tabs]
    for one in tabs:
        one.page.close()
    assert told == [[[], [], []]] * len(tabs)


@pytest.fixture
def screen(tab: "Callable[[], Screen]") -> "Screen":
    return tab()
