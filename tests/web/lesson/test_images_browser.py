"""The card of real images in a real browser: attacked to the end, revealed, without a run, locked."""

from functools import partial

import pytest
from axe_playwright_python.sync_playwright import Axe
from web_explorer import Explorer
from web_screen import MARKS, Screen

from trs_explorer.attacks.di2 import mdi2
from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.evaluation.transfer import transfer_matrix
from trs_explorer.web.lesson.images import RUNS
from trs_explorer.web.lesson.measurements import accuracy_share, share

pytestmark = MARKS

SMALL = {"n": 12, "steps": 2}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CARD = "#card-images"


def words(explorer: Explorer, run: str, attack, eps: float = 0.3) -> tuple[str, str]:
    """What the two columns must say of a run."""
    loaded = explorer.library.load(run)
    x, y = loaded.data.images(slice(0, 12)), loaded.data.y[:12]
    options = {"eps": eps, "steps": 2, "step_size": 1.25 * eps}
    matrix = transfer_matrix(loaded.ensemble, x, y, attack=partial(attack, **options))
    rate = evaluate(loaded.ensemble, x, y, attacks=[("pgd", pgd, options)])[1]
    return share(*matrix.pooled(), matrix.pooled_interval())["words"], accuracy_share(rate)["words"]


def cell(screen: Screen, run: str, what: str) -> str:
    return screen.page.locator(f"{CARD} tr[data-run={run}] [data-share={what}]").text_content()


def measured(screen: Screen, *runs: str) -> None:
    screen.until("(runs) => runs.every((run) => lesson.cards.images.found[run]?.done)", runs)


def test_a_student_attacks_one_run_and_the_reveal_attacks_the_others(desk: Screen, classroom: Explorer) -> None:
    desk.card("images", SMALL)
    assert cell(desk, "mnist-standard", "transfer") == "not attacked yet"
    canvas = desk.page.locator(f"{CARD} .stage > canvas")
    assert canvas.get_attribute("aria-label") == "nothing has been attacked yet"
    desk.page.get_by_role("button", name="standard", exact=True).click()
    measured(desk, "mnist-standard")
    transfer, robust = words(classroom, "mnist-standard", pgd)
    assert cell(desk, "mnist-standard", "transfer") == transfer
    assert cell(desk, "mnist-trs", "transfer") == "not attacked yet"
    # What is to be guessed is nowhere to be seen.
    assert not desk.page.locator(f"{CARD} [data-share=robust]").first.is_visible()
    assert "upwards" not in canvas.get_attribute("aria-label")
    covered = desk.js(f"document.querySelector('{CARD} .stage > canvas').toDataURL()")
    desk.until_url(attacked="mnist-standard")
    desk.page.keyboard.press("3")
    desk.page.keyboard.press("r")
    measured(desk, *RUNS)
    for run in RUNS:
        assert (cell(desk, run, "transfer"), cell(desk, run, "robust")) == words(classroom, run, pgd)
    assert desk.page.locator(f"{CARD} [data-share=robust]").first.is_visible()
    assert canvas.get_attribute("aria-label").count(", right ") == len(RUNS)
    assert desk.js(f"document.querySelector('{CARD} .stage > canvas').toDataURL()") != covered
    assert desk.page.locator(f"{CARD} .choices .right").text_content().startswith("3")
    assert robust == cell(desk, "mnist-standard", "robust")


def test_points_rise_with_the_reveal_only(desk: Screen) -> None:
    """TRS, which holds: its green in the upper half of the picture."""
    desk.card("images", {**SMALL, "attacked": "mnist-trs", "theme": "light"})
    measured(desk, "mnist-trs")
    assert cell(desk, "mnist-trs", "robust").split()[0] > "50"
    green = (
        f"(() => {{ const canvas = document.querySelector('{CARD} .stage > canvas'), size = canvas.width * canvas.height / 2;"
        " const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height / 2); let found = 0;"
        " for (let k = 0; k < 4 * Math.floor(size); k += 4) found += data[k] === 0 && data[k + 1] === 158 && data[k + 2] === 115;"
        " return found; })()"
    )
    assert desk.js(green) == 0
    desk.page.keyboard.press("r")
    assert desk.js(green) > 20


