import pytest
import torch
from torch import nn

from trs_explorer.models.ensemble import Ensemble


@pytest.fixture
def problem():
    """Three members that mostly agree, in train mode with dropout; 90 images with labels that nobody has all right."""
    g = torch.Generator().manual_seed(0)
    shared = [torch.randn(24, 9, generator=g), torch.randn(3, 24, generator=g)]
    members = []
    for _ in range(3):
        member = nn.Sequential(nn.Flatten(), nn.Linear(9, 24), nn.Tanh(), nn.Dropout(0.5), nn.Linear(24, 3))
        with torch.no_grad():
            for layer, weight in zip((member[1], member[4]), shared, strict=True):
                layer.weight.copy_(weight + 0.5 * torch.randn(weight.shape, generator=g))
                layer.bias.zero_()
            member[1].bias.copy_(-member[1].weight.sum(-1) / 2)  # decisions in the middle of the pixel range
        members.append(member)
    ensemble = Ensemble(members)
    x = torch.rand(90, 1, 3, 3, generator=g)
    y = ensemble.eval()(x).argmax(-1)
    y[::9] = (y[::9] + 1) % 3
    return ensemble.train(), x, y
