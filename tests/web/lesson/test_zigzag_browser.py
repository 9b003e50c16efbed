"""The zigzag in a real browser, its exact attack against brute force over the ball, in float64, at the page's own points."""

import math

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from web_screen import MARKS, Screen

from trs_explorer.evaluation.intervals import wilson

pytestmark = MARKS

TEETH = (0.01, 0.03, 0.1, 0.17, 0.25, 0.3, 0.35, 0.42, 0.45, 0.5)
HIT = (0xD5, 0x5E, 0x00)  # --hit of the light theme: attacks that fool both
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
GRID = 1e-3  # what brute force can miss: two tips whose margins differ by less than its grid sees


def wave(x: np.ndarray, tooth: float) -> np.ndarray:
    """The triangle wave of slope 1 and -1 through the origin, tooth high: between its corners, another way than the page's."""
    return np.interp(x, [-tooth / 2, tooth / 2], [-tooth / 2, tooth / 2], period=2 * tooth)


def margin(model: str, p: np.ndarray, tooth: float) -> np.ndarray:
    """Above zero where the model says class 1; p is [..., 2]."""
    return p[..., 1] - {"F": 1, "G": -1}[model] * wave(p[..., 0], tooth)


def gradient(model: str, p: np.ndarray, tooth: float, step: float = 1e-7) -> np.ndarray:
    """By central differences; p must be farther than a step from any tip."""
    shifts = step * np.eye(2)
    return np.stack([(margin(model, p + s, tooth) - margin(model, p - s, tooth)) / (2 * step) for s in shifts], axis=-1)


def cosine(p: np.ndarray, tooth: float) -> np.ndarray:
    f, g = gradient("F", p, tooth), gradient("G", p, tooth)
    return np.abs((f * g).sum(-1)) / np.linalg.norm(f, axis=-1) / np.linalg.norm(g, axis=-1)


def brute_force(points: np.ndarray, sides: np.ndarray, tooth: float, eps: float) -> np.ndarray:
    """The points of the balls where F's margin, counted for each point's class, is lowest: grids, ever finer."""
    turns, lengths = np.meshgrid(np.linspace(0, 2 * np.pi, 1440, endpoint=False), eps * np.linspace(0, 1, 16))
    ball = np.stack([lengths * np.cos(turns), lengths * np.sin(turns)], axis=-1).reshape(-1, 2)
    box = np.stack(np.meshgrid(*[np.linspace(-1, 1, 21)] * 2), axis=-1).reshape(-1, 2)
    lowest = np.empty_like(points)
    for i, (x, side) in enumerate(zip(points, sides, strict=True)):
        best, reach = ball[np.argmin(side * margin("F", x + ball, tooth))], eps / 30
        while reach > 1e-8:
            tried = best + reach * box
            tried *= np.minimum(1, eps / np.maximum(np.linalg.norm(tried, axis=-1, keepdims=True), 1e-300))
            tried = np.concatenate([tried, best[None]])
            best = tried[np.argmin(side * margin("F", x + tried, tooth))]
            reach /= 4
        lowest[i] = x + best
    return lowest


class Shown:
    """What the page has measured, as arrays."""

    def __init__(self, screen: Screen) -> None:
        self.measured = screen.js("lessonView.measured")
        self.points = np.array([[p["x"], p["y"]] for p in self.measured["points"]])
        self.sides = np.array([1 if p["label"] else -1 for p in self.measured["points"]])
        self.attacked = np.array([[p["x"], p["y"]] for p in self.measured["attacked"]])
        self.tooth, self.eps = self.measured["tooth"], self.measured["eps"]

    def counts(self, attacked: np.ndarray) -> tuple[int, int, float]:
        """Fooled both; right for both before, and F fooled; the least |margin| that any of these verdicts hangs on."""
        before = [self.sides * margin(model, self.points, self.tooth) for model in "FG"]
        after = [self.sides * margin(model, attacked, self.tooth) for model in "FG"]
        eligible = (before[0] > 0) & (before[1] > 0) & (after[0] < 0)
        closest = np.abs(np.concatenate([*before, after[0], after[1][eligible]])).min()
        return int((eligible & (after[1] < 0)).sum()), int(eligible.sum()), float(closest)


