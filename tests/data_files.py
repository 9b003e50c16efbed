"""Files in the layouts of the data sets, written from the formats' descriptions."""

import struct
from pathlib import Path

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


def idx_files(folder: Path, seed: int, n: int = 40) -> Path:
    """A folder with both splits of a set in MNIST's layout, n images each: dark, and brighter where their label says."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for split in ("train", "t10k"):
        labels = torch.randint(10, (n,), generator=generator, dtype=torch.uint8)
        images = torch.randint(100, (n, 28, 28), generator=generator, dtype=torch.uint8)
        for image, label in zip(images, labels.tolist(), strict=True):
            image[2 * label : 2 * label + 6] += 150
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder
