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


def running() -> list[object]:
    """The measurements that run in this process, whose servers they all are."""
    return [job for jobs in list(jobs_module._all_jobs) for job in jobs._running()]


def are_cancelled(measurements: list[object]) -> bool:
    """Whether all of these have ended before their end."""
    return {job.snapshot.state for job in measurements} == {"cancelled"}


def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
