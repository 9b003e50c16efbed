"""Slices in a real browser: what plotly has drawn, what is read and attacked. The oracle is the Python model."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import BrowserContext, Route
from web_explorer import Explorer
from web_screen import BARS, GRAPH, MARKS, QUICK, Screen, decoded
from web_screen import screen as new_screen

from trs_explorer import runs
from trs_explorer.attacks.pgd import pgd
from trs_explorer.config import resolve
from trs_explorer.explore.library import Loaded
from trs_explorer.figures.layers import DARK
from trs_explorer.figures.pixels import PALEST, SHADES
from trs_explorer.figures.theme import class_colours
from trs_explorer.models.stored import load_ensemble
from trs_explorer.training import train

pytestmark = MARKS
FINEST = 193
NEXT_GRID = re.compile(r'"changedPropIds":\[[^\]]*"next\.data"')  # in a request


def outputs(loaded: Loaded, images: torch.Tensor) -> np.ndarray:
    """Every model's logits or log-probabilities [model, point, class], the ensemble's last."""
    with torch.no_grad():
        parts = [torch.stack([*(m(x) for m in loaded.ensemble.members), loaded.ensemble(x)]) for x in images.split(512)]
    return torch.cat(parts, 1).numpy()


def gradient_plane(loaded: Loaded, image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origin and axes of the plane of F1's and F2's gradients at a test image, by hand."""
    x, y = loaded.data.images([image]), loaded.data.y[[image]]
    gradients = []
    for member in loaded.ensemble.members[:2]:
        point = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(F.cross_entropy(member(point), y), point)[0].flatten().double().numpy())
    u = gradients[0] / np.linalg.norm(gradients[0])
    v = gradients[1] - (gradients[1] @ u) * u
    return x.flatten().double().numpy(), u, v / np.linalg.norm(v)


def images_at(plane: tuple[np.ndarray, np.ndarray, np.ndarray], places: np.ndarray) -> torch.Tensor:
    """The images at points (a, b) of a plane."""
    origin, u, v = plane
    return torch.tensor(origin + places[:, :1] * u + places[:, 1:] * v, dtype=torch.float32).view(-1, 1, 28, 28)


def colours_at(source: str, points: np.ndarray) -> np.ndarray:
    """The colours of a panel's pixels at (row, column) points of the finest grid, row 0 the lowest, [point, 3]."""
    picture = decoded(source)[::-1]
    factor = (len(picture) - 1) // (FINEST - 1)
    assert len(picture) == picture.shape[1] == factor * (FINEST - 1) + 1
    return picture[points[:, 0] * factor, points[:, 1] * factor]


def classes_at(source: str, points: np.ndarray, classes: int) -> np.ndarray:
    """The class whose colour, in any of its shades, the pixels have at points of the finest grid."""
    colours = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in class_colours(classes)])
    share = PALEST * (1 - np.arange(SHADES) / (SHADES - 1))
    shades = np.round(colours[:, None] + share[:, None] * (255 - colours[:, None]))  # [class, shade, 3]
    distance = np.abs(colours_at(source, points)[:, None, None] - shades).sum(-1)
    assert distance.min((1, 2)).max() == 0  # every point has one of these colours exactly
    return distance.min(-1).argmin(-1)


def two_largest(values: np.ndarray) -> np.ndarray:
    """How far the largest value along the last axis is ahead of the second."""
    values = np.sort(values, -1)
    return values[..., -1] - values[..., -2]


