"""The cards in their order, and the addresses of the lesson."""

from flask import Flask, Response, abort, redirect

from trs_explorer.explore.library import Library
from trs_explorer.explore.live import Jobs
from trs_explorer.web.lesson import baseline, doubt, images, one_attack, theorem, train_it, zigzag
from trs_explorer.web.lesson.page import lesson_page
from trs_explorer.web.lesson.teacher import teacher_page

ROOMS = (one_attack, zigzag, train_it, theorem, images, baseline, doubt)
CARDS = tuple(room.CARD for room in ROOMS)


def add_lesson(server: Flask, library: Library, jobs: Jobs) -> None:
    """GET lesson, lesson/NAME, lesson/teacher, and under lesson/NAME/ what the cards themselves ask."""

    @server.get("/lesson")
    def first() -> Response:
        return redirect(f"/lesson/{CARDS[0].name}")

    @server.get("/lesson/<name>")
    def card(name: str) -> str:
        if name not in {card.name for card in CARDS}:
            abort(404)
        return lesson_page(CARDS, {name: run.config.data for name, run in library.runs().items()})

    @server.get("/lesson/teacher")
    def teacher() -> str:
        return teacher_page(CARDS)

    for room in ROOMS:
        if hasattr(room, "add_routes"):
            room.add_routes(server, library, jobs)
