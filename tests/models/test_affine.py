"""Singular vectors of affine layers against torch.linalg.svd of their matrix, and which layers are found."""

import gc
import itertools
import weakref

import pytest
import torch
from torch import nn

from trs_explorer.models import build
from trs_explorer.models.affine import affine_layers, lengths, linear_map, top_vectors
from trs_explorer.models.ensemble import Ensemble

LAYERS = {
    "linear": (nn.Linear(7, 5), (7,)),
    "without a bias": (nn.Linear(3, 6, bias=False), (3,)),
    "convolution": (nn.Conv2d(3, 4, 3, padding=1), (3, 6, 5)),
    "strides, groups, dilation": (nn.Conv2d(4, 6, (3, 2), stride=2, padding=2, groups=2, dilation=2), (4, 7, 8)),
    "circular": (nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"), (2, 5, 5)),
}


def matrix_of(layer: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """The layer without its bias, as a matrix: what it makes of every unit vector, by its own forward pass."""
    units = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).view(-1, *shape)
    return (layer(units) - layer(torch.zeros_like(units))).flatten(1).T.detach()


def start(top: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(top, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "top"), [*((name, 3) for name in LAYERS), ("convolution", 1)])
def test_singular_values_and_vectors_are_those_of_the_matrix(name, top):
    layer, shape = LAYERS[name]
    torch.manual_seed(1)
    layer.double().reset_parameters()
    _, values, v = torch.linalg.svd(matrix_of(layer, shape), full_matrices=False)
    found = top_vectors(layer, start(top, shape), steps=200)
    assert found.shape == (top, *shape)
    torch.testing.assert_close(found.flatten(1) @ found.flatten(1).T, torch.eye(top, dtype=torch.float64))
    torch.testing.assert_close(lengths(linear_map(layer, found)), values[:top], rtol=1e-3, atol=0)
    near = values > values[top - 1] * 0.95  # nearly equal ones share a subspace
    shares = (found.flatten(1) @ v[near].T).square().sum(1)
    torch.testing.assert_close(shares, torch.ones_like(shares), rtol=1e-2, atol=0)


def test_few_steps_find_a_vector_that_is_stretched_nearly_as_much_as_any():
    torch.manual_seed(0)
    layer, shape = nn.Conv2d(16, 64, 3).double(), (16, 7, 7)
    norm = torch.linalg.matrix_norm(matrix_of(layer, shape), 2)
    by_steps = [lengths(linear_map(layer, top_vectors(layer, start(1, shape), steps=n))) / norm for n in (0, 2, 5)]
    assert all(a < b <= 1 + 1e-9 for a, b in itertools.pairwise(by_steps))
    assert by_steps[-1] > 0.9


def test_layers_come_in_the_order_of_the_pass_with_the_shapes_of_their_inputs():
    (conv1, conv2, fc1, fc2) = affine_layers(build("small", "mnist", 3, seed=0), torch.rand(2, 1, 28, 28))
    assert [(one.name, one.shape) for one in (conv1, conv2, fc1, fc2)] == [
        ("conv1", (4, 14, 14)),
        ("conv2", (16, 12, 12)),
        ("fc1", (512,)),
        ("fc2", (128,)),
    ]
    assert len(conv1.layers) == 3

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.unused, self.first = nn.Linear(5, 2), nn.Linear(4, 4), nn.Linear(4, 5)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)).relu())

    assert [one.name for one in affine_layers(Ensemble([Backwards(), Backwards()]), torch.rand(1, 1, 2, 2))] == ["first", "last"]


def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (net(nn.Linear(4, 3), nn.Linear(3, 2)), "F1 has 1 affine layers and F2 2"),
        (net(nn.Linear(4, 2, bias=False)), r"1 of F1 is Linear\(.*bias=True\) on \[4\], 1 of F2 is Linear\(.*bias=False\)"),
    ],
)
def test_members_that_differ_are_refused_in_words(other, words):
    with pytest.raises(ValueError, match=words):
        affine_layers(Ensemble([net(nn.Linear(4, 2)), other]), torch.rand(1, 1, 2, 2))


def test_members_without_an_affine_layer_are_refused():
    with pytest.raises(ValueError, match=r"run no nn\.Conv2d and no nn\.Linear"):
        affine_layers(Ensemble([net(), net()]), torch.rand(1, 1, 2, 2))


def test_members_run_once_and_are_left_as_they_were():
    ensemble, calls = Ensemble([net(nn.Linear(4, 2)), net(nn.Linear(4, 2))]), []
    handle = ensemble.members[0].register_forward_hook(lambda *_: calls.append(ensemble.members[0].training))
    x = torch.rand(3, 1, 2, 2)
    first = affine_layers(ensemble.train(), x)
    assert affine_layers(ensemble, x[:2]) is first
    assert calls == [False]
    assert ensemble.members[0].training
    assert not ensemble.members[0][1]._forward_pre_hooks
    handle.remove()
    ensemble.members[0] = net(nn.Linear(4, 2))
    second = affine_layers(ensemble, x)
    assert second[0].layers[0] is ensemble.members[0][1]
    assert affine_layers(ensemble, torch.rand(1, 4, 1, 1)) is not second


def test_an_ensemble_is_not_kept_alive():
    ensemble = Ensemble([net(nn.Linear(4, 2)), net(nn.Linear(4, 2))])
    affine_layers(ensemble, torch.rand(1, 1, 2, 2))
    gone = weakref.ref(ensemble)
    del ensemble
    gc.collect()
    assert gone() is None
