"""Slices in a real browser: what is painted, read and attacked. The oracle is the Python model."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Route
from web_screen import BARS, MARKS, PIXELS, QUICK, Screen
from web_screen import screen as new_screen

from trs_explorer import runs
from trs_explorer.attacks.pgd import pgd
from trs_explorer.config import resolve
from trs_explorer.explore.library import Loaded
from trs_explorer.models.stored import load_ensemble
from trs_explorer.training import train

pytestmark = MARKS
REACH = (-2, -1, 0, 1, 2)


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


def test_the_slice_shows_what_the_model_answers_on_the_plane_of_two_gradients(screen: Screen, mnist: Loaded) -> None:
    screen.open(QUICK, level=3)
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
    screen.open({**BARS, "layer": "margin"}, level=3)
    points = np.random.default_rng(1).integers(0, 193, (3000, 2))
    _, p = outputs(bars, torch.tensor(points[:, ::-1].copy() / 192, dtype=torch.float32).view(-1, 1, 1, 2))
    seen = screen.classes()[:, points[:, 0], points[:, 1]]
    clear = np.abs(p[..., 0] - 0.5) > 1e-4
    assert np.array_equal(seen[clear], p.argmax(-1)[clear])
    inside = points[(points > 1).all(1) & (points < 191).all(1)]
    colours = np.array(screen.js(
        f"(points) => [...document.querySelectorAll('{PIXELS}')].map((canvas) => {{"
        " const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, size = canvas.width;"
        " return points.map(([row, column]) => {"
        " const x = Math.round(column / 192 * size), y = Math.round((1 - row / 192) * size);"
        " return Array.from(all.subarray(4 * (y * size + x), 4 * (y * size + x) + 4)); }); })", inside.tolist()))  # fmt: skip
    assert colours.shape == (3, len(inside), 4)
    assert (colours[..., 3] == 255).all()
    y = screen.js("trs.scene.y")
    cls = screen.classes()
    # Beside a boundary the line is dark, and a pixel may belong to the next point: panels can have fewer pixels than points.
    around = np.stack([cls[:, inside[:, 0] + i, inside[:, 1] + j] for i in REACH for j in REACH])
    calm = (around == cls[:, inside[:, 0], inside[:, 1]]).all(0)
    assert 0.5 < calm.mean() < 1
    blue = colours[..., 2] > colours[..., 0]
    assert np.array_equal(blue[calm], (cls[:, inside[:, 0], inside[:, 1]] == y)[calm])


def test_every_level_reuses_the_one_before_and_each_is_on_the_screen_at_once(screen: Screen) -> None:
    screen.page.add_init_script(
        "window.levels = []; document.addEventListener('trs:painted', ({detail}) => {"
        f" const c = document.querySelector('{PIXELS}'), middle = c ? c.width / 2 : 0;"
        " levels.push([detail.level, trs.grid.n, c && c.getContext('2d').getImageData(middle, middle, 1, 1).data[3]]); });"
    )
    screen.open({**QUICK, "image": "11"}, level=3)
    assert screen.js("levels") == [[0, 25, 255], [1, 49, 255], [2, 97, 255], [3, 193, 255]]
    fetched = [url for url in screen.asked if re.search(r"/slice/.*/[0-9]$", url)]
    assert len(fetched) == len(set(fetched)) <= 4


@pytest.mark.slow
def test_a_slice_that_is_left_and_taken_again_is_never_mixed(screen: Screen, mnist: Loaded) -> None:
    """An answer that was on its way when another slice came, and arrives when the first one is back, spoils nothing."""
    held = []

    def hold(route: Route) -> None:
        held.append(route) if not held and route.request.url.endswith("/2") else route.continue_()

    screen.page.route("**/slice/**", hold)
    screen.open({**QUICK, "image": "12"}, level=1)
    screen.until("document.getElementById('slice-status').textContent.includes('computing 97')")
    first = screen.js("trs.scene.key")
    screen.js("trs.set({image: 13})")
    screen.painted(but=first)
    screen.js("trs.set({image: 12})")
    screen.until("(key) => trs.scene.key === key && trs.grid", first)
    screen.painted(level=3)
    with screen.page.expect_event("requestfinished", lambda request: request == held[0].request):
        held[0].continue_()
    screen.idle()
    assert screen.js("trs.scene.key") == first
    points = np.random.default_rng(2).integers(0, 193, (300, 2))
    logits, _ = outputs(mnist, grid_images(screen, points, (1, 28, 28)))
    assert np.abs(page_logits(screen, points) - logits).max() < 1e-3


@pytest.mark.slow
def test_a_slice_that_the_server_has_forgotten_is_asked_for_again(screen: Screen) -> None:
    forgotten = []

    def forget(route: Route) -> None:
        forgotten.append(route)
        route.fulfill(status=404, body="") if len(forgotten) == 2 else route.continue_()

    screen.page.route("**/slice/**", forget)
    screen.open({**QUICK, "image": "14"}, level=0)
    screen.painted(level=3)
    screen.problems.clear()


def test_hovering_tells_every_models_logits_on_whatever_panel(screen: Screen, mnist: Loaded) -> None:
    screen.open(QUICK, level=3)
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
        cells = [
            [cell.text_content() for cell in line.locator("th, td").all()]
            for line in screen.page.locator("#readout tbody tr").all()
        ]
        assert [line[0] for line in cells] == ["F1", "F2", "F3", "ensemble"]
        for model, line in enumerate(cells):
            assert int(line[1]) == p[model, 0].argmax()
            assert float(line[2].rstrip(" %")) == pytest.approx(100 * p[model, 0].max(), abs=0.06)
            if model < 3:
                assert [float(cell) for cell in line[4:]] == pytest.approx(logits[0, model].tolist(), abs=0.0501)
                others = np.delete(logits[0, model], 7)
                assert float(line[3]) == pytest.approx(logits[0, model, 7] - others.max(), abs=0.0051)
        for panel in range(4):  # one crosshair on every panel
            left, top, width, height = screen.panel(panel)
            lines = screen.page.locator("#panels .frame").nth(panel)
            across, up = lines.locator(".across").bounding_box(), lines.locator(".up").bounding_box()
            assert across["y"] - top == pytest.approx((4 - b) / 8 * height, abs=2)
            assert up["x"] - left == pytest.approx((a + 4) / 8 * width, abs=2)


def test_a_click_starts_an_attack_there_on_every_model(screen: Screen, bars: Loaded) -> None:
    screen.open(BARS)
    screen.idle()
    screen.page.mouse.click(*screen.at(1, 0.7, 0.2))
    screen.until("location.search.includes('start=')")
    start = [float(part) for part in screen.url["start"].split(",")]
    assert start == pytest.approx([0.7, 0.2], abs=0.005)
    screen.until("(start) => Math.abs(trs.walks.start[0] - start[0]) < 1e-4", start)
    screen.idle()
    x, y = torch.tensor(start, dtype=torch.float32).view(1, 1, 1, 2), torch.tensor([screen.js("trs.scene.y")])
    eps = float(screen.url["eps"])
    for number, model in enumerate((*bars.ensemble.members, bars.ensemble)):
        path = np.array(screen.js("(model) => trs.walks.trails[model]", number))
        assert path[0] == pytest.approx(start, abs=1e-4)
        assert np.abs(path - start).max() < eps + 1e-5
        assert path.min() >= 0
        assert path.max() <= 1
        # each model has its own row of the batch, and so its own noise
        together = {"eps": eps, "steps": 10, "step_size": eps / 4, "early_stop": False}
        rows = x.repeat(3, 1, 1, 1), y.repeat(3)
        end = pgd(model, *rows, **together, generator=torch.Generator().manual_seed(0))[number : number + 1]
        assert path[-1] == pytest.approx(end.flatten().numpy(), abs=1e-3)
        with torch.no_grad():
            before, after = int(model(x).argmax()), int(model(end).argmax())
        numbers = [int(digit) for digit in re.findall(r"[0-9]+", screen.headline(number).split(":")[1])]
        assert numbers == ([before, after] if after != before else [before])
        assert _ink(screen, number, *path[-1]) > 0.1
        assert _ink(screen, number, *start) > 0.5
        assert _ink(screen, number, 0.03, 0.97) < 0.5


def _ink(screen: Screen, model: int, a: float, b: float) -> float:
    """How much of the few pixels around a point carries a mark."""
    return screen.js(
        "([model, a, b]) => { const c = document.querySelectorAll('#panels canvas.marks')[model], r = Math.ceil(c.width / 60);"
        " const data = c.getContext('2d').getImageData(a * c.width - r, (1 - b) * c.height - r, 2 * r, 2 * r).data;"
        " return data.filter((value, i) => i % 4 === 3 && value > 99).length / (data.length / 4); }",
        [model, float(a), float(b)],
    )


@pytest.mark.parametrize("method", ["adaboost", pytest.param("gradient-boost", marks=pytest.mark.slow)])
def test_a_boosted_ensembles_slice_is_its_own_vote(context, serve, tmp_path, method) -> None:
    settings = {"data": "bars", "method": method, "members": 3, "epochs": 30, "save_every": 30, "probe_every": 30}
    run = runs.create(tmp_path / "boosted", resolve(settings))
    list(train(run))
    points, along = np.random.default_rng(0).integers(0, 193, (2000, 2)), np.linspace(0, 1, 193)
    x = torch.tensor(np.stack([along[points[:, 1]], along[points[:, 0]]], 1), dtype=torch.float32).view(-1, 1, 1, 2)
    ensemble, _ = load_ensemble(run)
    with torch.no_grad():
        p = ensemble(x).exp().numpy()
    screen = new_screen(context, serve(tmp_path).address)
    screen.open({**BARS, "run": "boosted"}, level=3)
    models, n = screen.js(
        "[[trs.grid.models.at(-1)].map((model) => [Array.from(model.cls), Array.from(model.conf)]), trs.grid.n]"
    )
    cls, conf = (np.array(values).reshape(n, n)[points[:, 0], points[:, 1]] for values in models[0])
    screen.page.close()
    clear = np.abs(p[:, 0] - p[:, 1]) > 1e-3
    assert np.array_equal(cls[clear], p.argmax(-1)[clear])
    assert np.abs(conf - p.max(-1)).max() < 1e-4
    assert len(np.unique(cls)) == 2
