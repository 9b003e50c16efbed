"""The page in a real browser: pick, slices, attacks, the matrix, time; by mouse and by keys. The oracle is the Python model."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Explorer
from web_screen import QUICK, Screen

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.transfer import TransferMatrix, transfer_matrix
from trs_explorer.explore.library import Loaded
from trs_explorer.web.layout import KEYS

pytestmark = pytest.mark.browser
BARS = {"run": "bars-cos-only", "n": "64"}


@pytest.fixture(scope="module")
def mnist(explorer: Explorer) -> Loaded:
    return explorer.library.load("mnist-trs")


@pytest.fixture(scope="module")
def bars(explorer: Explorer) -> Loaded:
    return explorer.library.load("bars-cos-only")


@pytest.fixture(scope="module")
def matrix(mnist: Loaded) -> TransferMatrix:
    x, y = mnist.data.images(slice(0, 64)), mnist.data.y[:64]
    attack = partial(pgd, eps=0.3, steps=10, step_size=0.075)
    return transfer_matrix(mnist.ensemble, x, y, attack=attack, ensemble_column=True, seed=0)


def outputs(loaded: Loaded, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The members' logits [point, member, class], and every model's probabilities [model, point, class]."""
    with torch.no_grad():
        logits = torch.cat([loaded.ensemble.member_logits(part) for part in images.split(512)], 1)
    p = logits.softmax(-1)
    return logits.transpose(0, 1).numpy(), torch.cat([p, p.mean(0, keepdim=True)]).numpy()


def page_logits(screen: Screen, points: np.ndarray) -> np.ndarray:
    """What the page holds at (row, column) points, [point, member, class]."""
    found = screen.js(
        "(points) => points.map(([row, column]) => { const size = (trs.scene.models.length - 1) * trs.scene.classes;"
        " const from = (row * trs.grid.n + column) * size; return Array.from(trs.grid.logits.subarray(from, from + size)); })",
        points.tolist(),
    )
    return np.array(found).reshape(len(points), -1, screen.js("trs.scene.classes"))


def grid_images(screen: Screen, points: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
    """The images at (row, column) points of the finest grid: origin + a u + b v, by hand."""
    origin, u, v = screen.plane()
    low, high = screen.js("[trs.scene.low, trs.scene.high]")
    along = np.linspace(low, high, 193)
    flat = origin + along[points[:, 1], None] * u + along[points[:, 0], None] * v
    return torch.tensor(flat, dtype=torch.float32).view(-1, *shape)


# --- load and pick ---------------------------------------------------------------------------------------------------


def test_the_page_loads_without_a_word_on_the_console_and_asks_nobody_else(screen: Screen) -> None:
    screen.open("", level=3)
    screen.measured()
    assert screen.problems == []
    assert screen.foreign == []
    assert screen.js("watch.refused") == []
    assert screen.notice == ""
    assert screen.url["run"] == "mnist-trs"
    assert screen.page.locator("#gallery button").count() == 60
    assert [h.text_content() for h in screen.page.locator("h2").all()][:5] == [
        "Pick", "Slices", "Transfer", "Angles and smoothness", "Training"]  # fmt: skip


def test_an_image_is_picked_by_its_thumbnail(screen: Screen, mnist: Loaded) -> None:
    before = screen.open(QUICK).js("trs.scene.key")
    screen.page.locator('#gallery [data-image="3"]').click()
    screen.painted(but=before)
    y = int(mnist.data.y[3])
    assert screen.url["image"] == "3"
    assert screen.page.locator("#picked-words").text_content() in (f"3: class {y} (the label)", f"image 3: class {y} (the label)")
    assert screen.page.locator("#image").input_value() == "3"
    assert screen.page.locator('#gallery [aria-pressed="true"]').get_attribute("data-image") == "3"
    with torch.no_grad():
        seen = int(mnist.ensemble.members[0](mnist.data.images([3])).argmax())
    assert screen.page.locator("#slices .annotation-text").first.text_content().startswith(f"F1: {seen}, ")
    painted = screen.js(
        "(() => { const c = document.getElementById('picture'), p = c.getContext('2d').getImageData(0, 0, 28, 28).data;"
        " return Array.from({length: 784}, (_, i) => p[4 * i]); })()"
    )
    assert np.abs(np.array(painted) - mnist.data.images([3]).flatten().numpy() * 255).max() < 1


def test_the_number_field_and_a_class_filter_pick_too(screen: Screen, mnist: Loaded) -> None:
    before = screen.open(QUICK).js("trs.scene.key")
    screen.page.locator("#image").fill("1234")
    screen.page.locator("#image").press("Enter")
    screen.painted(but=before, level=0)
    assert screen.url["image"] == "1234"
    screen.page.locator("#label").select_option("4")
    screen.until("document.getElementById('gallery-words').textContent.includes('of class 4')")
    shown = [int(button.get_attribute("data-image")) for button in screen.page.locator("#gallery button").all()]
    assert shown == [k for k in range(1000) if mnist.data.y[k] == 4][:60]
    assert screen.url["label"] == "4"


# --- slices ----------------------------------------------------------------------------------------------------------


def test_the_slice_shows_what_the_model_answers_on_the_plane_of_two_gradients(screen: Screen, mnist: Loaded) -> None:
    screen.open(QUICK)
    assert screen.js("[trs.grid.level, trs.grid.n]") == [3, 193]
    assert screen.page.locator("#slice-status").text_content() == "193 x 193 points"
    x, y = mnist.data.images([0]), mnist.data.y[:1]
    gradients = []
    for member in mnist.ensemble.members[:2]:
        point = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(F.cross_entropy(member(point), y), point)[0].flatten().double().numpy())
    u = gradients[0] / np.linalg.norm(gradients[0])
    v = gradients[1] - (gradients[1] @ u) * u
    origin, page_u, page_v = screen.plane()
    assert np.array_equal(origin, x.flatten().numpy())
    assert np.allclose(page_u, u, atol=1e-4)
    assert np.allclose(page_v, v / np.linalg.norm(v), atol=1e-4)

    points = np.random.default_rng(0).integers(0, 193, (4000, 2))
    logits, p = outputs(mnist, grid_images(screen, points, (1, 28, 28)))
    assert np.abs(page_logits(screen, points[:500]) - logits[:500]).max() < 1e-3
    first, second = np.sort(p)[..., -1], np.sort(p)[..., -2]
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    seen = screen.classes()[:, points[:, 0], points[:, 1]]
    assert np.array_equal(seen[clear], p.argmax(-1)[clear])
    assert len(np.unique(seen)) > 1  # a slice of one class would prove little


