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
from trs_explorer.models.stored import load_ensemble
from trs_explorer.results import read_results
from trs_explorer.shipped import folder

PLAN = SmallestPlan(["bim"], 0.5, 0.02, limit=140, steps=5)
DAMAGED = ["x", [], [1.0] * 301, [-1.0], [0.4], [True], ["1"], [math.nan]]


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    source = folder("checkpoints") / "bars-standard"
    return runs.open_run(shutil.copytree(source, tmp_path / "run", ignore=shutil.ignore_patterns("results")))


def _searched(run: runs.Run, plan: SmallestPlan = PLAN) -> dict:
    """The result of a search whose partial result is gone."""
    measurement = smallest_eps_run(run, plan)
    measurement.partial.delete()
    return measurement.result


def test_it_is_the_search_of_the_ensemble_on_the_first_test_images(run: runs.Run) -> None:
    result = _searched(run)
    test, (ensemble, digest) = data.load("bars", train=False), load_ensemble(run)
    x, y = test.images(slice(0, 140)), test.y[:140]
    expected = smallest_eps(ensemble, x, y, attacks=[partial(bim, steps=5)], high=0.5, tolerance=0.02)
    assert result["smallest_eps"] == expected.to_json()["smallest_eps"]
    assert len({eps for eps in result["smallest_eps"] if eps}) > 10
    assert (result["n"], result["attempts"], result["attacks"]) == (140, expected.attempts, ["bim-5"])
    assert (result["kind"], result["weights"], result["stored_radii"]) == ("smallest-eps", digest, [])


def test_an_interrupted_search_continues_to_the_same_end(run: runs.Run) -> None:
    whole, said = _searched(run), []

    def interrupt(done: float, total: float | None, now: str = "") -> None:
        if done:
            assert (done, total) == (128, 140)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smallest_eps_run(run, PLAN, reporting=Reporting(interrupt, said.append))
    [partial] = run.path.glob("results/unfinished-smallest-eps-*.json")
    seen: list[float] = []
    resumed = smallest_eps_run(run, PLAN, reporting=Reporting(lambda done, total, now="": seen.append(done), said.append))
    assert (said, seen, resumed.result) == ([INTERRUPTED, RESUMED], [128, 140], whole)
    store([resumed])
    assert not partial.exists()
    assert read_results(run, "smallest-eps") == [json.loads(json.dumps(whole))]


@pytest.mark.parametrize("eps", DAMAGED, ids=str)
def test_a_damaged_partial_result_counts_as_none(run: runs.Run, eps: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.measure import smallest_session

    blank = searching.SmallestEps([], 0.3, 0.01)
    assert smallest_session._stored_part({"eps": eps, "attempts": 3}, blank, 300) is None
    assert smallest_session._stored_part({"eps": [0.1, None], "attempts": "x"}, blank, 300) is None
    assert smallest_session._stored_part({"eps": [0.1, None], "attempts": 3}, blank, 300).eps == [0.1, math.inf]


def test_several_processes_give_the_same(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = SmallestPlan(["pgd"], 0.5, 0.05, limit=31, steps=2)
    whole, parts = _searched(run, plan), []
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: parts.append(value) or [])
    assert smallest_eps_run(run, plan, group=ProcessGroup(1, 2)).result is None
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: [value, *parts])
    assert smallest_eps_run(run, plan, group=ProcessGroup(0, 2)).result == whole


def test_stored_evaluations_of_the_same_save_attacks_and_change_nothing_else(run: runs.Run) -> None:
    alone = _searched(run)

    def evaluated(**settings: object) -> None:
        given = {"attacks": [("bim", 0.2), ("bim", 0.4), ("fgsm", 0.3)], "limit": 100, "steps": 5} | settings
        store([evaluate_run(run, EvaluatePlan(**given))])

    for other in (
        {"seed": 1},
        {"steps": 3},
        {"attacks": [("pgd", 0.1), ("bim", 0.6)]},
        {"options": {"norm": "l2"}},
        {"options": {"step_size": 0.2}},
    ):
        evaluated(**other)
    assert _searched(run) == alone
    evaluated()
    faster = _searched(run)
    assert faster["stored_radii"] == [0.2, 0.4]
    assert faster["attempts"] < alone["attempts"]
    found = [[math.inf if eps is None else eps for eps in result["smallest_eps"]] for result in (alone, faster)]
    assert sum(one == other or abs(one - other) <= 0.02 for one, other in zip(*found, strict=True)) >= 137
    stored = {rate["eps"]: rate["outcomes"] for rate in read_results(run, "evaluate")[0]["rates"] if rate["name"] == "bim-5"}
    for radius, outcomes in stored.items():
        assert all(eps <= radius for eps, ok in zip(found[1], outcomes, strict=False) if not ok)


def test_what_stored_evaluations_say_of_an_image_is_a_radius_on_either_side(run: runs.Run) -> None:
    from trs_explorer.measure import smallest_session

    store([evaluate_run(run, EvaluatePlan([("bim", 0.2), ("bim", 0.4), ("pgd", 0.4)], limit=30, steps=5))])
    [stored] = read_results(run, "evaluate")
    rates = {(rate["name"], rate["eps"]): rate["outcomes"] for rate in stored["rates"]}
    description = {name: stored[name] for name in ("weights", "data_fingerprint", "seed")}
    one, used = smallest_session._stored_bounds(run, PLAN, description, 40)
    assert used == [0.2, 0.4]
    for image, (failed, fooled) in enumerate(one):
        near, far = ((rates["bim-5", eps][image] if image < 30 else None) for eps in (0.2, 0.4))
        assert fooled == (0.2 if near is False else 0.4 if far is False else math.inf)
        assert failed == (0.4 if far else 0.2 if near else 0.0)
    both, _ = smallest_session._stored_bounds(run, replace(PLAN, attacks=["bim", "pgd"]), description, 40)
    for image, (failed, fooled) in enumerate(both):  # pgd is known at .4 only
        ok = [rates[key][image] if image < 30 else None for key in (("bim-5", 0.4), ("pgd-5", 0.4))]
        assert failed == (0.4 if all(ok) else 0.0)
        assert (fooled <= 0.4) == (False in ok or one[image][1] == 0.2)
    path = next(run.path.glob("results/evaluate-*.json"))
    for damage in ({"rates": 7}, {"rates": [7, {"name": "bim-5", "eps": "x"}, {"name": "bim-5", "eps": 0.2}]}, {"options": None}):
        path.write_text(json.dumps({**stored, **damage}))
        assert smallest_session._stored_bounds(run, PLAN, description, 2) == ([(0.0, math.inf)] * 2, [])
