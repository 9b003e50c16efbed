"""What a class full of browsers, or a stranger's page, can cost this machine."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from trs_explorer.explore import jobs as jobs_module
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.library import Library
from trs_explorer.shipped import folder
from trs_explorer.web.access import protect
from trs_explorer.web.app import create_app

STRANGER = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
RUN = "bars-cos-only"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    shutil.copytree(folder("checkpoints") / RUN, tmp_path / RUN)
    before = set(jobs_module._all_jobs)
    app = create_app(Library([tmp_path])).server
    protect(app)
    yield app.test_client()
    for jobs in set(jobs_module._all_jobs) - before:
        jobs.stop(10.0)


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def test_a_strangers_page_starts_no_work(client: FlaskClient) -> None:
    before = threads()
    for k in range(100):
        for path in (f"/compare/live?client={k}&seed={k}", f"/lesson/train-it/view?train=this&client={k}", f"/scene?image={k}"):
            assert client.get(path, headers=STRANGER).status_code == 403
    assert threads() == before


def test_any_number_of_measurements_has_one_thread_and_what_is_too_much_is_refused(client: FlaskClient) -> None:
    before = threads()
    asked = f"/compare/live?a={RUN}&b={RUN}&n=64&steps=2"
    with PROCESS_LOCK.hold():  # nothing gets on meanwhile
        answers = [client.get(f"{asked}&client={k}&seed={k}") for k in range(jobs_module.RUNNING_JOBS + 3)]
        assert [answer.status_code for answer in answers] == [200] * jobs_module.RUNNING_JOBS + [429] * 3
        assert "try again" in answers[-1].data.decode()
        assert answers[-1].headers["Retry-After"] == "10"
        assert len(threads() - before) == 1
        assert client.get(f"{asked}&client=late&seed=1").status_code == 200  # what is made already, others may look at
        training = client.get(
            "/lesson/train-it/view", query_string={"train": "this", "seed": 0, "lambda_a": 0, "neighbours": 0, "smooth": 0}
        )
        assert training.status_code in (200, 429)


def test_a_page_of_the_explorer_is_told_and_asks_again(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "RUNNING_JOBS", 0)
    monkeypatch.setattr(jobs_module.Jobs, "_running", lambda self: [jobs_module._Job("a", jobs_module._items(list), set())])
    body = {"output": "transfer-found.data", "outputs": {"id": "transfer-found", "property": "data"}, "state": []}
    body |= {
        "inputs": [{"id": "ask-transfer", "property": "data", "value": {"run": RUN}}],
        "changedPropIds": ["ask-transfer.data"],
    }
    told = json.loads(client.post("/_dash-update-component", json=body).data)["response"]["transfer-found"]["data"]
    assert "try again" in told["transfer-words"]
    assert not told["done"]