def test_every_panel_shows_what_its_model_answers_on_the_plane_of_two_gradients(screen: Screen, mnist: Loaded) -> None:
    """Every grid is on the screen when the page says so, and is asked for once."""
    screen.page.add_init_script(
        "window.levels = []; for (const what of ['pixels', 'painted'])"
        " document.addEventListener(`explorer:${what}`, ({detail}) => {"
        f" const source = {GRAPH}._fullLayout.images[0].source;"
        " const there = [...document.querySelectorAll('#slices image')].some((e) => e.getAttribute('href') === source);"
        " levels.push([detail.level, there && source === explorerView.slice.layers.class[0]]); });"
    )
    screen.open({**QUICK, "span": "6"}, level=3)
    assert screen.page.locator("#slice-status").text_content() == "193 x 193 points"
    assert list(dict.fromkeys(level for level, _ in screen.js("levels"))) == [0, 1, 2, 3]
    assert all(there for _, there in screen.js("levels"))
    following = [re.search(r'"level":(\d)', text)[1] for text in screen.asked if NEXT_GRID.search(text)]
    assert following == ["1", "2", "3", "4", "5"][: len(following)]  # the last ones: the other layers, and that they are there
    assert len(following) >= 3
    assert screen.axes().split("   ") == ["→ gradient of the loss of F1", "↑ gradient of the loss of F2, made orthogonal"]

    plane, along = gradient_plane(mnist, 0), np.linspace(-6, 6, FINEST)
    points = np.random.default_rng(0).integers(0, FINEST, (4000, 2))
    expected = outputs(mnist, images_at(plane, along[points[:, ::-1]]))
    clear = two_largest(expected) > 2e-3
    assert clear.mean() > 0.99
    assert screen.shown == [0, 1, 2, 3]
    for model in range(4):
        seen = classes_at(screen.picture(model), points, 10)
        assert np.array_equal(seen[clear[model]], expected[model].argmax(-1)[clear[model]]), model
        # The lines lie where two classes tie, and the numbers in regions of their class.
        if "boundaries" in screen.traces(model):
            ties = two_largest(outputs(mnist, images_at(plane, screen.points(model, "boundaries")))[model])
            assert np.median(ties) < 0.02 * np.median(two_largest(expected[model])), model
        else:
            assert len(np.unique(expected[model].argmax(-1))) == 1
        numbers = screen.points(model, "class numbers")
        answers = outputs(mnist, images_at(plane, numbers))[model].argmax(-1)
        assert [int(text) for text in screen.traces(model)["class numbers"]["text"]] == answers.tolist()
    assert len(np.unique(expected[0].argmax(-1))) > 2  # a slice of one class would prove little


def test_the_colours_of_the_margin_are_those_of_its_sign(screen: Screen, bars: Loaded) -> None:
    """Orange means negative, blue positive."""
    screen.open({**BARS, "layer": "margin"}, level=3)
    points = np.random.default_rng(1).integers(0, FINEST, (3000, 2))
    x = torch.tensor(points[:, ::-1] / (FINEST - 1), dtype=torch.float32).view(-1, 1, 1, 2)
    y = int(bars.data.y[0])
    expected = outputs(bars, x)
    margin = expected[..., y] - expected[..., 1 - y]
    for model in range(3):
        colours = colours_at(screen.picture(model), points)
        clear = np.abs(margin[model]) > 0.05
        assert clear.mean() > 0.9
        assert np.array_equal((colours[:, 2] > colours[:, 0])[clear], margin[model][clear] > 0)
        assert 0 < (margin[model] > 0).mean() < 1


