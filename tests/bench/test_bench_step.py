"""`trs bench step` measures what it says: the published step and ours with the same search have the same loss."""

from types import SimpleNamespace

import pytest
import torch

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


def test_ratios_are_how_many_times_faster_and_differences_are_from_the_published_loss(monkeypatch):
    """With losses and times given: no training, no data."""
    images = SimpleNamespace(images=lambda chosen: torch.zeros(step.BATCH, 1, 2, 2), y=torch.zeros(step.BATCH, dtype=torch.long))
    weight = torch.nn.Parameter(torch.tensor(2.0))
    ensemble = SimpleNamespace(parameters=lambda: iter([weight]), autocast=False)
    ours = iter([2.0001, 2.03, 1.9, 2.0])
    times = iter([0.6, 0.3, 0.15, 0.1, 0.06])
    stubs = {
        "load": lambda *what, **how: images,
        "build": lambda *what, **how: ensemble,
        "_warm_up": lambda *what: None,
        "parts_for": lambda *what: 1,
        "use_bfloat16": lambda *what: True,
        "published_trs": lambda *what, **how: weight * 1,
        "released_trs": lambda *what, **how: weight * 3,
        "terms_and_gradients": lambda *what: ({"total": torch.tensor(next(ours))}, None),
        "interleaved": lambda variants, rounds: {variant: next(times) for variant in variants},
    }
    for name, stub in stubs.items():
        monkeypatch.setattr(step, name, stub)
    rows = step.bench_step("patch", rounds=1)
    assert [row["variant"] for row in rows[:2]] == [step.RELEASED, step.PUBLISHED]
    assert [row["ms"] for row in rows] == pytest.approx([600, 300, 150, 100, 60])
    assert [row["ratio"] for row in rows] == pytest.approx([0.5, 1, 2, 3, 5])
    assert [row["to released"] for row in rows] == pytest.approx([1, 2, 4, 6, 10])
    assert (rows[0]["loss"], rows[0]["difference"]) == (None, None)
    assert [row["difference"] for row in rows[1:]] == pytest.approx([0, 0.00005, 0.015, -0.05], abs=1e-6)
    assert [row["same loss"] for row in rows] == ["another objective", "", "yes", "NO", "other search"]