def test_what_is_painted_is_what_was_derived(screen: Screen, bars: Loaded) -> None:
    """On the plane's own data nothing is hatched: in the margin layer orange means negative, blue positive."""
    screen.open({**BARS, "layer": "margin"})
    points = np.random.default_rng(1).integers(0, 193, (3000, 2))
    _, p = outputs(bars, torch.tensor(points[:, ::-1].copy() / 192, dtype=torch.float32).view(-1, 1, 1, 2))
    seen = screen.classes()[:, points[:, 0], points[:, 1]]
    clear = np.abs(p[..., 0] - 0.5) > 1e-4
    assert np.array_equal(seen[clear], p.argmax(-1)[clear])
    inside = points[(points > 1).all(1) & (points < 191).all(1)]
    colours = np.array(screen.js(
        "(points) => [...document.querySelectorAll('#canvases canvas')].map((canvas) => {"
        " const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, size = canvas.width;"
        " return points.map(([row, column]) => { const x = Math.round(column / 192 * size), y = Math.round((1 - row / 192) * size);"
        " return Array.from(all.subarray(4 * (y * size + x), 4 * (y * size + x) + 4)); }); })", inside.tolist()))  # fmt: skip
    assert colours.shape == (3, len(inside), 4)
    assert (colours[..., 3] == 255).all()
    y = screen.js("trs.scene.y")
    cls = screen.classes()
    # Beside a boundary the line is dark, and a pixel may belong to the next point.
    around = np.stack([cls[:, inside[:, 0] + i, inside[:, 1] + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    calm = (around == around[4]).all(0)
    assert 0.5 < calm.mean() < 1
    blue = colours[..., 2] > colours[..., 0]
    assert np.array_equal(blue[calm], (around[4] == y)[calm])


def test_every_level_reuses_the_one_before_and_each_is_on_the_screen_at_once(screen: Screen) -> None:
    screen.page.add_init_script(
        "window.levels = []; document.addEventListener('trs:painted', ({detail}) => {"
        " const c = document.querySelector('#canvases canvas');"
        " levels.push([detail.level, trs.grid.n, c ? c.getContext('2d').getImageData(c.width / 2, c.width / 2, 1, 1).data[3] : -1]); });"
    )
    screen.open({**QUICK, "image": "11"})
    assert screen.js("levels") == [[0, 25, 255], [1, 49, 255], [2, 97, 255], [3, 193, 255]]
    fetched = [url for url in screen.asked if "/slice/" in url]
    assert [url[-1] for url in fetched] == ["0", "1", "2", "3"]


def test_a_slice_that_is_left_and_taken_again_is_never_mixed(screen: Screen, mnist: Loaded) -> None:
    """An answer that was on its way when another slice came, and arrives when the first one is back, spoils nothing."""
    held = []

    def hold(route) -> None:
        held.append(route) if not held and route.request.url.endswith("/2") else route.continue_()

    screen.page.route("**/slice/**", hold)
    screen.open({**QUICK, "image": "12"}, level=1)
    screen.until("document.getElementById('slice-status').textContent.includes('computing 97')")
    first = screen.js("trs.scene.key")
    screen.js("trs.set({image: 13})")
    screen.painted(but=first)
    screen.js("trs.set({image: 12})")
    screen.until("(key) => trs.scene.key === key && trs.grid", first)
    held[0].continue_()
    screen.painted()
    screen.idle()
    assert screen.js("trs.scene.key") == first
    points = np.random.default_rng(2).integers(0, 193, (300, 2))
    logits, _ = outputs(mnist, grid_images(screen, points, (1, 28, 28)))
    assert np.abs(page_logits(screen, points) - logits).max() < 1e-3


def test_a_slice_that_the_server_has_forgotten_is_asked_for_again(screen: Screen) -> None:
    forgotten = []

    def forget(route) -> None:
        forgotten.append(route)
        route.fulfill(status=404, body="") if len(forgotten) == 2 else route.continue_()

    screen.page.route("**/slice/**", forget)
    screen.open({**QUICK, "image": "14"}, level=0)
    screen.painted(level=3)
    screen.problems.clear()


def test_hovering_tells_every_models_logits_on_whatever_panel(screen: Screen, mnist: Loaded) -> None:
    screen.open(QUICK)
    for place in range(4):
        screen.page.mouse.move(*screen.at(place, 1.5, -2.0))
        a, b = screen.js("trs.cross")
        assert (a, b) == pytest.approx((1.5, -2.0), abs=0.03)
        caption = screen.page.locator("#readout caption").text_content()
        assert caption == f"at ({a:.2f}, {b:.2f})"
        row, column = round((b + 4) / 8 * 192), round((a + 4) / 8 * 192)
        points = np.array([[row, column]])
        logits, p = outputs(mnist, grid_images(screen, points, (1, 28, 28)))
        assert np.abs(page_logits(screen, points) - logits).max() < 1e-3
        cells = [[cell.text_content() for cell in line.locator("th, td").all()] for line in screen.page.locator("#readout tbody tr").all()]
        assert [line[0] for line in cells] == ["F1", "F2", "F3", "ensemble"]
        for model, line in enumerate(cells):
            assert int(line[1]) == p[model, 0].argmax()
            assert float(line[2].rstrip(" %")) == pytest.approx(100 * p[model, 0].max(), abs=0.06)
            if model < 3:
                assert [float(cell) for cell in line[4:]] == pytest.approx(logits[0, model].tolist(), abs=0.0501)
                others = np.delete(logits[0, model], 7)
                assert float(line[3]) == pytest.approx(logits[0, model, 7] - others.max(), abs=0.0051)
        # one crosshair on every panel
        lines = screen.js("[...document.querySelectorAll('#crosshairs div')].map((e) => [e.offsetLeft, e.offsetTop, e.offsetWidth])")
        assert len(lines) == 8


def test_a_click_starts_an_attack_there_on_every_model(screen: Screen, bars: Loaded) -> None:
    screen.open(BARS)
    screen.page.mouse.click(*screen.at(1, 0.7, 0.2))
    screen.until("location.search.includes('start=')")
    start = [float(part) for part in screen.url["start"].split(",")]
    assert start == pytest.approx([0.7, 0.2], abs=0.005)
    screen.until("(start) => Math.abs(trs.graph()._fullData.find((t) => t.name === 'start of the attack').x[0] - start[0]) < 1e-4", start)
    x, y = torch.tensor(start, dtype=torch.float32).view(1, 1, 1, 2), torch.tensor([screen.js("trs.scene.y")])
    eps = float(screen.url["eps"])
    for place, model in enumerate((*bars.ensemble.members, bars.ensemble)):
        own = screen.trace(f"PGD-10 on {['F1', 'F2', 'ensemble'][place]}", place)[-1]
        path = np.column_stack([own["x"], own["y"]])
        assert path[0] == pytest.approx(start, abs=1e-4)
        assert np.abs(path - start).max() < eps + 1e-5
        assert path.min() >= 0
        assert path.max() <= 1
        generator = torch.Generator().manual_seed(0)
        end = pgd(model, x, y, eps=eps, steps=10, step_size=eps / 4, early_stop=False, generator=generator)
        assert path[-1] == pytest.approx(end.flatten().numpy(), abs=1e-3)
        with torch.no_grad():
            fooled = bool(model(end).argmax(-1) != y)
        crosses = [*screen.trace("fooled", place), *screen.trace("not fooled", place)]
        print(crosses, path[-1])
        mark = next(m for m in crosses if np.allclose([m["x"][0], m["y"][0]], path[-1]))
        assert mark["symbol"] == ("x" if fooled else "circle-open")


# --- keys only -------------------------------------------------------------------------------------------------------


def test_everything_by_keys(screen: Screen) -> None:
    screen.open(QUICK)
    keyboard = screen.page.keyboard
    screen.page.locator("body").focus()
    for _ in range(120):
        keyboard.press("Tab")
        if screen.js("document.activeElement.id") == "slice-box":
            break
    assert screen.js("document.activeElement.id") == "slice-box"
    unit = 8 / 48
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowUp")
    assert screen.js("trs.cross") == pytest.approx([2 * unit, unit])
    keyboard.press("Shift+ArrowLeft")
    keyboard.press("ArrowDown")
    assert screen.js("trs.cross") == pytest.approx([-2 * unit, 0], abs=1e-9)
    keyboard.press("Enter")
    screen.until("location.search.includes('start=')")
    assert [float(part) for part in screen.url["start"].split(",")] == pytest.approx([-2 * unit, 0], abs=1e-3)
    screen.idle()
    keyboard.press("Escape")
    screen.until_url(start="")
    assert screen.js("trs.cross") is None
    assert screen.js("document.activeElement.id") == "slice-box"

    for layer in ("margin", "confidence", "disagreement", "arrows", "class"):
        keyboard.press("l")
        screen.until_url(layer=layer)
    keyboard.press("x")
    screen.until_url(swap="1")
    keyboard.press("x")
    screen.until_url(swap="0")
    for plane in ("random", "images", "gradients"):
        keyboard.press("p")
        screen.until_url(plane=plane)
    for key, image in ((".", "1"), (".", "2"), (",", "1"), (",", "0"), (",", "0")):
        keyboard.press(key)
        screen.until_url(image=image)
    keyboard.press("[")
    screen.until_url(at="0018")
    keyboard.press("]")
    screen.until_url(at="")
    dark = screen.js("document.documentElement.dataset.theme")
    keyboard.press("t")
    assert screen.js("document.documentElement.dataset.theme") == {"light": "dark", "dark": "light"}[dark]
    keyboard.press("?")
    assert screen.page.locator("#help").is_visible()
    assert screen.page.locator("#help tr").count() == len(KEYS)
    keyboard.press("Escape")
    assert not screen.page.locator("#help").is_visible()
    screen.idle()
    assert screen.notice == ""


def test_a_cell_of_the_matrix_and_a_thumbnail_are_reached_by_tab(screen: Screen) -> None:
    screen.open(QUICK)
    screen.measured()
    keyboard = screen.page.keyboard
    screen.page.locator("#norm").focus()
    reached = ""
    for _ in range(20):
        keyboard.press("Tab")
        reached = screen.js("document.activeElement.dataset.cell || ''")
        if reached == "1,2":
            break
    assert reached == "1,2"
    keyboard.press("Enter")
    screen.until_url(surrogate="1", target="2")
    screen.page.locator("#label").focus()
    keyboard.press("Tab")
    assert screen.js("document.activeElement.dataset.image") == "0"
    keyboard.press("Tab")
    keyboard.press("Space")
    screen.until_url(image="1")


# --- the matrix ------------------------------------------------------------------------------------------------------


def test_the_matrix_is_what_python_measures(screen: Screen, mnist: Loaded, matrix: TransferMatrix) -> None:
    screen.open(QUICK)
    screen.measured()
    buttons = screen.page.locator("#matrix [data-cell]").all()
    assert len(buttons) == 12
    for button in buttons:
        i, j = map(int, button.get_attribute("data-cell").split(","))
        low, high = matrix.interval(i, j)
        assert [part.text_content() for part in button.locator("b, small").all()] == [
            f"{100 * matrix.rate(i, j):.0f}", f"{100 * low:.0f}-{100 * high:.0f}", f"{matrix.fooled[i][j]}/{matrix.eligible[i][j]}"]  # fmt: skip
    words = screen.page.locator("#transfer-words").text_content()
    fooled, eligible = matrix.pooled()
    assert f"{fooled}/{eligible}." in words
    x, y = mnist.data.images(slice(0, 64)), mnist.data.y[:64]
    x_adv = pgd(mnist.ensemble, x, y, eps=0.3, steps=10, step_size=0.075, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        clean, attacked = mnist.ensemble(x).argmax(-1) == y, mnist.ensemble(x_adv).argmax(-1) == y
    assert f"right on {int((clean & attacked).sum())} of all 64" in words


def test_a_cell_sets_the_pair_the_plane_and_a_strip_of_images(screen: Screen, mnist: Loaded, matrix: TransferMatrix) -> None:
    before = screen.open({**QUICK, "plane": "random"}).js("trs.scene.key")
    screen.measured()
    screen.page.locator('[data-cell="1,3"]').click()
    screen.until_url(surrogate="1", target="3", plane="gradients")
    screen.painted(but=before, level=0)
    assert screen.page.locator("#surrogate").input_value() == "1"
    assert screen.page.locator("#target").input_value() == "3"
    assert screen.page.locator('#matrix [aria-pressed="true"]').get_attribute("data-cell") == "1,3"
    assert "gradient of the loss of F2" in screen.js("trs.scene.names[0]")
    assert "gradient of the loss of the ensemble" in screen.js("trs.scene.names[1]")
    hits = [k for k, letter in enumerate(matrix.outcomes[1][3]) if letter == "1"]
    screen.until("(first) => (document.querySelector('#strip figcaption') || {}).textContent?.startsWith(`${first}: `)", hits[0])
    captions = [caption.text_content() for caption in screen.page.locator("#strip figcaption").all()]
    assert [int(text.split(":")[0]) for text in captions] == hits[:6]
    for text in captions:
        k, y, seen = map(int, re.findall(r"\d+", text))
        assert y == mnist.data.y[k]
        assert seen != y
    screen.until("[...document.querySelectorAll('#strip img')].every((image) => image.naturalWidth === 28)")
    assert screen.page.locator("#strip img").count() == 3 * len(hits[:6])
    screen.page.locator("#strip button").last.click()
    screen.until_url(image=str(hits[:6][-1]))


def test_the_filter_of_what_transfers_shows_the_images_of_the_cell(screen: Screen, matrix: TransferMatrix) -> None:
    screen.open({**QUICK, "surrogate": "1", "target": "3", "filter": "transfers"}, level=0)
    screen.measured()
    hits = [k for k, letter in enumerate(matrix.outcomes[1][3]) if letter == "1"]
    assert hits
    screen.until("(n) => document.querySelectorAll('#gallery button').length === n", len(hits))
    screen.idle()
    assert [int(button.get_attribute("data-image")) for button in screen.page.locator("#gallery button").all()] == hits
    assert f"{matrix.fooled[1][3]} of 64 images" in screen.page.locator("#gallery-words").text_content()


# --- time ------------------------------------------------------------------------------------------------------------


def test_the_scrubber_goes_through_the_checkpoints(screen: Screen, explorer: Explorer) -> None:
    newest = screen.open(BARS).js("trs.scene.key")
    screen.until("document.querySelectorAll('#at option').length === 3")
    screen.idle()
    scrub = screen.page.locator("#scrub")
    scrub.focus()
    screen.page.keyboard.press("Home")
    screen.until_url(at="0400")
    older = screen.painted(but=newest)
    screen.idle()
    assert screen.js("trs.scene.digest") == explorer.library.load("bars-cos-only", "0400").digest
    assert screen.page.locator("#at").input_value() == "0400"
    assert "400" in screen.page.locator("#scrub-value").text_content()
    screen.page.keyboard.press("End")
    screen.until_url(at="")
    assert screen.painted(but=older) == newest
    screen.page.locator("#at").select_option("0400")
    screen.until_url(at="0400")
    assert screen.painted(but=newest) == older
    assert math.isfinite(float(screen.js("document.querySelector('#history-figure .js-plotly-plot')._fullLayout.shapes[0].x0")))
