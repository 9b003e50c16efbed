"""DVERGE: distilled images do what they should, and the loss is its formula."""

import pytest
import torch
import torch.nn.functional as F

from trs_explorer.defences.dverge import distilled, dverge
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.features import feature_layers, features

FC1 = 1  # a seed that draws the second of two layers: at the first, the image itself, all members distil the same


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1"])
def test_distilled_images_are_near_the_source_and_their_features_near_the_targets(layer):
    ensemble = build("patch", "mnist", 2, seed=0).eval()
    source, target = torch.rand(2, 6, 1, 28, 28, generator=generator()).unbind()
    made = distilled(ensemble, source, target, layer=layer, eps=0.35, steps=10)
    assert (made - source).abs().max() <= 0.35 + 1e-6
    assert made.min() >= 0
    assert made.max() <= 1
    for member, images in zip(ensemble.members, made, strict=True):
        before, after = ((features(member, x, layer) - features(member, target, layer)).norm(dim=1) for x in (source, images))
        assert (after < 0.7 * before).all()
    assert not torch.equal(made[0], made[1])


def test_distillation_is_a_plain_loop_of_momentum_steps(ensemble):
    """One image and one member at a time, in float64."""
    source, target = torch.rand(2, 3, 1, 2, 2, dtype=torch.float64, generator=generator()).unbind()
    made = distilled(ensemble, source, target, layer="fc1", eps=0.3, steps=4)
    for one, images in zip(ensemble.members, made, strict=True):
        for start, goal, found in zip(source, target, images, strict=True):
            x, momentum, wanted = start.clone(), torch.zeros_like(start), one[:2](goal[None])
            for _ in range(4):
                leaf = x.clone().requires_grad_()
                (slope,) = torch.autograd.grad(F.mse_loss(one[:2](leaf[None]), wanted), leaf)
                momentum = momentum + slope / slope.abs().sum()
                x = x - 0.3 / 4 * momentum.sign()
                x = torch.minimum(torch.maximum(x, start - 0.3), start + 0.3).clamp(0, 1)
            torch.testing.assert_close(found, x)


@pytest.mark.parametrize("adversarial", [False, True])
def test_the_loss_is_what_each_member_makes_of_the_others_distilled_images(ensemble, batch, adversarial):
    x, y = batch
    other = x.flip(0), y.flip(0)
    x_ce = x + 0.1 if adversarial else x
    terms = dverge(ensemble, x, y, distill_eps=0.3, distill_steps=3, other=other, epoch_generator=generator(FC1), x_ce=x_ce)
    layer = feature_layers(ensemble)[int(torch.randint(2, (), generator=generator(FC1)))]
    made = distilled(ensemble, x, other[0], layer=layer, eps=0.3, steps=3)
    losses = [sum(F.cross_entropy(ensemble.members[i](made[j]), y).item() for j in range(4) if j != i) for i in range(4)]
    extra = sum(F.cross_entropy(one(x_ce), y).item() for one in ensemble.members) if adversarial else 0.0
    assert terms["diversity"].item() == pytest.approx(sum(losses), abs=1e-9)
    assert terms["total"].item() == pytest.approx(sum(losses) + extra, abs=1e-9)


def test_a_members_loss_touches_its_own_weights_only(ensemble, batch):
    """So that one optimiser over all, which treats every weight by itself, is one a member."""
    x, y = batch
    layer, members = feature_layers(ensemble)[int(torch.randint(2, (), generator=generator(FC1)))], list(ensemble.members)
    made = distilled(ensemble, x, x.flip(0), layer=layer, eps=0.3, steps=3)
    total = dverge(
        ensemble, x, y, distill_eps=0.3, distill_steps=3, other=(x.flip(0), y.flip(0)), epoch_generator=generator(FC1), x_ce=x
    )["total"]
    together = torch.autograd.grad(total, list(ensemble.parameters()))
    alone = []
    for i, one in enumerate(members):
        own = sum(F.cross_entropy(one(made[j]), y) for j in range(4) if j != i)
        alone += torch.autograd.grad(own, list(one.parameters()))
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b)


def test_every_layer_is_drawn_in_some_epoch(ensemble, batch, monkeypatch):
    from trs_explorer.defences import dverge as module

    drawn, real = set(), module.distilled
    monkeypatch.setattr(module, "distilled", lambda *args, layer, **kw: drawn.add(layer) or real(*args, layer=layer, **kw))
    x, y = batch
    for seed in range(12):
        dverge(ensemble, x, y, distill_eps=0.1, distill_steps=1, other=batch, epoch_generator=generator(seed), x_ce=x)
    assert drawn == {"flatten", "fc1"}


def test_running_averages_see_no_image_on_its_way():
    norm = torch.nn.BatchNorm2d(1)
    one = torch.nn.Sequential()
    one.add_module("norm", norm)
    one.add_module("flatten", torch.nn.Flatten())
    one.feature_layers = ("flatten",)
    before = norm.running_mean.clone()
    distilled(Ensemble([one]).train(), torch.rand(3, 1, 2, 2), torch.rand(3, 1, 2, 2), layer="flatten", eps=0.1, steps=2)
    assert torch.equal(norm.running_mean, before)


@pytest.mark.parametrize("method", ["standard", "gal"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1"])
def test_members_as_one_network_distil_the_same_images(monkeypatch, layer, method):
    ensemble = build("patch", "mnist", 3, seed=0, method=method).double()
    source, target = torch.rand(2, 4, 1, 28, 28, dtype=torch.float64, generator=generator()).unbind()
    by_hand = distilled(ensemble, source, target, layer=layer, eps=0.3, steps=3)
    monkeypatch.setattr(Ensemble, "stacked", lambda self: self)
    by_graph = distilled(ensemble, source, target, layer=layer, eps=0.3, steps=3)
    torch.testing.assert_close(by_hand, by_graph)
