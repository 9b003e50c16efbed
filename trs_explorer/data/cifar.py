"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their binary version: from a folder of the user, or downloaded.

Format (https://www.cs.toronto.edu/~kriz/cifar.html): records without a header, each the label bytes (CIFAR-10: the class;
CIFAR-100: one of 20 superclasses, then the class) and 3,072 pixels: the red, green and blue plane, each row by row.
"""

import math
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from trs_explorer.data.download import obtain
from trs_explorer.options import UsageError
from trs_explorer.sources import CIFAR10, CIFAR100, Archive

SHAPE = (3, 32, 32)

Split = tuple[UInt8[Tensor, "n 3 32 32"], Int64[Tensor, " n"]]


def cifar10(train: bool, data_dir: str, seed: int) -> Split:
    """CIFAR-10: small photographs of 10 classes; 50,000 training or 10,000 test images, in the files' order.

    data_dir: folder with the .bin files, or with their folder cifar-10-batches-bin; empty: the user's cache, downloaded first if
    they are missing. seed is not used.
    Raises: UsageError with the missing or damaged file, or why the download failed, and the remedy.
    """
    return _read_split(CIFAR10, train, data_dir, labels=(10,))


def cifar100(train: bool, data_dir: str, seed: int) -> Split:
    """CIFAR-100 with its 100 fine labels; otherwise as `cifar10`, in a folder cifar-100-binary."""
    return _read_split(CIFAR100, train, data_dir, labels=(20, 100))


def _read_split(archive: Archive, train: bool, data_dir: str, labels: tuple[int, ...]) -> Split:
    """Read a split's files in order. labels: the number of values of each label byte; the last byte is the class."""
    names = [name for name in archive.files if name.startswith("test") != train]
    folder = _folder(archive, Path(data_dir).expanduser(), names) if data_dir else obtain(archive)
    records = [read_records(folder / name, labels) for name in names]
    x = torch.cat([part[:, len(labels) :] for part in records]).view(-1, *SHAPE)
    return x, torch.cat([part[:, len(labels) - 1] for part in records]).long()


def _folder(archive: Archive, given: Path, names: list[str]) -> Path:
    for folder in (given, given / archive.inside):
        if any((folder / name).is_file() for name in names):
            return folder
    what = f"has neither {', '.join(names)} nor a folder {archive.inside} with them" if given.is_dir() else "is not there"
    raise UsageError(f"{given} {what}: correct --data-dir, or leave it out to download {archive.url}")


def read_records(path: Path, labels: tuple[int, ...]) -> UInt8[Tensor, "n bytes"]:
    """Read a file's records, one per row. labels: the number of values of each label byte.

    Raises: UsageError if the file cannot be read, does not hold whole records, or has a label out of range.
    """
    remedy = "get the file again, or leave --data-dir out"
    try:
        raw = path.read_bytes()  # np.fromfile would return a part of the file after a disk error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from error
    size = len(labels) + math.prod(SHAPE)
    if not len(raw) or len(raw) % size:
        raise UsageError(f"{path} holds {len(raw):,} bytes, and that is no number of records of {size:,} bytes: {remedy}")
    records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(-1, size)
    for column, values in enumerate(labels):
        if (label := int(records[:, column].max())) >= values:
            raise UsageError(f"{path} holds the label {label} where 0 .. {values - 1} can be: {remedy}")
    return records
