"""A training that something else needs: only a finished run is taken as it is."""

from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.training.cached_training import cached_training


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "running", None])
def test_a_training_that_is_not_finished_goes_on(tmp_path: Path, state: str | None) -> None:
    run = runs.create(tmp_path / "run", resolve({"data": "bars", "device": "cpu"}))
    trained: list[runs.Run] = []
    if state:
        run.write_status(state=state)

    def train(run: runs.Run) -> bool:
        trained.append(run)
        return True

    assert cached_training(run.path, run.config, purpose="a surrogate", flag="--surrogates", train=train).path == run.path
    assert [run.path for run in trained] == ([] if state == "finished" else [run.path])


def test_a_training_that_was_interrupted_ends_what_needs_it_as_ctrl_c_does(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", resolve({"data": "bars", "device": "cpu"}))
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        cached_training(run.path, run.config, purpose="a surrogate", flag="--from", train=lambda run: False, notify=lines.append)
    assert lines == [f"training {run.path}, once: a surrogate", "interrupted: the same command continues from here"]
    assert run.path.is_dir()
