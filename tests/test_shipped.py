"""The runs that ship with the project are what their logs say, small, and can be replayed."""

import tomllib
from pathlib import Path

import pytest
import torch

from trs_explorer import runs
from trs_explorer.catalogue import METHODS
from trs_explorer.evaluation.table1.columns import LIMIT
from trs_explorer.evaluation.table1.groups import group_seeds
from trs_explorer.evaluation.table1.stored import parse_evaluation
from trs_explorer.measure.table1_rows import table1_rows
from trs_explorer.models.stored import load_ensemble
from trs_explorer.results import TABLE, read_table
from trs_explorer.shipped import folder, shipped_runs

IN_THE_PLANE = ("standard", "trs", "cos-only", "cos-l2", "smooth-only")
CONTROL = "mnist-standard-lr"  # the standard ensemble, trained with a lower rate
TEN = "mnist-trs-ten"  # with all of its ten checkpoints, in float16
NOT_SHIPPED: set[str] = set()  # methods whose trainings are still to be made
ON_IMAGES = [f"mnist-{method}" for method in METHODS if method not in NOT_SHIPPED]
NAMES = [*ON_IMAGES, CONTROL, TEN, *(f"bars-{method}" for method in IN_THE_PLANE)]


def test_there_is_a_run_of_every_method_that_ships_on_images_and_of_the_papers_own_in_the_plane():
    assert [run.name for run in shipped_runs() if run.checkpoints()] == sorted(NAMES)


def test_the_wheel_holds_every_run_that_ships_and_the_data():
    """An installed package has no other copy of them."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert sorted(included) == sorted([f"checkpoints/{run.name}" for run in shipped_runs()] + ["assets/mnist", "assets/web"])
    assert all(target == f"trs_explorer/_{source}" for source, target in included.items())


def test_runs_without_weights_are_other_seeds_of_one_that_has_them():
    """They ship as their config and their Table 1, for `trs compare`."""
    alone = [run for run in shipped_runs() if not run.checkpoints()]
    rows = {row.run: row for row in table1_rows(shipped_runs())} if alone else {}
    groups = [one.runs for one in group_seeds(list(rows.values())) if one.members]
    for run in alone:
        assert {path.name for path in run.path.iterdir()} == {"config.json", "results"}
        assert any(run.name in group and set(group) & set(NAMES) for group in groups), run.name


def test_one_run_has_ten_checkpoints_that_are_used_as_stored():
    run = runs.open_run(folder("checkpoints") / TEN)
    assert [c.name for c in run.checkpoints()] == [f"{epoch:04d}" for epoch in range(1, 11)]
    for checkpoint in run.checkpoints():
        ensemble, _ = load_ensemble(run, checkpoint=checkpoint)
        assert all(torch.equal(value, value.half().float()) for value in ensemble.state_dict().values())


def test_they_are_small():
    """But for results/, of which only Table 1 is shipped: the others are of who evaluates them here."""
    files = [p for name in NAMES for p in (folder("checkpoints") / name).rglob("*") if p.is_file() and p.parent.name != "results"]
    assert sum(p.stat().st_size for p in files) < 32e6
    assert all(p.stat().st_size < 30e3 for p in folder("checkpoints").glob(f"*/results/{TABLE}") if p.parts[-3] in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_table_is_of_the_shipped_weights_and_whole(name):
    run = runs.open_run(folder("checkpoints") / name)
    stored = read_table(run)
    if not stored or stored["options"]["limit"] < LIMIT:  # of somebody who tries something here
        pytest.skip("no table is stored")
    weights, data = run.checkpoints()[-1].digest(), run.config.data
    found = parse_evaluation(stored, weights=weights, data=data, limit=LIMIT)
    assert found is not None
    assert found.is_complete(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_run_is_a_finished_training_of_its_method(name):
    run = runs.open_run(folder("checkpoints") / name)
    data, _, method = name.removesuffix("-lr").removesuffix("-ten").partition("-")
    assert (run.config.data, run.config.method) == (data, method)
    batch = runs.read_events(run)
    assert batch.damaged == 0
    assert (batch.events[0]["kind"], batch.events[-1]["state"]) == ("start", "finished")
    assert {"step", "matrix", "checkpoint"} <= {event["kind"] for event in batch.events}
    assert run.status()["state"] == "finished"
    for checkpoint in run.checkpoints():
        load_ensemble(run, checkpoint=checkpoint)  # compares with the SHA-256 in the log
        assert run.recorded(checkpoint)["sha256"]
