"""Drives the dashboard without a terminal and reads its screen."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from trs_explorer.tui.app import Dashboard


def seen(app: Dashboard) -> str:
    """The text of the screen, line by line."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def braille(text: str) -> bool:
    return any("\u2801" <= c <= "\u28ff" for c in text)


async def until(pilot: Pilot, condition: Callable[[], bool]) -> None:
    """Wait for a condition, never for a duration; after ten seconds show the screen instead."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, seen(pilot.app)
        await pilot.pause(0.02)


def drive(app: Dashboard, size: tuple[int, int], act: Callable[[Pilot], Awaitable[None]]) -> None:
    async def main() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await act(pilot)

    asyncio.run(main())


def screen_of(app: Dashboard, size: tuple[int, int], *words: str) -> str:
    """The screen as soon as it shows all words."""
    screens = []

    async def act(pilot: Pilot) -> None:
        await until(pilot, lambda: all(word in seen(app) for word in words))
        screens.append(seen(app))

    drive(app, size, act)
    return screens[0]
