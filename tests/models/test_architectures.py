"""Every architecture: shapes, parameter counts by hand, layers by name, what it refuses."""

from pathlib import Path

import pytest
import torch
from torch import nn

import trs_explorer.models
from trs_explorer import catalogue
from trs_explorer.models.images import lenet, patch, small
from trs_explorer.models.mlp import mlp
from trs_explorer.models.normalize import Normalize
from trs_explorer.models.resnet import Block, resnet, resnet20, resnet32
from trs_explorer.options import UsageError

MNIST, CIFAR, PLANE = (1, 28, 28), (3, 32, 32), (1, 1, 2)
IMAGE_MODELS = (patch, small, lenet, resnet20)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("make", [*IMAGE_MODELS, mlp])
@pytest.mark.parametrize("shape", [MNIST, CIFAR, (1, 32, 32)])
def test_logits(make, shape):
    model = make(shape, 7).eval()
    x = torch.rand(3, *shape)
    logits = model(x)
    assert logits.shape == (3, 7)
    torch.testing.assert_close(model(x[1:2]), logits[1:2], rtol=1e-4, atol=1e-5)  # an example's logits are its own
    assert logits.std(0).min() > 0, "they depend on the image"


@pytest.mark.parametrize("make", [*IMAGE_MODELS, mlp])
def test_gradients_of_gradients_exist(make):
    model = make(MNIST, 10)
    x = torch.rand(2, *MNIST, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    first = next(model.parameters()).grad
    assert first is not None
    assert first.abs().sum() > 0


def test_parameter_counts():
    head = 512 * 128 + 128 + 128 * 10 + 10
    assert parameters(patch(MNIST, 10)) == (16 * 64 * 4 + 64) + (64 * 32 * 9 + 32) + head
    assert parameters(small(MNIST, 10)) == (4 * 16 * 9 + 16) + (16 * 32 * 25 + 32) + (32 * 16 * 128 + 128) + 1290
    assert parameters(lenet(MNIST, 10)) == (20 * 25 + 20) + (20 * 50 * 25 + 50) + (800 * 500 + 500) + 5010 == 431_080
    assert parameters(mlp(PLANE, 2)) == (2 * 64 + 64) + (64 * 64 + 64) + (64 * 2 + 2)
    # 3 x 32 x 32: positions 8 -> 7 -> 5
    assert parameters(patch(CIFAR, 10)) == (48 * 64 * 4 + 64) + (64 * 32 * 9 + 32) + (32 * 25 * 128 + 128) + 1290


def resnet_count(channels: int, n: int) -> int:
    """Stem, three stages of 2n convolutions with batch norm, one linear layer; shortcuts have none."""
    total = channels * 16 * 9 + 2 * 16
    wide_in = 16
    for wide in (16, 32, 64):
        total += wide_in * wide * 9 + (2 * n - 1) * wide * wide * 9 + 2 * n * 2 * wide
        wide_in = wide
    return total + 64 * 10 + 10


def test_resnet_parameter_counts():
    assert parameters(resnet20(CIFAR, 10)) == resnet_count(3, 3) == 269_722  # the paper's 0.27 M
    assert parameters(resnet32(CIFAR, 10)) == resnet_count(3, 5) == 464_154  # the paper's 0.46 M
    assert parameters(resnet20(MNIST, 10)) == 269_722 - 2 * 16 * 9


def test_a_resnet_with_projections_has_two_of_them():
    """Option B: a 1 x 1 convolution with batch norm where the width changes, and no other difference."""
    model = resnet(CIFAR, 10, depth=20, project=True)
    assert parameters(model) == 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64) == 272_474
    more = {name.partition(".projection.")[0] for name in set(model.state_dict()) - set(resnet20(CIFAR, 10).state_dict())}
    assert more == {"stage2.0", "stage3.0"}


def test_a_resnet_with_another_activation_has_no_relu():
    kinds = {type(module) for module in resnet(CIFAR, 10, depth=8, activation=nn.SiLU).modules()}
    assert nn.SiLU in kinds
    assert nn.ReLU not in kinds


@pytest.mark.parametrize("depth", [0, 2, 18, 21])
def test_resnet_refuses_other_depths(depth):
    with pytest.raises(ValueError, match="6n"):
        resnet(CIFAR, 10, depth=depth)


