"""The card of two straight boundaries in a real browser, against the closed form and against the picture's own geometry."""

import math

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from web_screen import MARKS, Screen

pytestmark = MARKS

# angle, distance, eps: on both sides of the law's border, and at 60 degrees on it, where G is still right.
BORDERS = [(59, 0.5, 1), (60, 0.5, 1), (61, 0.5, 1), (72, 0.3, 1), (73, 0.3, 1), (0, 0.95, 1), (0, 1, 1), (0, 1, 1.05)]
OTHERS = [(90, 0.05, 1.5), (89, 0.05, 1.5), (45, 0.3, 0.5), (45, 0.4, 0.5), (135, 0.05, 1.5), (180, 0.05, 1.5)]
HIT = (0xD5, 0x5E, 0x00)  # --hit of the light theme: what the attack is drawn in
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}


def margins(measured: dict, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far points [n, 2] are on the right side of F's and of G's boundary, as the card draws them."""
    f, g = (measured[name]["far"] - points @ np.array(measured[name]["toward"]) for name in ("F", "G"))
    return f, g


def test_g_falls_where_the_law_says(screen: Screen) -> None:
    screen.card("one-attack", {"reveal": 1})
    verdicts = set()
    for angle, distance, eps in BORDERS + OTHERS:
        screen.set(angle=angle, distance=distance, eps=eps)
        measured = screen.js("lessonView.measured")
        falls = round(eps * math.cos(math.radians(angle)) - distance, 12) > 0
        verdicts.add(falls)
        x, attacked = np.array([measured["x"]]), np.array([measured["attacked"]])
        assert np.minimum(*margins(measured, x)) > 0  # both are right about x
        assert margins(measured, x)[1] == pytest.approx(distance)
        f, g = margins(measured, attacked)
        assert (f[0] < 0, g[0] < -1e-12) == (True, falls), (angle, distance, eps)
        assert (measured["after"], measured["transfers"]) == ([True, falls], falls), (angle, distance, eps)
        cosine = np.dot(measured["F"]["toward"], measured["G"]["toward"])
        assert math.degrees(math.acos(np.clip(cosine, -1, 1))) == pytest.approx(angle, abs=1e-5)
        said = screen.page.locator("#card-one-attack [data-out=verdict]").text_content()
        assert ("Both are wrong" in said) == falls
        assert screen.page.locator("#card-one-attack [data-out=law]").text_content() == (
            f"{eps * math.cos(math.radians(angle)) + 0.0:.2f} {'>' if falls else '≤'} {distance:.2f}".replace("-0.00", "0.00")
        )
    assert verdicts == {True, False}


@pytest.mark.parametrize("size", [(375, 812), (1280, 720)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_models_names_do_not_lie_on_one_another(screen: Screen, size: tuple[int, int]) -> None:
    screen.page.set_viewport_size({"width": size[0], "height": size[1]})
    screen.card("one-attack", {"reveal": 1})
    for angle in range(0, 181, 15):
        for distance in (0.05, 0.3, 1):
            screen.set(angle=angle, distance=distance)
            names = screen.js("lessonView.measured.names")
            (x, y), (a, b), em = names["F"], names["G"], names["em"]
            assert abs(x - a) > 4.5 * em or abs(y - b) > 1.2 * em, (angle, distance, names)


def test_no_point_of_the_ball_is_worse_for_f_than_the_attack(screen: Screen) -> None:
    screen.card("one-attack", {"angle": 37, "eps": 0.8})
    measured = screen.js("lessonView.measured")
    turns, lengths = np.meshgrid(np.linspace(0, 2 * np.pi, 721), np.linspace(0, 0.8, 41))
    ball = np.stack([lengths * np.cos(turns), lengths * np.sin(turns)], axis=-1).reshape(-1, 2)
    lowest = margins(measured, np.array([measured["attacked"]]))[0][0]
    assert np.linalg.norm(measured["attacked"]) == pytest.approx(0.8)
    assert lowest == pytest.approx(margins(measured, ball)[0].min(), abs=1e-12)


def test_the_attack_is_seen_after_the_guess_only(screen: Screen) -> None:
    screen.card("one-attack", {"theme": "light"})
    canvas = screen.page.locator("#card-one-attack canvas")

    def hit() -> int:
        return screen.pixels("#card-one-attack canvas", HIT)

    assert hit() == 0
    assert not screen.page.locator("#card-one-attack [data-out=verdict]").is_visible()
    assert screen.page.locator("#card-one-attack [data-out=cos]").text_content() == "0.00"
    assert "attack" not in canvas.get_attribute("aria-label")
    screen.page.keyboard.press("2")
    screen.page.keyboard.press("r")
    assert screen.page.locator("#card-one-attack [data-out=verdict]").is_visible()
    assert "does not transfer" in canvas.get_attribute("aria-label")
    assert hit() > 500
    right = screen.page.locator("#card-one-attack [data-choice][data-right]").text_content()
    assert "No" in right  # at right angles G never falls
    screen.page.keyboard.press("r")
    assert not screen.page.locator("#card-one-attack [data-out=verdict]").is_visible()
    assert hit() == 0


@pytest.mark.slow
def test_the_state_comes_back_from_the_address(screen: Screen) -> None:
    screen.card("one-attack", {"reveal": 1})
    screen.page.locator("#card-one-attack [data-field=angle] input").focus()
    screen.page.keyboard.press("ArrowLeft")
    screen.until_url(angle="89", reveal="1")
    before = screen.js("lessonView.measured")
    screen.page.reload()
    screen.until("window.lessonView && lessonView.measured")
    assert screen.js("lessonView.measured") == before
    assert before["cos"] == pytest.approx(math.cos(math.radians(89)))


def test_axe_finds_nothing(screen: Screen) -> None:
    for theme in ("light", "dark"):
        screen.card("one-attack", {"reveal": 1, "guess": 1, "theme": theme})
        violations = Axe().run(screen.page, options=RULES).response["violations"]
        assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in violations] == []
