"""The curve that is measured while one looks is what `evaluate` says; the page's addresses answer, and say what is wrong."""

import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from web_explorer import Explorer

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Loaded
from trs_explorer.web.compare import measurements
from trs_explorer.web.compare.measurements import curve_points, live_measurements, measure_curve, radii
from trs_explorer.web.compare.pair import parse_pair
from trs_explorer.web.state import State

SMALL = "n=16&steps=2&attack=pgd&eps=0.1"


@pytest.fixture(scope="module")
def client(explorer: Explorer) -> FlaskClient:
    from trs_explorer.web.app import create_app

    return create_app(explorer.library).server.test_client()


def test_the_curve_is_the_robust_accuracy_at_every_radius(bars: Loaded) -> None:
    state = State(bars.name, n=40, steps=3, attack="pgd", seed=5)
    *_, last = measure_curve(bars, state)
    x, y = bars.data.images(slice(0, 40)), bars.data.y[:40]
    attacks = [("pgd", pgd, {"eps": eps, "steps": 3, "step_size": eps * 2.5 / 3}) for eps in radii(state, bars.data.name)]
    expected = evaluate(bars.ensemble, x, y, attacks=attacks, seed=5)
    assert [rate.correct for rate in last] == [rate.correct for rate in expected]
    assert [point[0] for point in curve_points(last, 40)] == [0.0, *radii(state, bars.data.name)]
    assert curve_points(last, 41) == []  # not whole yet
    first = next(measure_curve(bars, state))
    assert [point[0] for point in curve_points(first, 40)] == [0.0]


def test_live_answers_grow_until_they_are_done(client: FlaskClient) -> None:
    until, told = time.monotonic() + 60, {"done": False}
    while not told["done"] and time.monotonic() < until:
        told = client.get(f"/compare/live?a=mnist-trs&b=mnist-standard&{SMALL}").get_json()
        time.sleep(0.05)
    assert told["done"]
    assert [trace["customdata"][-1].split("n ")[1] for trace in told["curve"]["data"]] == ["16", "16"]
    assert "Ensemble robust accuracy" in told["a"]["words"]
    assert "<button" not in told["a"]["matrix"]


def test_what_fails_is_said_once_and_not_tried_for_ever(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def failing(*_: object, **__: object) -> Iterator[object]:
        tried.append(1)
        raise ValueError("no such luck")
        yield

    monkeypatch.setattr(measurements.matrix, "measure_matrix", failing)
    asked, told = "/compare/live?a=mnist-trs&b=mnist-trs&n=64&steps=3&seed=77", {"done": False}
    client.get(asked)
    until = time.monotonic() + 30
    while not told["done"] and time.monotonic() < until:
        told = client.get(f"{asked}&again=1").get_json()
        time.sleep(0.02)
    assert "no such luck" in told["a"]["words"]
    assert len(tried) == 1


def test_exchanging_the_sides_cancels_nothing(explorer: Explorer) -> None:
    jobs, fields = Jobs(), {"a": "mnist-trs", "b": "mnist-standard", "n": "1000", "client": "c"}
    with PROCESS_LOCK.hold():  # nothing gets on meanwhile
        live_measurements(parse_pair(explorer.library, fields), jobs, again=False)
        before = set(jobs._running())
        live_measurements(parse_pair(explorer.library, {**fields, "a": fields["b"], "b": fields["a"]}), jobs, again=False)
        assert set(jobs._running()) == before
        live_measurements(parse_pair(explorer.library, {**fields, "a": fields["b"], "b": fields["b"]}), jobs, again=False)
        assert set(jobs._running()) < before
    jobs.stop()


def test_l2_has_radii_of_its_own(client: FlaskClient) -> None:
    told = client.get("/compare/live?a=mnist-trs&b=mnist-trs&norm=l2&n=64&steps=1").get_json()
    assert "eps in L2" in told["curveWords"]
    assert radii(State("r", norm="l2"), "mnist")[-1] == 5
    assert radii(State("r", norm="l2"), "bars")[-1] == radii(State("r"), "bars")[-1]


def test_stored_answers_are_there_at_once(client: FlaskClient) -> None:
    told = client.get("/compare/stored?a=mnist-trs&b=mnist-standard").get_json()
    assert {trace["name"] for trace in told["cosine"]["data"]} == {"mnist-trs", "mnist-standard"}
    assert told["fixed"]["a"] == "mnist-trs"


@pytest.mark.parametrize("what", ["slices", "live", "stored"])
@pytest.mark.parametrize(("asked", "word"), [("a=nobody", "nobody"), ("a=mnist-trs&b=none", "none")])
def test_an_unknown_run_is_said_and_another_one_shown(client: FlaskClient, what: str, asked: str, word: str) -> None:
    answer = client.get(f"/compare/{what}?{asked}")
    assert answer.status_code == 200
    assert word in answer.get_json()["notice"]
    assert answer.get_json()["fixed"]["a"] == "mnist-trs"


def test_runs_without_stored_results_get_sentences_and_no_empty_charts(explorer: Explorer) -> None:
    """No table of the runs in the plane is stored: an empty chart would look like a rate of 0."""
    from trs_explorer.web.app import create_app

    client = create_app(explorer.library).server.test_client()
    told = client.get("/compare/stored?a=bars-cos-only&b=bars-cos-only").get_json()
    assert told["curves"] is told["robust"] is None
    assert told["curvesWords"] == "No accuracy under attack is stored for these runs yet. Measure it with: trs compare"
    assert told["robustWords"] == "No accuracy under several attacks is stored for these runs yet. Measure it with: trs compare"
    assert [trace["name"] for trace in told["cosine"]["data"]] == ["bars-cos-only"]


def test_the_page_and_its_chart_library_are_served(client: FlaskClient) -> None:
    page = client.get("/compare").text
    assert '<option value="mnist-standard">' in page
    with client.get("/plotly.js") as library:  # a file, to be closed
        assert "plotly" in library.text[:2000]
    for script in ("compare.js", "draw.js", "handout.js", "start.js", "compare.css"):
        with client.get(f"/assets/compare/{script}") as file:
            assert file.status_code == 200
    explorer = client.get("/").text  # whose scripts are not these
    assert "compare/draw.js" not in explorer
