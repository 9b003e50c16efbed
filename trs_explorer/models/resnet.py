"""CIFAR-style residual networks of depth 6n + 2.

Source: He et al. 2016 (arXiv:1512.03385), section 4.2: three stages of n blocks with 16, 32 and 64 channels, shortcuts
without parameters (option A; or projections, option B), batch norm, their initialisation. Our choice: raw [0, 1] pixels, as
batch norm follows the first convolution; 1 or 3 channels (any number works) and any size from 8 x 8.
"""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer.models.shape import check_shape


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; with stride 2 the shortcut skips pixels and adds channels of zeros.

    project: whether a shortcut that must change its shape is a 1 x 1 convolution with batch norm instead (option B).
    activation: builds the layers after the sums of both paths and within the block.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        stride: int,
        *,
        project: bool = False,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = channels - channels_in
        self.projection: nn.Sequential | None = None
        if project and (stride != 1 or self.new_channels):
            convolution = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            self.projection = nn.Sequential(convolution, nn.BatchNorm2d(channels))
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = activation()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = activation()

    def forward(self, x: Float[Tensor, "batch channel_in height_in width_in"]) -> Float[Tensor, "batch channel height width"]:
        """Return the block's features; height and width halve, rounded up, if its stride is 2."""
        if self.projection is not None:
            shortcut = self.projection(x)
        else:
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        features: Tensor = self.relu2(residual + shortcut)
        return features


def resnet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    depth: int,
    project: bool = False,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Build a residual network with `depth` weighted layers, 6n + 2 for some n >= 1.

    Layers: conv1, bn1, relu1, stage1.0 .. stage3.(n-1), pool, flatten, fc. The features are the stages' outputs, after their last
    ReLU.

    shape: channel, height, width. project, activation: see `Block`.
    Raises: ValueError for another depth; UsageError for images smaller than 8 x 8.
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, 26, 32, ...), got {depth}")
    check_shape(f"resnet{depth}", shape, least=8)
    layers = nn.Sequential()
    layers.add_module("conv1", nn.Conv2d(shape[0], 16, 3, padding=1, bias=False))
    layers.add_module("bn1", nn.BatchNorm2d(16))
    layers.add_module("relu1", activation())
    channels_in = 16
    for stage, channels in enumerate((16, 32, 64), start=1):
        first = Block(channels_in, channels, stride=1 if stage == 1 else 2, project=project, activation=activation)
        others = (Block(channels, channels, stride=1, activation=activation) for _ in range((depth - 2) // 6 - 1))
        layers.add_module(f"stage{stage}", nn.Sequential(first, *others))
        channels_in = channels
    layers.add_module("pool", nn.AdaptiveAvgPool2d(1))
    layers.add_module("flatten", nn.Flatten())
    layers.add_module("fc", nn.Linear(64, classes))
    layers.feature_layers = ("stage1", "stage2", "stage3")  # type: ignore[assignment]  # torch only knows tensors and modules
    for module in layers.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return layers


def resnet20(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build ResNet-20: 0.27 million parameters."""
    return resnet(shape, classes, depth=20)


def resnet32(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Build ResNet-32: 0.46 million parameters."""
    return resnet(shape, classes, depth=32)
