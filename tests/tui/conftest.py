from pathlib import Path

import pytest
from tui_recorded import record

from trs_explorer import runs
from trs_explorer.tui import app, board
from trs_explorer.tui.reference_runs import ReferenceRun, reference_runs_for

KNOWN: dict[str, list[ReferenceRun]] = {}


def _references(run: runs.Run) -> list[ReferenceRun]:
    """The real ones, read once and not by every test."""
    if run.config.data not in KNOWN:
        KNOWN[run.config.data] = reference_runs_for(run)
    return KNOWN[run.config.data]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "TICK", 0.03)
    monkeypatch.setattr(board, "CHART_TICK", 0.1)
    monkeypatch.setattr(app, "reference_runs_for", _references)


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    run = record(tmp_path / "trs-mnist-3")
    run.write_status(state="finished", step=700)
    return run


@pytest.fixture
def live(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    monkeypatch.setattr(runs, "trainer_alive", lambda _: True)
    run.write_status(state="running", step=700)
    return run