def text(screen: Screen, name: str) -> str:
    return screen.page.locator(f"#card-zigzag [data-out={name}]").text_content()


@pytest.mark.parametrize("eps", [pytest.param(0.3, marks=pytest.mark.slow), 0.17])
def test_the_attack_and_its_counts_are_those_of_brute_force(screen: Screen, eps: float) -> None:
    screen.card("zigzag", {"reveal": 1, "eps": eps})
    shares = []
    for tooth in TEETH:
        screen.set(tooth=tooth)
        shown = Shown(screen)
        assert (shown.tooth, shown.eps) == (tooth, eps)
        assert np.linalg.norm(shown.attacked - shown.points, axis=1).max() <= eps + 1e-12
        brute = brute_force(shown.points, shown.sides, tooth, eps)
        exact, tried = (shown.sides * margin("F", where, tooth) for where in (shown.attacked, brute))
        assert (exact <= tried + 1e-9).all()  # nothing that brute force has tried is worse for F
        assert (tried - exact).max() < GRID
        both, eligible, closest = shown.counts(shown.attacked)
        assert closest > 1e-6  # no verdict hangs on rounding
        assert (shown.measured["both"], shown.measured["n"]) == (both, eligible)
        by_brute_force = shown.counts(brute)
        assert np.abs(np.subtract(by_brute_force[:2], (both, eligible))).max() <= (by_brute_force[2] < GRID)
        assert shown.measured["interval"] == pytest.approx(wilson(both, eligible), abs=1e-6)
        assert text(screen, "share") == (f"{both / eligible:.2f}" if eligible else "none")
        assert f"{both} of the {eligible} that fool F" in text(screen, "counts")
        shares.append(both / eligible)
        if tooth >= math.sqrt(2) * eps:
            assert both == 0
    assert shares[0] > 0.95
    assert shares[-1] == 0
    assert sorted(shares, reverse=True) == pytest.approx(shares, abs=0.03)


def test_the_gradients_stay_at_right_angles_and_as_long_while_beta_grows(screen: Screen) -> None:
    screen.card("zigzag", {"reveal": 1})
    for tooth in TEETH:
        screen.set(tooth=tooth)
        shown = Shown(screen)
        flat = np.abs(wave(shown.points[:, 0], tooth)) < tooth / 2 - 1e-5  # differences see both flanks on a tip
        assert flat.sum() > 100
        at_points = cosine(shown.points[flat], tooth).mean()
        aside = np.array([tooth * 1e-3, 0])
        at_attacked = max(cosine(shown.attacked + side * aside, tooth).mean() for side in (-1, 1))
        assert shown.measured["cos"]["points"] == pytest.approx(at_points, abs=1e-6)
        assert shown.measured["cos"]["attacked"] == pytest.approx(at_attacked, abs=1e-6)
        assert (text(screen, "cos"), at_points < 1e-6) == ("0.00", True)
        lengths = np.linalg.norm(gradient("F", shown.points[flat], tooth), axis=-1)
        assert lengths == pytest.approx(shown.measured["norm"], abs=1e-6)
        middles = np.stack([tooth * np.arange(-6, 7), np.zeros(13)], axis=-1)
        slopes = gradient("F", middles, tooth)
        i, j = np.triu_indices(len(middles), 1)
        betas = np.linalg.norm(slopes[i] - slopes[j], axis=-1) / np.linalg.norm(middles[i] - middles[j], axis=-1)
        assert shown.measured["beta"] == pytest.approx(betas.max(), rel=1e-5)


def test_points_are_of_both_classes_and_the_same_everywhere(screen: Screen) -> None:
    """The first ones of seed 1 by mulberry32 in another language: Python's integers, cut to 32 bits."""
    state = 1

    def number() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) % 2**32
        mixed = (state ^ state >> 15) * (1 | state) % 2**32
        mixed ^= (mixed + (mixed ^ mixed >> 7) * (61 | mixed)) % 2**32
        return (mixed ^ mixed >> 14) / 2**32

    shown = Shown(screen.card("zigzag"))
    assert len(shown.points) == 120
    for point, side in zip(shown.points, shown.sides, strict=True):
        assert tuple(point) == pytest.approx((1.15 * (2 * number() - 1), side * (0.05 + 0.2 * number())), abs=1e-12)
    assert shown.sides.sum() == 0


