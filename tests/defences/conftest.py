"""A small ensemble in float64 and a batch for it."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from trs_explorer.models.ensemble import Ensemble


def member() -> nn.Sequential:
    layers = [("flatten", nn.Flatten()), ("fc1", nn.Linear(4, 6)), ("tanh", nn.Tanh()), ("fc2", nn.Linear(6, 3))]
    made = nn.Sequential(OrderedDict(layers)).double()
    made.feature_layers = ("flatten", "fc1")
    return made


@pytest.fixture
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    return Ensemble([member() for _ in range(4)])


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(6, 1, 2, 2, dtype=torch.float64) * 0.6 + 0.2, torch.tensor([0, 1, 2, 0, 1, 2])
