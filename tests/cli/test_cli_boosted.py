"""Boosted ensembles are evaluated and attacked as they vote; a member without a vote disturbs nothing."""

import json
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve

pytestmark = pytest.mark.slow


@pytest.fixture(params=["adaboost", "gradient-boost"])
def boosted(request: pytest.FixtureRequest, tmp_path: Path) -> runs.Run:
    """Three members on the bars, of which the last is as it was before its training and has no vote."""
    from trs_explorer.training import train

    settings = {"data": "bars", "method": request.param, "members": 3, "epochs": 90, "save_every": 30, "device": "cpu"}
    run = runs.create(tmp_path / "boosted", resolve(settings))
    for event in train(run):
        if event["kind"] == "checkpoint" and event["epoch"] == 60:
            break
    return run


def test_every_count_is_that_of_the_vote(trs, boosted: runs.Run) -> None:
    from trs_explorer import data
    from trs_explorer.models.stored import load_ensemble

    ensemble, _ = load_ensemble(boosted)
    assert (ensemble.vote_weights > 0).tolist() == [True, True, False]
    test = data.load("bars", train=False)
    logits = ensemble.member_logits(test.images(slice(None)))
    votes = ensemble.vote_weights[:, None, None]
    by_hand = (votes * (logits if ensemble.voting == "sum" else logits.softmax(-1))).sum(0).argmax(-1) == test.y

    result = trs("evaluate", boosted.path, "--attacks", "all", "--limit", 400, "--steps", 10, "--trust", "--json", "e.json")
    assert result.status == 0, result.err
    rates = json.loads(Path("e.json").read_text())[0]["rates"]
    assert rates[0]["correct"] == int(by_hand.sum())
    assert all(rate["paper"] is None for rate in rates)
    robust = {rate["name"]: rate["correct"] for rate in rates[1:] if rate["eps"]}
    assert robust["pgd-10"] < rates[0]["correct"]

    for command in (("transfer", boosted.path, "--attack", "mora"), ("transfer", boosted.path, "--protocol", "all-right")):
        result = trs(*command, "--limit", 100, "--steps", 5, "--json", "t.json")
        assert result.status == 0, result.err
    result = trs("blackbox", boosted.path, "--surrogates", boosted.path, "--limit", 20)
    assert "is one of its own surrogates" in result.err
    result = trs("compare", boosted.path, "--limit", 20, "--json", "c.json")
    assert result.status == 0, result.err
    [row] = json.loads(Path("c.json").read_text())[0]["rows"]
    assert row["apart"] == ["epoch 60 of 90"]