def test_the_chart_has_what_the_slider_shows(screen: Screen) -> None:
    screen.card("zigzag", {"reveal": 1})
    screen.set(eps=0.25)  # not what the chart was drawn for at first
    strip = screen.js("lessonView.measured.strip")
    assert [one["tooth"] for one in strip] == pytest.approx([k / 100 for k in range(1, 51)], abs=0)
    for one in strip[::7]:
        screen.set(tooth=one["tooth"])
        measured = Shown(screen).measured
        assert [one[key] for key in ("both", "n", "share", "interval")] == [
            measured[key] for key in ("both", "n", "share", "interval")
        ]
        assert one["cos"] == measured["cos"]["points"]
    named = dict(part.split(": ") for part in text(screen, "few").split(" · "))
    assert len(named) == 6
    by_tooth = {}
    for one in strip:
        low, high = wilson(one["both"], one["n"])
        by_tooth[f"{one['tooth']}"] = f"{one['share']:.2f} ({low:.2f} to {high:.2f}, n = {one['n']})"
    assert named == {tooth: by_tooth[tooth] for tooth in named}


def test_numbers_and_attacks_are_seen_after_the_guess_only(screen: Screen) -> None:
    screen.card("zigzag", {"theme": "light"})
    section = screen.page.locator("#card-zigzag")
    numbers = [section.locator(f"[data-out={name}]") for name in ("share", "counts", "cos", "norm", "beta", "few")]

    def hit() -> int:
        return screen.pixels("#card-zigzag canvas.plane", HIT)

    assert hit() == 0
    assert not any(number.is_visible() or number.text_content() for number in numbers)
    assert not section.locator("canvas.strip").is_visible()
    assert "attack" not in section.locator("canvas.plane").get_attribute("aria-label")
    screen.page.keyboard.press("1")
    screen.page.keyboard.press("Enter")
    section.locator("[data-part=sources] summary").click()
    assert all(number.is_visible() and number.text_content() for number in numbers)
    assert section.locator("canvas.strip").is_visible()
    shown = Shown(screen).measured
    label = section.locator("canvas.plane").get_attribute("aria-label")
    assert f"at {shown['n']} points" in label
    assert f"at {shown['both']} of them" in label
    assert hit() > 50
    screen.set(tooth=0.45)
    assert (Shown(screen).measured["both"], hit()) == (0, 0)
    screen.page.keyboard.press("Enter")
    assert not any(number.is_visible() for number in numbers)
    assert hit() == 0


def test_the_drawing_follows_the_slider_and_the_address_the_state(screen: Screen) -> None:
    screen.card("zigzag", {"reveal": 1, "tooth": 0.2})
    picture = "['plane', 'zoom', 'strip'].map((name) => document.querySelector(`#card-zigzag canvas.${name}`).toDataURL())"
    before, label = screen.js(picture), "#card-zigzag canvas.plane"
    screen.page.locator("#card-zigzag [data-field=tooth] input").focus()
    screen.page.keyboard.press("ArrowLeft")
    assert all(new != old for new, old in zip(screen.js(picture), before, strict=True))  # at once
    assert "0.19 high" in screen.page.locator(label).get_attribute("aria-label")
    assert text(screen, "ratio") == "= 0.63 ε"
    screen.until_url(tooth="0.19", reveal="1")
    measured = Shown(screen).measured
    screen.page.reload()
    screen.until("window.lessonView && lessonView.measured")
    assert Shown(screen).measured == measured
    assert screen.page.locator("#card-zigzag canvas.strip").is_visible()


def test_axe_finds_nothing(screen: Screen) -> None:
    for theme in ("light", "dark"):
        screen.card("zigzag", {"reveal": 1, "guess": 1, "theme": theme})
        violations = Axe().run(screen.page, options=RULES).response["violations"]
        assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in violations] == []
