"""An evaluation by strong that is interrupted anywhere ends with what an uninterrupted one has."""

import shutil
from pathlib import Path

import pytest

from trs_explorer.evaluation import in_parts
from trs_explorer.measure.evaluate_session import EvaluatePlan, evaluate_run
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder

PLAN = EvaluatePlan([("fgsm", 0.2), ("strong", 0.1)], limit=50, options={"effort": 0.02})


@pytest.fixture
def run(tmp_path: Path):
    shutil.copytree(folder("checkpoints") / "bars-cos-only", tmp_path / "copy")
    return open_run(tmp_path / "copy")


@pytest.mark.slow
def test_interrupted_in_any_batch_it_ends_the_same(run, monkeypatch: pytest.MonkeyPatch) -> None:
    attacked, made = in_parts._attacked, []
    limit = [10_000]

    def counted(*arguments):
        if len(made) == limit[0]:
            raise KeyboardInterrupt
        made.append(1)
        return attacked(*arguments)

    monkeypatch.setattr(in_parts, "_attacked", counted)
    measurement = evaluate_run(run, PLAN)
    measurement.partial.delete()
    whole = measurement.result
    assert whole is not None
    batches, first = len(made), whole["rates"][2]["parts"][0]
    assert batches > 4
    assert first["attacked"] == whole["rates"][0]["correct"]
    for stop in range(0, batches, 3):
        made.clear()
        limit[0] = stop
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(run, PLAN)
        limit[0] = 10_000
        resumed = evaluate_run(run, PLAN)
        assert resumed.result is not None
        assert resumed.result["rates"] == whole["rates"]
        resumed.partial.delete()
