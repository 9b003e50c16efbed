"""What the tests of the cards ask of a card's view."""

import time
from collections.abc import Callable

import dash
from dash_client import call
from flask import Flask

from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web.lesson.app import create_lesson
from trs_explorer.web.lesson.view import CardRequest, View


def library() -> Library:
    """All runs that ship."""
    return Library([folder("checkpoints")], device="cpu")


def asking(make: Callable[[CardRequest], View], runs: Library | None, jobs: Jobs, **first: object) -> Callable[..., View]:
    """ask(fields): the card's view once it is done; with every=True, all views on the way."""

    def ask(*, every: bool = False, **fields: object) -> View | list[View]:
        query = {name: str(value) for name, value in {"client": "me", "session": "me", **first, **fields}.items()}
        views = [make(CardRequest(runs, jobs, "card", query))]
        while not views[-1].done:
            time.sleep(0.005)
            views.append(make(CardRequest(runs, jobs, "card", {**query, "again": "1"})))
        return views if every else views[-1]

    return ask


def lesson_app(runs: Library | None, jobs: Jobs) -> dash.Dash:
    """The lesson on a server of its own."""
    return create_lesson(Flask("lesson"), runs, jobs)


def ask_page(
    app: dash.Dash, card: str, *, changed: str = "asked.data", act: object = None, client: str = "me", **fields: object
) -> dict:
    """What the page sets after a change, by "component.property". fields: the card's, and `reveal`."""
    asked = {"card": card, "reveal": 0, **fields}
    return call(app, "answer.data", changed=changed, asked=asked, act=act, look="light", client=client, session=client)
