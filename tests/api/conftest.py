"""An ensemble whose figures are known, and nothing of one test's own code in the next."""

from collections.abc import Iterator

import pytest
import torch
from custom_code import forgotten
from torch import Tensor, nn

import trs_explorer as trs


class Line(nn.Module):
    """Class 1 where weight . x > offset: the distance to the boundary is known."""

    def __init__(self, weight: Tensor, offset: float) -> None:
        super().__init__()
        self.weight, self.offset = nn.Parameter(weight), offset

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight - self.offset
        return torch.stack([-score, score], -1)


@pytest.fixture(autouse=True)
def _forgotten(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with forgotten():
        yield


@pytest.fixture
def problem() -> tuple[trs.Ensemble, Tensor, Tensor]:
    """Three lines in 16 pixels that mostly agree; 60 images, whose labels are the ensemble's but for every tenth."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(16, generator=generator)
    weights = [shared + 0.7 * torch.randn(16, generator=generator) for _ in range(3)]
    ensemble = trs.Ensemble([Line(weight, float(weight.sum()) / 2) for weight in weights])
    x = torch.rand(60, 1, 4, 4, generator=generator)
    y = ensemble(x).argmax(-1)
    y[::10] = 1 - y[::10]
    return ensemble, x, y