def test_only_the_newest_of_two_in_one_place_is_followed(desk: Screen) -> None:
    desk.card("images", SMALL)
    seen = desk.js(
        "async () => { const seen = [], fields = {run: 'mnist-trs', eps: 0.3, pairs: 'pgd', n: 12, steps: 2};"
        " await Promise.all([3, 4].map((seed) => lesson.follow('p', 'attack', {...fields, seed}, () => seen.push(seed))));"
        " return seen; }"
    )
    assert set(seen) == {4}


def test_another_attack_and_another_eps_are_measured_anew(desk: Screen, classroom: Explorer) -> None:
    desk.card("images", {**SMALL, "attacked": "mnist-trs", "reveal": ""})
    measured(desk, "mnist-trs")
    desk.page.get_by_role("button", name="MDI²-FGSM").click()
    desk.until("!lesson.cards.images.found['mnist-trs'].done || lesson.cards.images.found['mnist-trs'].of.includes('MDI')")
    measured(desk, "mnist-trs")
    assert cell(desk, "mnist-trs", "transfer") == words(classroom, "mnist-trs", mdi2)[0]
    desk.page.locator(f"{CARD} input[data-field=eps]").focus()
    desk.page.keyboard.press("ArrowLeft")
    desk.until("lesson.cards.images.found['mnist-trs'].of?.includes('eps 0.25') && lesson.cards.images.found['mnist-trs'].done")
    assert cell(desk, "mnist-trs", "transfer") == words(classroom, "mnist-trs", mdi2, 0.25)[0]
    assert "eps 0.25" in desk.page.locator(f"{CARD} .of").text_content()


def test_without_a_run_the_card_says_how_to_get_it_and_the_rest_works(screen: Screen) -> None:
    """`explorer` has neither cos-only nor smooth-only."""
    screen.card("images", {**SMALL, "reveal": 1})
    measured(screen, "mnist-standard", "mnist-trs")
    said = cell(screen, "mnist-cos-only", "transfer")
    assert "mnist-cos-only is not here" in said
    assert "trs train --method cos-only --out checkpoints/mnist-cos-only" in said
    assert screen.page.get_by_role("button", name="cos-only", exact=True).is_disabled()
    assert screen.page.get_by_role("button", name="TRS", exact=True).is_enabled()
    assert "of 12" in cell(screen, "mnist-trs", "robust")


def test_a_locked_card_can_only_be_guessed(desk: Screen) -> None:
    desk.card("images", {**SMALL, "attacked": "mnist-trs", "lock": 1})
    measured(desk, "mnist-trs")
    assert desk.page.get_by_role("button", name="all four", exact=True).is_disabled()
    assert desk.page.locator(f"{CARD} input[data-field=eps]").is_disabled()
    desk.page.keyboard.press("Control+2")  # the browser's own
    assert desk.page.locator(f"{CARD} [aria-pressed=true][data-choice]").count() == 0
    desk.page.keyboard.press("2")
    assert desk.page.locator(f"{CARD} [aria-pressed=true][data-choice]").count() == 1


def test_what_is_not_done_when_one_leaves_goes_on_when_one_is_back(desk: Screen) -> None:
    desk.card("images", {**SMALL, "n": 300})
    desk.page.get_by_role("button", name="all four", exact=True).click()
    desk.js("lesson.step(-1)")
    desk.until("lesson.name === 'theorem'")
    assert desk.js("Object.values(lesson.cards.images.found).filter((one) => one.done).length") < len(RUNS)
    desk.page.go_back()
    desk.until("lesson.name === 'images'")
    measured(desk, *RUNS)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(desk: Screen, theme: str) -> None:
    desk.card("images", {**SMALL, "reveal": 1, "guess": 1, "theme": theme})
    measured(desk, *RUNS)
    found = Axe().run(desk.page, options=RULES).response["violations"]
    assert [(v["id"], [n["failureSummary"] for n in v["nodes"]][:4]) for v in found] == []
    desk.fits_a_phone()
