"""Small convolutional members for images.

They take raw [0, 1] pixels: nets this small train well without normalisation. Every layer has a name. `feature_layers` are the
layers whose outputs are features, before their ReLU (no ReLU works in place): see `features`.
Source: our choice, except lenet.
"""

import torch
from torch import nn

from trs_explorer.models.shape import check_shape


def patch(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build a net without pooling on 4 x 4 patches: few positions make it the fastest one here, with 512 features for 28 x 28.

    shape: channel, height, width. Raises UsageError unless height and width are multiples of 4 and at least 16.
    """
    check_shape("patch", shape, least=16, multiple=4)
    layers = nn.Sequential()
    layers.add_module("patches", nn.PixelUnshuffle(4))
    layers.add_module("conv1", nn.Conv2d(16 * shape[0], 64, 2))
    layers.add_module("relu1", nn.ReLU())
    layers.add_module("conv2", nn.Conv2d(64, 32, 3))
    layers.add_module("relu2", nn.ReLU())
    return _with_head(layers, shape, 128, classes)


def small(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build a net without pooling, 16-32 channels: strides instead of max-pooling, whose ties on black make gradients arbitrary.

    shape: channel, height, width. Raises UsageError unless height and width are even and at least 14.
    """
    check_shape("small", shape, least=14, multiple=2)
    layers = nn.Sequential()
    layers.add_module("patches", nn.PixelUnshuffle(2))
    layers.add_module("conv1", nn.Conv2d(4 * shape[0], 16, 3))
    layers.add_module("relu1", nn.ReLU())
    layers.add_module("conv2", nn.Conv2d(16, 32, 5, stride=2))
    layers.add_module("relu2", nn.ReLU())
    return _with_head(layers, shape, 128, classes)


def lenet(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build LeNet with 20 and 50 channels and 500 units, with max-pooling.

    shape: channel, height, width. Raises UsageError unless height and width are at least 16.
    Source: LeCun et al. 1998, in the widely used 20-50-500 variant.
    """
    check_shape("lenet", shape, least=16)
    layers = nn.Sequential()
    layers.add_module("conv1", nn.Conv2d(shape[0], 20, 5))
    layers.add_module("relu1", nn.ReLU())
    layers.add_module("pool1", nn.MaxPool2d(2))
    layers.add_module("conv2", nn.Conv2d(20, 50, 5))
    layers.add_module("relu2", nn.ReLU())
    layers.add_module("pool2", nn.MaxPool2d(2))
    return _with_head(layers, shape, 500, classes)


def _with_head(layers: nn.Sequential, shape: tuple[int, int, int], hidden: int, classes: int) -> nn.Sequential:
    """Append two linear layers; a black image determines the number of features."""
    layers.add_module("flatten", nn.Flatten())
    with torch.no_grad():
        features = layers(torch.zeros(1, *shape)).shape[1]
    layers.add_module("fc1", nn.Linear(features, hidden))
    layers.add_module("relu3", nn.ReLU())
    layers.add_module("fc2", nn.Linear(hidden, classes))
    layers.feature_layers = ("conv1", "conv2", "fc1")  # type: ignore[assignment]  # torch only knows tensors and modules
    return layers
