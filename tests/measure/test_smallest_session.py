"""The search for the smallest eps of a run: interrupted, shared, and with what evaluations have stored."""

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from trs_explorer import data, runs
from trs_explorer.attacks.pgd import bim
from trs_explorer.evaluation import smallest_eps as searching
from trs_explorer.evaluation.smallest_eps import smallest_eps
from trs_explorer.measure import EvaluatePlan, Reporting, SmallestPlan, evaluate_run, smallest_eps_run, store
from trs_explorer.measure.session import INTERRUPTED, RESUMED
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.measure.smallest_session import SAME, _places_in, _stored_part, stored_failures
from trs_explorer.models.stored import load_ensemble
from trs_explorer.results import read_results, write_result
from trs_explorer.shipped import folder

PLAN = SmallestPlan(["bim"], 0.5, 0.02, limit=140, steps=5)
DAMAGED = ["x", [], [1.0] * 301, [-1.0], [0.4], [True], ["1"], [math.nan]]


def _copied(place: Path) -> runs.Run:
    source = folder("checkpoints") / "bars-standard"
    return runs.open_run(shutil.copytree(source, place / "run", ignore=shutil.ignore_patterns("results")))


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return _copied(tmp_path)


def _searched(run: runs.Run, plan: SmallestPlan = PLAN) -> dict:
    """The result of a search whose partial result is gone."""
    measurement = smallest_eps_run(run, plan)
    measurement.partial.delete()
    return measurement.result


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The result of the search by PLAN, uninterrupted."""
    return _searched(_copied(tmp_path_factory.mktemp("searched")))


def test_it_is_the_search_of_the_ensemble_on_the_first_test_images(run: runs.Run, searched: dict) -> None:
    result = searched
    test, (ensemble, digest) = data.load("bars", train=False), load_ensemble(run)
    x, y = test.images(slice(0, 140)), test.y[:140]
    expected = smallest_eps(ensemble, x, y, attacks=[partial(bim, steps=5)], high=0.5, tolerance=0.02)
    assert result["smallest_eps"] == expected.to_json()["smallest_eps"]
    assert len({eps for eps in result["smallest_eps"] if eps}) > 10
    assert (result["n"], result["attempts"], result["attacks"]) == (140, expected.attempts, ["bim-5"])
    assert (result["kind"], result["weights"]) == ("smallest-eps", digest)


def test_an_interrupted_search_continues_to_the_same_end(run: runs.Run, searched: dict) -> None:
    said: list[str] = []

    def interrupt(done: float, total: float | None, now: str = "") -> None:
        if done:
            assert (done, total) == (128, 140)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smallest_eps_run(run, PLAN, reporting=Reporting(interrupt, said.append))
    [partial] = run.path.glob("results/unfinished-smallest-eps-*.json")
    seen: list[float] = []
    resumed = smallest_eps_run(run, PLAN, reporting=Reporting(lambda done, total, now="": seen.append(done), said.append))
    assert (said, seen, resumed.result) == ([INTERRUPTED, RESUMED], [128, 140], searched)
    store([resumed])
    assert not partial.exists()
    assert read_results(run, "smallest-eps") == [json.loads(json.dumps(searched))]


@pytest.mark.parametrize("eps", DAMAGED, ids=str)
def test_a_damaged_partial_result_counts_as_none(eps: object) -> None:
    blank = searching.SmallestEps([], 0.3, 0.01)
    assert _stored_part({"eps": eps, "attempts": 3}, blank, 300) is None
    assert _stored_part({"eps": [0.1, None], "attempts": "x"}, blank, 300) is None
    assert _stored_part({"eps": [0.1, None], "attempts": 3}, blank, 300).eps == [0.1, math.inf]


def test_several_processes_give_the_same(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = SmallestPlan(["pgd"], 0.5, 0.05, limit=31, steps=2)
    whole, parts = _searched(run, plan), []
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: parts.append(value) or [])
    assert smallest_eps_run(run, plan, group=ProcessGroup(1, 2)).result is None
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: [value, *parts])
    assert smallest_eps_run(run, plan, group=ProcessGroup(0, 2)).result == whole


@pytest.mark.slow
def test_stored_evaluations_by_the_same_attacks_save_attacks_and_change_nothing_else(run: runs.Run) -> None:
    alone = _searched(run)
    stored = evaluate_run(run, EvaluatePlan([("bim", 0.5)], limit=100, steps=5)).result
    options, rates = stored["options"], stored["rates"]
    others = ({"seed": 1}, {"options": options | {"norm": "l2"}}, {"options": options | {"step_size": 0.2}})
    for other in (*others, {"rates": [rates[1] | {"name": "bim-3"}, rates[1] | {"eps": 0.6}, rates[1] | {"norm": "l2"}]}):
        write_result(run, "evaluate", stored | other)
    assert _searched(run) == alone
    write_result(run, "evaluate", stored)
    assert rates[1]["correct"] > 5
    assert _searched(run) == {**alone, "attempts": alone["attempts"] - rates[1]["correct"]}


def test_what_stored_evaluations_leave_correct(run: runs.Run) -> None:
    attacks = [("bim", 0.2), ("bim", 0.4), ("pgd", 0.4)]
    store([evaluate_run(run, EvaluatePlan(attacks, limit=30, steps=5))])
    [stored] = read_results(run, "evaluate")
    ok = {(rate["name"], rate["eps"]): {i for i, ok in enumerate(rate["outcomes"]) if ok} for rate in stored["rates"]}
    one, both = PLAN, replace(PLAN, attacks=["bim", "pgd"])
    assert stored_failures(run, one, stored) == {0.2: ok["bim-5", 0.2], 0.4: ok["bim-5", 0.4]}
    assert stored_failures(run, both, stored) == {0.4: ok["bim-5", 0.4] & ok["pgd-5", 0.4]}
    for name in SAME:
        assert stored_failures(run, one, {**stored, name: "other"}) == {}
    assert _places_in({0.4: {1, 5, 7}}, slice(5, 9)) == {0.4: {0, 2}}
    path = next(run.path.glob("results/evaluate-*.json"))
    for damage in ({"rates": 7}, {"rates": [7, {"name": [], "eps": 0.2}, {"name": "bim-5", "eps": "x"}]}, {"options": None}):
        path.write_text(json.dumps({**stored, **damage}))
        assert stored_failures(run, one, stored) == {}
    path.write_text(json.dumps({**stored, "rates": [{"name": "bim-5", "eps": 0.2}]}))
    assert stored_failures(run, one, stored) == {0.2: set()}
