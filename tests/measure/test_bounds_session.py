"""The bounds of a run: interrupted, shared, along a training."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trs_explorer import runs
from trs_explorer.catalogue import DATA
from trs_explorer.config import resolve
from trs_explorer.measure import BoundsPlan, Reporting, bounds_run, checkpoints_of, default_radii, store
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.options import UsageError

NUMBERS = ("beta", "lowest", "highest", "steepest", "least", "loss_f", "loss_g", "alpha", "c_f", "c_g")
PLAN = BoundsPlan([0.05, 0.3], steps=3, limit=70, samples=1)


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    from trs_explorer.models import build
    from trs_explorer.training import checkpoints

    run = runs.create(tmp_path / "run", resolve({"data": "bars", "device": "cpu"}))
    for epoch, seed in ((1, 0), (4, 1)):
        checkpoints.save(run, build("mlp", "bars", 2, seed=seed), {}, epoch=epoch, step_in_epoch=0)
    return run


def test_an_interrupted_measurement_continues_to_the_same_end(run: runs.Run) -> None:
    complete = bounds_run(run, PLAN)
    whole = complete.result
    complete.partial.delete()
    lines: list[str] = []

    def stop(done: float, total: float | None, now: str = "") -> None:
        if done > 64:  # in the second batch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bounds_run(run, PLAN, reporting=Reporting(stop, lines.append))
    assert "the same command continues" in lines[-1]
    done: list[float] = []
    again = bounds_run(run, PLAN, reporting=Reporting(lambda n, total, now="": done.append(n), lines.append))
    assert lines[-1] == "continuing an interrupted measurement"
    assert min(done) == 64
    assert again.result == whole
    store([again])
    assert [path.name.split("-")[0] for path in (run.path / "results").iterdir()] == ["bounds"]


@pytest.mark.slow
def test_several_processes_give_the_same(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = bounds_run(run, PLAN).result, []
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: parts.append(value) or [])
    assert bounds_run(run, PLAN, group=ProcessGroup(1, 2)).result is None
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: [value, *parts])
    shared = bounds_run(run, PLAN, group=ProcessGroup(0, 2)).result
    for pair, same in zip(shared["pairs"], whole["pairs"], strict=True):
        assert pair["outcomes"] == same["outcomes"]
        assert [pair[name] for name in NUMBERS] == pytest.approx([same[name] for name in NUMBERS], rel=1e-4)


def test_an_epoch_is_measured_with_its_own_weights(run: runs.Run) -> None:
    old, new = checkpoints_of(run, "all")
    assert [one.name for one in (old, new)] == ["0001", "0004"]
    assert checkpoints_of(run, "") == [new]
    assert checkpoints_of(run, "4, 1") == [old, new]
    first, last = (bounds_run(run, PLAN, checkpoint=one).result for one in (old, new))
    assert (first["checkpoint"], last["checkpoint"]) == ("0001", "0004")
    assert first["weights"] != last["weights"]
    assert first["pairs"][0]["beta"] != last["pairs"][0]["beta"]
    for wrong in ("2", "x", "1,7"):
        with pytest.raises(UsageError, match=r"no checkpoint of epoch .*: stored are 1, 4; or all"):
            checkpoints_of(run, wrong)


def test_one_member_has_no_pair(tmp_path: Path) -> None:
    from trs_explorer.models import build
    from trs_explorer.training import checkpoints

    run = runs.create(tmp_path / "one", replace(resolve({"data": "bars", "device": "cpu"}), members=1))
    checkpoints.save(run, build("mlp", "bars", 1, seed=0), {}, epoch=1, step_in_epoch=0)
    with pytest.raises(runs.RunError, match="has one member: the bounds are of the transfer between two"):
        bounds_run(run, PLAN)


def test_the_usual_radii_ascend_and_lie_within_the_images() -> None:
    for name in ("mnist", "cifar10", "bars"):
        radii = default_radii(name)
        assert radii == sorted(set(radii))
        assert 0 < radii[0] < radii[-1] < math.prod(DATA[name].shape) ** 0.5
    assert default_radii("mnist") == [0.033, 0.13, 0.53, 2.1]


def test_a_result_has_what_it_was_measured_with(run: runs.Run) -> None:
    result = bounds_run(run, PLAN).result
    assert (result["kind"], result["attack"], result["norm"], result["seed"]) == ("bounds", "pgd-3", "l2", 0)
    assert result["data"] == "bars, first 70 test images"
    assert (result["n"], result["eps"], result["classes"], result["targeted"]) == (70, [0.05, 0.3], [2, 2], False)
    assert result["weights"] == run.checkpoints()[-1].digest()
    assert len(result["pairs"]) == 4
    assert torch.tensor([pair["n"] for pair in result["pairs"]]).eq(70).all()