@pytest.mark.slow
def test_a_slice_that_is_left_and_taken_again_is_never_mixed(screen: Screen, mnist: Loaded) -> None:
    """An answer that was on its way when another slice came, and arrives when the first one is back, spoils nothing."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        body = route.request.post_data or ""
        late = not held and NEXT_GRID.search(body) and '"level":2}' in body
        held.append(route) if late else route.continue_()

    screen.page.route("**/_dash-update-component*", hold)
    screen.open({**QUICK, "image": "12"}, level=1)
    first = screen.key
    while not held:
        screen.page.wait_for_timeout(20)
    screen.page.locator("#image").fill("13")
    screen.painted(but=first)
    screen.page.locator("#image").fill("12")
    screen.until("(key) => explorerView.slice.key === key", first)
    screen.painted(level=3)
    held[0].continue_()
    screen.idle()
    assert (screen.key, screen.url["image"]) == (first, "12")
    points, along = np.random.default_rng(2).integers(0, FINEST, (1000, 2)), np.linspace(-4, 4, FINEST)
    expected = outputs(mnist, images_at(gradient_plane(mnist, 12), along[points[:, ::-1]]))
    for model in range(4):
        clear = two_largest(expected[model]) > 2e-3
        seen = classes_at(screen.picture(model), points, 10)
        assert np.array_equal(seen[clear], expected[model].argmax(-1)[clear])


def test_the_crosshair_is_on_every_panel_and_its_readout_is_what_the_models_answer(screen: Screen, mnist: Loaded) -> None:
    screen.open(QUICK)
    screen.page.locator("#readout-box summary").click()
    plane = gradient_plane(mnist, 0)
    for panel, (a, b) in enumerate([(1.5, -2.0), (-3.1, 0.4), (0.0, 3.0), (2.2, 2.2)]):
        screen.page.mouse.move(*screen.at(panel, a, b))
        cross = screen.js("explorerView.cross")
        assert cross == pytest.approx((a, b), abs=0.03)
        _crosshair_at(screen, *cross)
        caption = f"at ({cross[0]:.2f}, {cross[1]:.2f})"
        screen.until("(text) => document.querySelector('#readout caption')?.textContent.startsWith(text)", caption)
        logits = outputs(mnist, images_at(plane, np.array([cross])))[:, 0]
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        cells = [row.locator("th, td").all_text_contents() for row in screen.page.locator("#readout tbody tr").all()]
        assert [line[0] for line in cells] == ["F1", "F2", "F3", "ensemble"]
        for model, line in enumerate(cells):
            assert int(line[1]) == logits[model].argmax()
            assert float(line[2]) == pytest.approx(p[model].max(), abs=0.001)
            assert float(line[3]) == pytest.approx(logits[model, 7] - np.delete(logits[model], 7).max(), abs=0.01)
            assert [float(cell) for cell in line[4].split()] == pytest.approx(logits[model].tolist(), abs=0.0501)
        picture = decoded(screen.page.locator("#readout img").get_attribute("src"))[..., 0]
        here = images_at(plane, np.array([cross])).clamp(0, 1).view(28, 28).numpy()
        assert np.abs(picture - 255 * here).max() < 1.01


def _crosshair_at(screen: Screen, a: float, b: float) -> None:
    """Both lines of every panel that is shown cross at the point."""
    lines = screen.js("[...document.querySelectorAll('#crosshair i')].map((e) => { const b = e.getBoundingClientRect();"
                      " return [b.left, b.top, b.width, b.height]; })")  # fmt: skip
    shown = screen.shown
    assert len(lines) == 2 * len(shown)
    for k, model in enumerate(shown):
        left, top, width, height = screen.panel(model)
        x, y = screen.at(model, a, b)
        assert lines[2 * k] == pytest.approx([left, y, width, 1], abs=1.1)
        assert lines[2 * k + 1] == pytest.approx([x, top, 1, height], abs=1.1)


def test_the_crosshair_ends_with_its_plane(screen: Screen) -> None:
    screen.open(QUICK)
    screen.page.locator("#readout-box summary").click()
    screen.page.mouse.move(*screen.at(0, 1.5, -2.0))
    screen.until("document.querySelector('#readout caption')")
    key = screen.key
    screen.page.mouse.move(5, 5)
    screen.page.keyboard.press(".")
    screen.painted(but=key)
    assert screen.js("explorerView.cross") is None
    assert screen.page.locator("#crosshair i").count() == screen.page.locator("#readout caption").count() == 0


def test_a_model_that_is_shown_again_is_there_at_once_and_only_as_it_was(screen: Screen) -> None:
    """Plotly takes 100 ms for all panels: its picture from before is laid over it, if nothing else has changed."""
    screen.open(QUICK, level=3)
    screen.idle()
    click = """(layer) => new Promise((resolve) => {
      const laid = () => [...document.querySelectorAll("#slice-box > .svg-container")];
      const panels = () => laid().map((picture) => picture.querySelectorAll("image").length);
      document.addEventListener("explorer:switched", () => resolve(panels()), {once: true});
      const choice = document.getElementById("layer");
      if (!layer) return document.querySelectorAll("#shown input")[1].click();
      choice.value = layer;
      choice.dispatchEvent(new Event("change", {bubbles: true})); })"""
    rested = "!document.querySelector('#slice-box > .svg-container') && !document.querySelector('#slice-box > .cover')"
    seen = []
    for step in (None, None, None, "margin", None):
        seen.append(screen.js(click, step))
        screen.until(rested)
        screen.painted(level=3)
        screen.idle()
    assert seen == [[], [4], [], [], []]
    assert screen.shown == [0, 1, 2, 3]


def test_attacks_of_an_earlier_state_are_not_shown(screen: Screen) -> None:
    """As when an answer is late: a newer one has been shown already."""
    screen.open(BARS)
    late = screen.js("explorerView.attack")
    screen.js("dash_clientside.set_props('eps', {value: 0.2})")
    screen.until("document.getElementById('attack-words').textContent.includes('ε 0.2 ')")
    shown = screen.js("JSON.stringify(explorerView.attack)")
    screen.js("(late) => dash_clientside.set_props('attack-data', {data: late})", late)
    screen.idle()
    assert screen.js("JSON.stringify(explorerView.attack)") == shown
    assert "ε 0.2 " in (screen.page.locator("#attack-words").text_content() or "")


def test_numbers_of_the_settings_before_say_so_until_new_ones_come(screen: Screen) -> None:
    screen.open(BARS)
    screen.measured()
    busy = "(id) => document.getElementById(id).getAttribute('aria-busy')"
    assert [screen.js(busy, name) for name in ("transfer", "angles")] == ["false", "false"]
    changes = """(id) => { const room = document.getElementById(id), seen = [[room.getAttribute("aria-busy"), room.innerText]];
      new MutationObserver(() => seen.push([room.getAttribute("aria-busy"), room.innerText])).observe(room, {attributes: true});
      window.seen = seen; }"""
    screen.js(changes, "transfer")
    screen.js("dash_clientside.set_props('eps', {value: 0.11})")
    screen.until("seen.length > 2 && document.getElementById('transfer').getAttribute('aria-busy') === 'false'")
    screen.measured()
    _, (first, old), *_, (last, new) = screen.js("seen")
    assert (first, last) == ("true", "false")
    assert "ε 0.3," in old
    assert "ε 0.11," in new
    screen.js("dash_clientside.set_props('layer', {value: 'margin'})")  # nothing that is measured depends on it
    screen.idle()
    assert screen.js(busy, "transfer") == "false"


def test_a_click_starts_an_attack_there_on_every_model(screen: Screen, bars: Loaded) -> None:
    screen.open(BARS)
    screen.page.mouse.click(*screen.at(1, 0.7, 0.2))
    screen.until("location.search.includes('start=')")
    start = [float(part) for part in screen.url["start"].split(",")]
    assert start == pytest.approx([0.7, 0.2], abs=0.005)
    assert screen.page.locator("#start-words").text_content() == ""
    x, y = torch.tensor(start, dtype=torch.float32).view(1, 1, 1, 2), bars.data.y[:1]
    eps = float(screen.url["eps"])
    # Each model has its own row of the batch, and so its own noise.
    together = {"eps": eps, "steps": 10, "step_size": eps / 4, "early_stop": False}
    rows = x.repeat(3, 1, 1, 1), y.repeat(3)
    models, names = (*bars.ensemble.members, bars.ensemble), ("F1", "F2", "ensemble")
    ends = [
        pgd(model, *rows, **together, generator=torch.Generator().manual_seed(0))[k : k + 1] for k, model in enumerate(models)
    ]
    for panel, (model, name) in enumerate(zip(models, names, strict=True)):
        assert screen.points(panel, "start of the attack")[0] == pytest.approx(start, abs=1e-4)
        with torch.no_grad():
            before, after = int(model(x).argmax()), int(model(ends[panel]).argmax())
        effect = f"{before}, wrong already" if before != y else f"{before} → {after}, fooled"
        assert screen.headline(panel) == f"{name}: {effect if before != y or before != after else f'{before}, not fooled'}"
        traces = screen.traces(panel)
        for attacked in {0, panel}:  # the path on the surrogate, and on the panel's own model
            path = screen.points(panel, f"path of PGD-10 on {names[attacked]}")
            assert path[0] == pytest.approx(start, abs=1e-4)
            assert np.abs(path - start).max() < eps + 1e-5
            assert path.min() >= 0
            assert path.max() <= 1
            end = ends[attacked].flatten().numpy()
            assert path[-1] == pytest.approx(end, abs=1e-3)
            with torch.no_grad():
                fools = before == y != int(model(ends[attacked]).argmax())
            mark = traces[f"{'fools' if fools else 'does not fool'} {name}"]
            assert mark["symbol"] == ("x" if fools else "circle-open")
            place = mark["meta"]["attacked"].index(names[attacked])
            assert (mark["x"][place], mark["y"][place]) == pytest.approx(end, abs=1e-3)


def test_a_click_outside_the_valid_images_says_that_it_was_clipped(screen: Screen, mnist: Loaded) -> None:
    screen.open(QUICK)
    screen.page.mouse.click(*screen.at(0, 3.0, 3.0))
    screen.until("document.getElementById('start-words').textContent")
    asked = np.array([[float(part) for part in screen.url["start"].split(",")]])
    origin, u, v = gradient_plane(mnist, 0)
    image = images_at((origin, u, v), asked).view(-1).double().numpy()
    assert image.min() < 0
    away = image.clip(0, 1) - origin
    a, b = away @ u, away @ v
    off = np.linalg.norm(away - a * u - b * v)
    numbers = re.findall(r"-?\d+\.\d+", screen.page.locator("#start-words").text_content())
    assert [float(number) for number in numbers] == pytest.approx([*asked[0], a, b, off], abs=0.06)
    assert screen.points(0, "start of the attack")[0] == pytest.approx((a, b), abs=1e-3)
    screen.page.keyboard.press("Escape")
    screen.until("!document.getElementById('start-words').textContent")
    assert screen.points(0, "start of the attack")[0] == pytest.approx((0, 0), abs=1e-4)


@pytest.mark.parametrize("method", ["adaboost", pytest.param("gradient-boost", marks=pytest.mark.slow)])
def test_a_boosted_ensembles_slice_is_its_own_vote(
    context: BrowserContext, serve: Callable[[Path], Explorer], tmp_path: Path, method: str
) -> None:
    settings = {"data": "bars", "method": method, "members": 3, "epochs": 30, "save_every": 30, "probe_every": 30}
    run = runs.create(tmp_path / "boosted", resolve(settings))
    list(train(run))
    points, along = np.random.default_rng(0).integers(0, FINEST, (2000, 2)), np.linspace(0, 1, FINEST)
    x = torch.tensor(along[points[:, ::-1]], dtype=torch.float32).view(-1, 1, 1, 2)
    ensemble, _ = load_ensemble(run)
    with torch.no_grad():
        p = ensemble(x).exp().numpy()
    screen = new_screen(context, serve(tmp_path).address)
    screen.open({**BARS, "run": "boosted"}, level=3)
    seen = classes_at(screen.picture(3), points, 2)
    screen.page.locator("#layer").select_option("confidence")
    screen.until(f"{GRAPH}._fullLayout.images[3].source === explorerView.slice.layers.confidence?.[3]")
    colours = colours_at(screen.picture(3), points)
    screen.page.close()
    clear = np.abs(p[:, 0] - p[:, 1]) > 1e-3
    assert np.array_equal(seen[clear], p.argmax(-1)[clear])
    assert len(np.unique(seen)) == 2
    confidence = 2 * p.max(-1)[:, None] - 1
    assert np.abs(colours - (255 + confidence * (np.array(DARK) - 255))).max() < 2.5
