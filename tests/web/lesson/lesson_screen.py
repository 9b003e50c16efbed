"""What the browser tests of the cards wait for."""

import time
from collections.abc import Callable

from web_screen import PATIENCE_S, Screen

from trs_explorer.explore import jobs as jobs_module


def drawn(screen: Screen, *names: str) -> None:
    """Wait until the card's view is done, and these figures of it are on the screen."""
    screen.until(
        "(names) => lessonView.answer?.card === lessonView.shown && lessonView.answer.done && names.every((name) =>"
        " document.querySelector(`#card-${lessonView.shown} [data-figure='${name}'] .main-svg`)?.checkVisibility())",
        list(names),
    )


def running() -> int:
    """How many measurements run in this process, whose servers they all are."""
    return sum(len(jobs._running()) for jobs in list(jobs_module._all_jobs))


def cancelled() -> int:
    """How many measurements were cancelled before their end."""
    every = [job for jobs in list(jobs_module._all_jobs) for job in list(jobs._jobs.values())]
    return sum(job.snapshot.state == "cancelled" for job in every)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
