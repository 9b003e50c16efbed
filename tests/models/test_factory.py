"""Untrained ensembles from the catalogue's names: the seed decides every weight."""

import math

import pytest
import torch

from trs_explorer.models import build
from trs_explorer.options import UsageError


@pytest.mark.parametrize(("model", "data"), [("patch", "mnist"), ("resnet20", "mnist"), ("mlp", "bars")])
def test_the_seed_decides_every_weight_and_nothing_else(model, data):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build(model, data, 2, seed=0)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    torch.rand(3)
    again, other = build(model, data, 2, seed=0).state_dict(), build(model, data, 2, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.state_dict().items())
    weights = [name for name, p in first.named_parameters() if p.ndim > 1]
    assert not any(torch.equal(first.state_dict()[name], other[name]) for name in weights)
    a, b = (member.state_dict() for member in first.members)
    assert not any(torch.equal(a[name], b[name]) for name, p in first.members[0].named_parameters() if p.ndim > 1)


def test_an_untrained_ensemble_knows_nothing():
    log_p = build("patch", "mnist", 3, seed=0)(torch.rand(8, 1, 28, 28))
    assert log_p.shape == (8, 10)
    assert (log_p + math.log(10)).abs().max() < 0.5


def test_wrong_names_and_pairs_say_the_way_out():
    with pytest.raises(UsageError, match="Did you mean lenet"):
        build("lenets", "mnist", 2, seed=0)
    with pytest.raises(UsageError, match="try --model mlp"):
        build("patch", "bars", 2, seed=0)
