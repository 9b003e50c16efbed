"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their binary version: a folder of the user's, or downloaded from their home.

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
    """Small photographs and which of 10 things they show: 50,000 to train on, or the 10,000 test ones, in the files' order.

    data_dir: folder with the .bin files, or with their folder cifar-10-batches-bin; empty: the user's cache, downloaded first if
    they are not there. seed is not used.
    Raises: UsageError that names the file which is missing or damaged, or says why it cannot be downloaded, and the way out.
    """
    return _read_split(CIFAR10, train, data_dir, labels=(10,))


def cifar100(train: bool, data_dir: str, seed: int) -> Split:
    """Small photographs and which of 100 things they show: the fine labels. As `cifar10`, in a folder cifar-100-binary."""
    return _read_split(CIFAR100, train, data_dir, labels=(20, 100))


def _read_split(archive: Archive, train: bool, data_dir: str, labels: tuple[int, ...]) -> Split:
    """The split's files one after the other. labels: how many values each label byte has; the last one is the class."""
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
    """A file's records, a row each. labels: how many values each label byte has.

    Raises: UsageError if the file cannot be read, does not hold whole records, or has a label out of range.
    """
    remedy = "get the file again, or leave --data-dir out"
    try:
        raw = path.read_bytes()  # np.fromfile would take what a disk's error leaves of it for the whole
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}): {remedy}") from error
    size = len(labels) + math.prod(SHAPE)
    if not len(raw) or len(raw) % size:
        raise UsageError(f"{path} holds {len(raw):,} bytes, and that is no number of records of {size:,} bytes: {remedy}")
    records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(-1, size)
    for column, values in enumerate(labels):
        if (found := int(records[:, column].max())) >= values:
            raise UsageError(f"{path} holds the label {found} where 0 .. {values - 1} can be: {remedy}")
    return records
