"""The cards in order, and the routes of the lesson."""

from flask import Flask, Response, redirect

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.web.lesson import baseline, doubt, images, one_attack, theorem, train_it, zigzag
from trs_explorer.web.lesson.page import lesson_page, unknown_card_page
from trs_explorer.web.lesson.teacher import teacher_page
from trs_explorer.web.lesson.view import add_view
from trs_explorer.web.pages import at

MODULES = (one_attack, zigzag, train_it, theorem, images, baseline, doubt)
CARDS = tuple(module.CARD for module in MODULES)


def add_lesson(server: Flask, library: Library, jobs: Jobs) -> None:
    """Add /lesson, /lesson/NAME, /lesson/teacher, and /lesson/NAME/view of the cards that the server draws."""

    @server.get("/lesson")
    def first() -> Response:
        return redirect(at(f"/lesson/{CARDS[0].name}"))

    @server.get("/lesson/<name>")
    def card(name: str) -> str | tuple[str, int]:
        if name not in {card.name for card in CARDS}:
            return unknown_card_page(CARDS, name), 404
        return lesson_page(CARDS)

    @server.get("/lesson/teacher")
    def teacher() -> str:
        return teacher_page(CARDS)

    for module in MODULES:
        if hasattr(module, "view"):
            add_view(server, library, jobs, module.CARD.name, module.view)
