import pytest
import torch
from torch import nn

from trs_explorer.models.ensemble import Ensemble


def net(number, classes=3, scale=2.5):
    """A small net with weights from that number."""
    with torch.random.fork_rng():
        torch.manual_seed(number)
        model = nn.Sequential(nn.Flatten(), nn.Linear(9, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, classes))
        with torch.no_grad():
            for p in model.parameters():
                p *= scale
    return model


@pytest.fixture
def problem():
    """Three members that agree on some of 90 images; labels are mostly one member's answers, so that nobody has all right."""
    teacher = net(0)
    members = []
    for number in range(3):
        member = net(0)
        other = net(number + 10).state_dict()
        member.load_state_dict({name: value + 0.35 * other[name] for name, value in teacher.state_dict().items()})
        members.append(member)
    g = torch.Generator().manual_seed(1)
    x = torch.rand(90, 1, 3, 3, generator=g)
    teacher.eval()
    y = teacher(x).argmax(-1)
    y[::9] = (y[::9] + 1) % 3
    return Ensemble(members).train(), x, y
