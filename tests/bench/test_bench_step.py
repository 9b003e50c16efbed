"""`trs bench step` measures what it says: the published step and ours with the same search have the same loss."""

import pytest

from trs_explorer.bench import step


@pytest.mark.slow
def test_the_same_search_gives_the_same_loss(monkeypatch):
    monkeypatch.setattr(step, "WARM_UP_STEPS", 3)
    rows = {row["variant"]: row for row in step.bench_step("patch", rounds=1)}
    assert rows[step.PUBLISHED]["ratio"] == 1
    same = [row for name, row in rows.items() if "same search, float32" in name]
    assert [abs(row["difference"]) < 1e-4 for row in same] == [True]
    assert {row["same loss"] for name, row in rows.items() if "same search" in name} == {"yes"}
    assert rows[step.PUBLISHED]["loss"] == pytest.approx(2.4, abs=0.6)  # near ln 10: hardly trained
