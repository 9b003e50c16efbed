"""The lesson as a class sees it: all cards by keyboard, guess and reveal, what addresses hide and lock."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from web_screen import MARKS, Screen

from trs_explorer.web.lesson.deck import CARDS

pytestmark = MARKS
NAMES = [card.name for card in CARDS]
SIZES = [(1280, 720), (1920, 1080)]
REVEALED = "[...document.querySelectorAll(`#card-${lessonView.shown} [data-after]`)].every((part) => part.checkVisibility())"


# How far below the window, or its scrolled part, the answer and the picture end, and whether they are there at all.
BELOW = """(() => {
  const section = document.getElementById(`card-${lessonView.shown}`);
  const right = section.querySelector('.right').getBoundingClientRect();
  const answer = section.querySelector('[data-part=answer]').getBoundingClientRect();
  const pictures = [...section.querySelectorAll('.stage canvas, .stage .figure')].filter((one) => one.checkVisibility());
  const boxes = pictures.map((one) => one.getBoundingClientRect());
  return {
    answer: answer.bottom - Math.min(innerHeight, right.bottom),
    picture: Math.max(...boxes.map((box) => box.bottom)) - innerHeight,
    tall: Math.min(answer.height, ...boxes.map((box) => box.height)), scrolled: document.scrollingElement.scrollTop,
  };
})()"""


def opened(screen: Screen, name: str, query: str = "") -> Screen:
    screen.page.goto(f"{screen.address}lesson/{name}{query}")
    screen.turned(name)
    return screen


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_all_cards_by_keyboard_there_and_back(screen: Screen, size: tuple[int, int]) -> None:
    screen.page.set_viewport_size({"width": size[0], "height": size[1]})
    opened(screen, NAMES[0])
    for place, name in enumerate(NAMES):
        screen.turned(name)
        assert screen.page.url.split("?")[0].endswith(f"/lesson/{name}")
        assert screen.js(
            "document.scrollingElement.scrollHeight <= innerHeight && document.scrollingElement.scrollWidth <= innerWidth"
        )
        title = screen.page.locator(f"#card-{name} h2")
        assert title.text_content().split(" ", 1) == [str(place + 1), CARDS[place].title]
        covered = screen.js(
            f"![...document.querySelectorAll('#card-{name} [data-after]')].some((part) => part.checkVisibility())"
        )
        assert covered
        screen.page.keyboard.press("2")
        screen.page.keyboard.press("Enter" if place % 2 else "r")
        assert screen.js(REVEALED)
        assert screen.page.locator(f"#card-{name} [data-choice='1']").get_attribute("aria-pressed") == "true"
        right = screen.page.locator(f"#card-{name} [data-choice='{CARDS[place].right}']")
        assert right.get_attribute("data-right") is not None
        assert right.evaluate("(button) => getComputedStyle(button, '::after').content.includes('✓')")
        screen.page.keyboard.press("Enter")  # covered again
        assert not screen.js(REVEALED)
        screen.page.keyboard.press("ArrowRight" if place % 2 else "PageDown")
    screen.turned(NAMES[-1])
    for name in reversed(NAMES[:-1]):
        screen.page.keyboard.press("ArrowLeft")
        screen.turned(name)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", NAMES)
def test_after_the_reveal_answer_and_picture_are_on_the_screen_without_scrolling(
    desk: Screen, name: str, size: tuple[int, int]
) -> None:
    desk.page.set_viewport_size({"width": size[0], "height": size[1]})
    desk.card(name, {"n": 8, "steps": 2, "guess": 1} if name in ("images", "baseline", "doubt") else {"guess": 1})
    desk.page.keyboard.press("Enter")
    desk.until(REVEALED)
    if name in ("theorem", "images", "baseline", "doubt"):
        desk.until("lessonView.answer?.done && lessonView.answer.figures && !lessonView.answer.texts.of?.includes('Measuring')")
        desk.until("document.querySelector('.card .stage .main-svg')")
    found = desk.js(BELOW)
    assert found["answer"] <= 0, found
    assert found["picture"] <= 0, found
    assert found["scrolled"] == 0
    assert found["tall"] > 60
    line = desk.page.locator(f"#card-{name} summary.line")
    card = next(card for card in CARDS if card.name == name)
    folded = [card.question, f"✓ {card.right + 1} {card.choices[card.right]}"]
    assert line.locator("small, b").all_text_contents() == folded
    assert line.evaluate("(e) => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]") == [0, 0]  # all can be read
    assert not desk.page.locator(f"#card-{name} .asked").is_visible()
    assert not desk.page.locator(f"#card-{name} dl").is_visible()  # sources are folded
    line.click()
    assert desk.page.locator(f"#card-{name} .choices [data-right]").is_visible()


@pytest.mark.parametrize(
    "focus", ["[data-choice='1']", "[data-set]", "input[type=range]", "summary", "#bar button:text-is('theme')"]
)
def test_enter_reveals_whatever_the_mouse_has_focused(screen: Screen, focus: str) -> None:
    opened(screen, "zigzag", "?reveal=1" if focus == "summary" else "")
    screen.page.locator(focus if focus[0] == "#" else f"#card-zigzag {focus}").first.click()
    before = screen.revealed
    screen.page.keyboard.press("Enter")
    assert screen.revealed != before
    screen.page.keyboard.press("Enter")
    assert screen.revealed == before


def test_enter_in_a_text_field_does_not_reveal_and_a_link_that_tab_reached_is_followed(screen: Screen) -> None:
    opened(screen, "train-it")
    screen.page.locator("#card-train-it input[type=number]").click()
    screen.page.keyboard.press("Enter")
    assert not screen.revealed
    screen.page.locator("#steps a").nth(3).focus()
    screen.page.keyboard.press("Tab")
    screen.page.keyboard.press("Enter")
    screen.turned("images")
    assert not screen.revealed


def test_a_clickers_keys_turn_the_cards(screen: Screen) -> None:
    opened(screen, NAMES[0])
    steps = [
        ("ArrowDown", 1),
        ("Space", 2),
        ("PageDown", 3),
        ("ArrowUp", 2),
        ("PageUp", 1),
        ("Shift+Space", 0),
        ("End", 6),
        ("Home", 0),
    ]
    for key, place in steps:
        screen.page.keyboard.press(key)
        screen.turned(NAMES[place])
    # A button that the mouse has pressed does not keep Space for itself; one that Tab has reached does.
    screen.page.locator("#card-one-attack [data-choice='1']").click()
    screen.page.keyboard.press("Space")
    screen.turned(NAMES[1])
    screen.page.locator("#card-zigzag [data-choice='0']").focus()
    screen.page.keyboard.press("Tab")
    screen.page.keyboard.press("Space")
    screen.settled()
    screen.turned(NAMES[1])
    assert screen.page.locator("#card-zigzag [data-choice='1']").get_attribute("aria-pressed") == "true"


def test_on_a_phone_the_keys_scroll_to_the_cards_end_before_they_turn_it(screen: Screen) -> None:
    screen.page.set_viewport_size({"width": 400, "height": 500})
    opened(screen, "zigzag")
    screen.page.keyboard.press("Space")
    screen.until("document.scrollingElement.scrollTop > 100")
    screen.settled()
    screen.turned("zigzag")
    screen.js("scrollTo(0, 1e6)")
    screen.page.keyboard.press("Space")
    screen.turned("train-it")
    assert screen.js("document.scrollingElement.scrollTop") == 0


def test_an_address_of_no_card_shows_the_way(screen: Screen) -> None:
    screen.page.goto(f"{screen.address}lesson/nope")
    assert "There is no card called 'nope'." in screen.page.locator("main").text_content()
    screen.problems.clear()  # the 404 itself
    screen.page.get_by_text("Start with card 1.").click()
    screen.turned("one-attack")


def test_back_in_the_browser_brings_the_card_and_its_guess_back(screen: Screen) -> None:
    opened(screen, "zigzag")
    screen.page.keyboard.press("3")
    screen.page.keyboard.press("ArrowRight")
    screen.turned("train-it")
    screen.page.go_back()
    screen.turned("zigzag")
    assert screen.page.locator("#card-zigzag [data-choice='2']").get_attribute("aria-pressed") == "true"


def test_an_address_hides(screen: Screen) -> None:
    opened(screen, "zigzag", "?hide=controls,answer&reveal=1")
    assert not screen.page.locator("#card-zigzag .controls").is_visible()
    assert not screen.page.locator("#card-zigzag [data-part='answer']").is_visible()
    assert screen.page.locator("#card-zigzag [data-part='sources'] summary").is_visible()
    screen.page.keyboard.press("ArrowRight")  # and goes on hiding on the next card
    screen.turned("train-it")
    assert not screen.page.locator("#card-train-it .controls").is_visible()
    screen.page.keyboard.press("c")
    screen.page.locator("#card-train-it .controls").wait_for()


def test_an_address_locks(screen: Screen) -> None:
    opened(screen, "zigzag", "?lock=1")
    assert screen.js(
        "[...document.querySelectorAll('#card-zigzag [data-field] input, #card-zigzag [data-set]:not([data-choice])')]"
        ".every((control) => control.disabled)"
    )
    screen.page.keyboard.press("Enter")
    assert screen.js(REVEALED)


def test_a_question_for_a_test_does_not_give_its_answer(screen: Screen) -> None:
    opened(screen, "zigzag", "?lock=1&hide=answer,sources,controls&reveal=1")
    for key in ("Enter", "r", "c"):
        screen.page.keyboard.press(key)
    screen.settled()
    assert not screen.js(REVEALED)
    assert screen.page.locator("#card-zigzag .choices [data-right]").count() == 0
    assert not screen.page.locator("#card-zigzag .controls").is_visible()
    assert not screen.page.locator("#card-zigzag .reveal").is_visible()


def test_an_address_that_makes_no_sense_shows_what_it_can(screen: Screen) -> None:
    opened(screen, "zigzag", "?guess=99&reveal=perhaps&theme=pink&nothing=1")
    screen.turned("zigzag")
    assert not screen.js(REVEALED)


def test_a_slider_keeps_its_arrows_until_escape(screen: Screen) -> None:
    opened(screen, "zigzag")
    slider = screen.page.locator("#card-zigzag input[type=range]").first
    slider.focus()
    before = slider.input_value()
    screen.page.keyboard.press("ArrowRight")
    assert slider.input_value() != before
    screen.settled()
    screen.turned("zigzag")
    screen.page.keyboard.press("Escape")
    screen.page.keyboard.press("ArrowRight")
    screen.turned("train-it")


def test_full_screen_is_a_key_and_stays_from_card_to_card(screen: Screen) -> None:
    opened(screen, NAMES[0])
    screen.page.keyboard.press("f")
    screen.until("document.fullscreenElement !== null")
    screen.page.keyboard.press("ArrowRight")
    screen.turned(NAMES[1])
    assert screen.js("document.fullscreenElement !== null")
    screen.page.keyboard.press("f")
    screen.until("document.fullscreenElement === null")


def test_a_server_that_has_gone_is_to_be_started_by_its_own_command(screen: Screen) -> None:
    screen.page.route("**/alive", lambda route: route.fulfill(status=200, body="trs lesson"))
    opened(screen, NAMES[0])
    with screen.page.expect_response("**/alive"):
        pass
    screen.page.unroute("**/alive")
    screen.page.route("**/alive", lambda route: route.fulfill(status=503, body=""))
    screen.until("document.getElementById('gone').textContent.includes('Start \"trs lesson\" again')")
    screen.page.unroute("**/alive")
    screen.until("document.getElementById('gone').textContent === ''")
    screen.problems.clear()  # the 503


def test_the_teachers_page_has_every_card_and_can_be_left(screen: Screen) -> None:
    opened(screen, NAMES[0])
    screen.page.get_by_text("teacher's page").click()
    screen.until("location.pathname === '/lesson/teacher'")
    screen.page.locator("#teacher h2 a").nth(len(NAMES) - 1).wait_for()
    assert [link.get_attribute("href") for link in screen.page.locator("#teacher h2 a").all()] == [
        f"/lesson/{name}" for name in NAMES
    ]
    found = (
        Axe().run(screen.page, options={"runOnly": ["wcag2a", "wcag2aa"], "resultTypes": ["violations"]}).response["violations"]
    )
    assert [v["id"] for v in found] == []
    screen.page.locator("#teacher h2 a").first.click()
    screen.turned(NAMES[0])
