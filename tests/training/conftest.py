"""Trainings probe few images: what a probe measures is tested beside it."""

import pytest

from trs_explorer.evaluation import probe


@pytest.fixture(autouse=True)
def _few_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "IMAGES", 16)
