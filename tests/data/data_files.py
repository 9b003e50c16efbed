"""Files in the layouts of the data sets, written from the formats' descriptions."""

import struct

import numpy as np
import torch


def idx(array: torch.Tensor) -> bytes:
    """The idx file of an array of uint8."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + bytes(array.flatten().tolist())


def records(labels: list[tuple[int, ...]], seed: int = 0) -> tuple[bytes, np.ndarray]:
    """A CIFAR file of random images with those label bytes, and the images, [n, row, column, channel]."""
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
    file = bytearray()
    for label, image in zip(labels, images, strict=True):
        file += bytes(label)
        for channel in range(3):
            file += image[:, :, channel].tobytes()
    return bytes(file), images
