"""A library of all runs that the cards of images attack, and a tab on it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from web_explorer import Explorer

from trs_explorer.shipped import folder
from trs_explorer.web.lesson import baseline, doubt, images

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext
    from web_screen import Screen


@pytest.fixture(scope="session")
def classroom(serve: Callable[[Path], Explorer], tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    runs = tmp_path_factory.mktemp("classroom")
    for name in {*images.RUNS, *baseline.RUNS, doubt.RUN}:
        shutil.copytree(folder("checkpoints") / name, runs / name)
    return serve(runs)


@pytest.fixture
def desk(context: "BrowserContext", classroom: Explorer) -> "Iterator[Screen]":
    """A tab on the classroom; afterwards nothing may have gone wrong in it."""
    from web_screen import screen, serious

    found = screen(context, classroom.address)
    yield found
    told = [found.foreign, serious(found.problems), found.js("window.watch ? watch.refused : []")]
    found.page.close()
    assert told == [[], [], []]
