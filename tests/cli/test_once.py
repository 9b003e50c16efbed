"""A run that another command needs: only a finished one is taken as it is."""

import pytest
import typer

from trs_explorer import runs
from trs_explorer.cli import once


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "running", None])
def test_a_training_that_is_not_finished_goes_on(fresh: runs.Run, monkeypatch: pytest.MonkeyPatch, state: str | None) -> None:
    trained: list[runs.Run] = []
    monkeypatch.setattr(once, "train_run", lambda run, show: trained.append(run) or 0)
    if state:
        fresh.write_status(state=state)
    assert once.trained_once(fresh.path, fresh.config, "a surrogate", "--surrogates").path == fresh.path
    assert [run.path for run in trained] == ([] if state == "finished" else [fresh.path])


def test_a_training_that_was_interrupted_ends_the_command_that_needs_it(fresh: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "train_run", lambda run, show: 130)
    with pytest.raises(typer.Exit) as end:
        once.trained_once(fresh.path, fresh.config, "a surrogate", "--surrogates")
    assert end.value.exit_code == 130
    assert fresh.path.is_dir()