@pytest.mark.parametrize("side", [8, 9])
def test_a_blocks_shortcut_drops_pixels_and_adds_zeros(side):
    block = Block(2, 4, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)  # the residual is then 0 and only the shortcut is left
    x = torch.rand(1, 2, side, side)
    expected = torch.zeros(1, 4, (side + 1) // 2, (side + 1) // 2)
    expected[:, :2] = x[:, :, ::2, ::2]
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("shape", [PLANE, (3, 7, 32), (1, 6, 6)])
@pytest.mark.parametrize("make", IMAGE_MODELS)
def test_image_models_refuse_what_does_not_fit(make, shape):
    with pytest.raises(UsageError, match=rf"--model {make.__name__} .*{shape[0]} x {shape[1]} x {shape[2]}: try --model mlp"):
        make(shape, 2)


@pytest.mark.parametrize(("make", "side"), [(patch, 30), (small, 29)])
def test_patches_must_divide_the_image(make, side):
    with pytest.raises(UsageError, match=r"multiples of [24], got"):
        make((1, side, side), 10)


@pytest.mark.parametrize(("make", "side"), [(patch, 16), (small, 14), (lenet, 16), (resnet20, 8)])
def test_the_smallest_image_of_each(make, side):
    assert make((1, side, side), 10).eval()(torch.rand(2, 1, side, side)).shape == (2, 10)


@pytest.mark.parametrize("make", [patch, small, lenet])
def test_features_before_a_relu_are_reachable_by_name(make):
    model, seen = make(MNIST, 10), {}
    for name in ("conv1", "conv2", "fc1", "fc2"):
        model.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
    logits = model(torch.rand(2, *MNIST))
    assert torch.equal(seen["fc2"], logits)
    assert all((seen[name] < 0).any() for name in ("conv1", "conv2", "fc1")), "a ReLU in place would have cut these"


def test_mlp_in_the_planes_coordinates():
    model = mlp(PLANE, 2).double()
    p = torch.tensor([[0.7, -1.3]], dtype=torch.double)  # a point of [-2, 2]^2
    w = {name: value.detach() for name, value in model.named_parameters()}
    hidden = torch.sin(3 * (p @ w["fc1.weight"].T + w["fc1.bias"]))
    hidden = torch.sin(hidden @ w["fc2.weight"].T + w["fc2.bias"])
    torch.testing.assert_close(model(((p + 2) / 4).view(1, 1, 1, 2)), hidden @ w["fc3.weight"].T + w["fc3.bias"])


def test_normalize_is_saved_with_the_model_but_not_trained():
    layer = Normalize((0.1, 0.2), (0.5, 0.25))
    x = torch.rand(2, 2, 3, 3)
    expected = torch.stack([(x[:, 0] - 0.1) / 0.5, (x[:, 1] - 0.2) / 0.25], dim=1)
    torch.testing.assert_close(layer(x), expected)
    assert set(layer.state_dict()) == {"mean", "std"}
    assert not list(layer.parameters())
    with pytest.raises(ValueError, match="std must be > 0"):
        Normalize(0.5, 0.0)


def test_every_file_with_a_maker_is_in_the_table():
    for entry in catalogue.MODELS.values():
        assert callable(catalogue.load(entry.function))
    helpers = {
        "__init__",
        "affine",
        "batch_size",
        "ensemble",
        "eval_mode",
        "factory",
        "imported",
        "linear_piece",
        "features",
        "normalize",
        "recording",
        "shape",
        "stacked",
        "stacked_mlp",
        "stored",
        "to_device",
    }
    files = {path.stem for path in Path(trs_explorer.models.__file__).parent.glob("*.py")} - helpers
    assert files == {entry.function.partition(":")[0].rpartition(".")[2] for entry in catalogue.MODELS.values()}


def test_a_resnets_first_weights_have_the_variance_of_its_source():
    """2 / (9 channels out) per 3 x 3 convolution (He et al. 2015, section 2.2, the backward case)."""
    torch.manual_seed(0)
    for name, layer in resnet((3, 32, 32), 10, depth=8).named_modules():
        if isinstance(layer, nn.Conv2d):
            wanted = (2 / (9 * layer.out_channels)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(wanted, rel=4 / (2 * layer.weight.numel()) ** 0.5), name
