"""What a class full of browsers, or a stranger's page, can cost this machine."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import dash
import pytest
from dash_client import call, state_of, texts
from flask import Flask
from flask.testing import FlaskClient

from trs_explorer.explore import jobs as jobs_module
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web.access import protect
from trs_explorer.web.app import create_app
from trs_explorer.web.compare.app import create_compare
from trs_explorer.web.lesson.app import create_lesson

STRANGER = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
RUN = "bars-cos-only"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[dash.Dash]:
    shutil.copytree(folder("checkpoints") / RUN, tmp_path / RUN)
    before = set(jobs_module._all_jobs)
    app = create_app(Library([tmp_path]))
    protect(app.server)
    yield app
    for jobs in set(jobs_module._all_jobs) - before:
        jobs.stop(10.0)


@pytest.fixture
def client(app: dash.Dash) -> FlaskClient:
    return app.server.test_client()


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def test_a_strangers_page_starts_no_work(client: FlaskClient) -> None:
    before = threads()
    for _ in range(100):
        for path in ("/compare/_dash-layout", "/lesson/_dash-layout", "/_dash-layout"):
            assert client.get(path, headers=STRANGER).status_code == 403
        for path in (
            "/_dash-update-component",
            "/compare/_dash-update-component",
            "/lesson/_dash-update-component",
            "/lesson/leave",
        ):
            assert client.post(path, json={}, headers=STRANGER).status_code == 403
    assert threads() <= before  # one of before may have ended


@pytest.mark.slow
def test_any_number_of_measurements_has_one_thread_and_what_is_too_much_is_refused(app: dash.Dash, tmp_path: Path) -> None:
    """Two pages of one server: Compare's measurements, and a training of the lesson."""
    server, library, jobs = Flask("compare"), Library([tmp_path]), Jobs()
    compare = create_compare(server, library, jobs)
    lesson = create_lesson(server, library, jobs)
    before, state = threads(), state_of(compare, a=RUN, b=RUN, n=64, steps=2)
    with PROCESS_LOCK.hold():  # nothing gets on meanwhile
        answers = [call(compare, "poll.disabled", settled={**state, "seed": k}, client=str(k))
                   for k in range(jobs_module.RUNNING_JOBS + 3)]  # fmt: skip
        refused = ["try again" in answer["live-words.children"] for answer in answers]
        assert refused == [False] * jobs_module.RUNNING_JOBS + [True] * 3
        assert [answer["poll.disabled"] for answer in answers] == [False] * len(answers)  # the page asks again
        # Besides those of the slice, which are as many for any number of pages.
        assert [thread.name for thread in threads() - before if not thread.name.startswith(("ahead", "slices"))] == ["jobs"]
        late = call(compare, "poll.disabled", settled={**state, "seed": 1}, client="late")
        assert "try again" not in late["live-words.children"]  # what is made already, others may look at
        asked = {"card": "train-it", "seed": 0, "lambda_a": 0, "neighbours": 0, "smooth": 0, "reveal": 0}
        act = {"card": "train-it", "train": "this"}
        training = call(lesson, "answer.data", changed="act.data", asked=asked, act=act, look="light", client="pupil")
        assert "try again" in training["view-notice.children"]
        assert training["poll.n_intervals"] == 0  # the page asks again
    jobs.stop(10.0)


def test_a_page_of_the_explorer_is_told_and_asks_again(app: dash.Dash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "RUNNING_JOBS", 0)
    monkeypatch.setattr(jobs_module.Jobs, "_running", lambda self: [jobs_module._Job("a", jobs_module._items(list), set())])
    state = state_of(app, run=RUN)
    answer = call(app, "matrix.children", settled=state)
    assert "try again" in answer["transfer-summary.children"]
    assert answer["poll.disabled"] is False
    monkeypatch.undo()
    again = call(app, "matrix.children", changed="poll.n_intervals", settled=state)
    assert "try again" not in again["transfer-summary.children"]
    assert again["matrix.children"]


def test_any_number_of_pages_measures_one_matrix_at_a_time(app: dash.Dash) -> None:
    before = threads()
    state = state_of(app, run=RUN)
    with PROCESS_LOCK.hold():  # nothing gets on meanwhile
        answers = [call(app, "matrix.children", settled={**state, "seed": k}, client=str(k))
                   for k in range(jobs_module.RUNNING_JOBS + 3)]  # fmt: skip
        refused = ["try again" in texts(answer["transfer-summary.children"]) for answer in answers]
        assert refused == [False] * jobs_module.RUNNING_JOBS + [True] * 3
        assert [answer["poll.disabled"] for answer in answers] == [False] * len(answers)
        # Besides those of the slice, which are as many for any number of pages.
        assert [thread.name for thread in threads() - before if not thread.name.startswith(("ahead", "slices"))] == ["jobs"]
