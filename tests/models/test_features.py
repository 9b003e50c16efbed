"""Features by layer: declared by every builder, and what a partial forward pass by hand gives."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.features import feature_layers, features
from trs_explorer.models.images import lenet, patch, small
from trs_explorer.models.mlp import mlp
from trs_explorer.models.resnet import resnet20
from trs_explorer.models.stacked import stackable

SHAPE = (1, 16, 16)
MAKERS = (patch, small, lenet, resnet20, mlp)


def made(make, shape=SHAPE, number=0):
    with torch.random.fork_rng():
        torch.manual_seed(number)
        return make(shape, 10).eval()


@pytest.mark.parametrize("make", MAKERS)
def test_features_are_what_comes_out_of_the_declared_layers(make):
    model, x = made(make), torch.rand(2, *SHAPE)
    outputs, out = {}, x
    for name, layer in model.named_children():
        outputs[name] = out = layer(out)
    assert torch.equal(out, model(x))
    assert len(feature_layers(model)) == (2 if make is mlp else 3)
    for name in feature_layers(model):
        assert torch.equal(features(model, x, name), outputs[name].flatten(1))


@pytest.mark.parametrize("make", MAKERS)
def test_declaring_layers_changes_nothing_else(make):
    model, x = made(make), torch.rand(2, *SHAPE)
    bare = copy.deepcopy(model)
    del bare.feature_layers
    assert str(bare) == str(model)
    assert list(bare.state_dict()) == list(model.state_dict())
    assert stackable([bare, model]) == stackable([model, model])
    assert torch.equal(bare(x), model(x))
    assert feature_layers(copy.deepcopy(model)) == feature_layers(model)


def test_features_are_those_of_a_pass_by_hand_and_before_the_relu():
    model, x = made(lenet), torch.rand(2, *SHAPE)
    w = dict(model.named_parameters())
    conv1 = F.conv2d(x, w["conv1.weight"], w["conv1.bias"])
    conv2 = F.conv2d(F.max_pool2d(conv1.relu(), 2), w["conv2.weight"], w["conv2.bias"])
    fc1 = F.max_pool2d(conv2.relu(), 2).flatten(1) @ w["fc1.weight"].T + w["fc1.bias"]
    assert feature_layers(model) == ("conv1", "conv2", "fc1")
    for layer, expected in zip(feature_layers(model), (conv1, conv2, fc1), strict=True):
        assert expected.min() < 0
        torch.testing.assert_close(features(model, x, layer), expected.flatten(1))


def test_an_ensembles_features_are_its_members_side_by_side():
    members = [made(patch), made(small, number=1)]
    x = torch.rand(2, *SHAPE)
    found = features(Ensemble(members), x, "conv2")
    torch.testing.assert_close(found, torch.cat([features(member, x, "conv2") for member in members], 1))
    assert not torch.equal(*found.chunk(2, 1))
    assert feature_layers(Ensemble(members)) == ("conv1", "conv2", "fc1")
    assert feature_layers(Ensemble([made(mlp), members[0]])) == ("fc1",)


def test_a_layer_that_is_used_twice_counts_twice():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Flatten(), relu, nn.Linear(4, 4), relu)
    model.feature_layers = ("3",)
    x = torch.rand(2, 1, 2, 2)
    assert torch.equal(features(model, x, "3"), model(x))


def test_features_take_gradients_and_run_nothing_behind_the_layer():
    model, x = made(small), torch.rand(2, *SHAPE, requires_grad=True)
    model.get_submodule("fc2").register_forward_hook(lambda *_: pytest.fail("the last layer ran"))
    (gradient,) = torch.autograd.grad(features(model, x, "fc1").sum(), x)
    assert gradient.abs().sum() > 0


def test_what_is_no_feature_layer_is_refused_in_words():
    x = torch.rand(1, *SHAPE)
    with pytest.raises(ValueError, match=r"Sequential declares no feature layers: set `feature_layers`"):
        feature_layers(nn.Sequential(nn.Flatten()))
    with pytest.raises(ValueError, match="Flatten declares no feature layers"):
        features(nn.Flatten(), x, "conv1")
    with pytest.raises(ValueError, match=r"Ensemble declares no feature layers.*with one name in common"):
        feature_layers(Ensemble([made(mlp), made(resnet20)]))
    with pytest.raises(ValueError, match="layer must be one of conv1, conv2, fc1, got 'relu1'"):
        features(made(patch), x, "relu1")
    model = made(patch)
    model.feature_layers = ("conv9",)
    with pytest.raises(ValueError, match="declares 'conv9' as a feature layer, but has no layer of that name"):
        features(model, x, "conv9")
