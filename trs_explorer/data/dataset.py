"""A split of a data set as two tensors, and `load`, which loads one by name."""

import dataclasses
import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int
from torch import Tensor

from trs_explorer import catalogue
from trs_explorer.files import printable
from trs_explorer.options import UsageError


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    - name: of the data set.
    - x: images [n, channel, height, width], uint8 (a quarter of the memory) or float32 in [0, 1].
    - y: labels [n], int64, 0 .. classes - 1.
    - fingerprint: of the whole split (`fingerprint`), even if these are only its first images; empty: unknown, or computed.

    Raises: ValueError if images and labels do not match, or a pixel or a label is out of range.
    """

    name: str
    x: Tensor  # checked below, with readable messages: users bring their own loaders
    y: Tensor
    classes: int
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or len(self.x) != len(self.y) or not len(self.y):
            got = f"{[*self.x.shape]} and {len(self.y)}"
            raise ValueError(f"{self.name}: images must be [n, channel, height, width] with n > 0 labels, got {got}")
        if self.x.dtype not in (torch.uint8, torch.float32) or self.y.dtype != torch.int64:
            raise ValueError(f"{self.name}: images are uint8 or float32 and labels int64, got {self.x.dtype} and {self.y.dtype}")
        if self.x.dtype == torch.float32 and not bool(((self.x >= 0) & (self.x <= 1)).all()):
            low, high = float(self.x.min()), float(self.x.max())
            raise ValueError(f"{self.name}: images must lie in [0, 1], got [{low:g}, {high:g}]: put normalisation in the model")
        low, high = int(self.y.min()), int(self.y.max())
        if low < 0 or high >= self.classes:
            raise ValueError(f"{self.name}: labels must lie in 0 .. {self.classes - 1}, got {low} .. {high}")

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.y)

    def images(self, indices: Int[Tensor, " batch"] | slice) -> Float32[Tensor, "batch channel height width"]:
        """A copy of the images at indices, in [0, 1]: uint8 pixels are divided by 255."""
        images = self.x[indices].to(torch.float32, copy=True)
        return images / 255 if self.x.dtype == torch.uint8 else images

    def to(self, device: torch.device | str) -> "Dataset":
        """The same split with both tensors on that device."""
        return dataclasses.replace(self, x=self.x.to(device), y=self.y.to(device))


def load(name: str, *, train: bool, data_dir: str = "", limit: int = 0, seed: int = 0) -> Dataset:
    """Load a split of a data set of the catalogue, on the CPU.

    - train: whether the training or the test split.
    - data_dir: folder with the set's files; empty: those embedded, installed or downloaded. Computed sets do not use it.
    - limit: only the first `limit` examples; 0: all.
    - seed: of computed sets. It is not the training's seed: by default all trainings use the same points.

    Raises: UsageError for an unknown name, a negative limit, or files that are missing, damaged or cannot be read.
    """
    about = catalogue.entry(catalogue.DATA, "--data", name)
    if limit < 0:
        raise UsageError(f"--limit must be >= 0 (0: all), got {limit}")
    try:
        x, y = catalogue.load(about.loader)(train, data_dir, seed)
    except OSError as error:
        what = f"{error.filename or data_dir or 'its files'}: {error.strerror or error}"
        raise UsageError(
            f"{name} cannot be read: {printable(what)}. Mend that, or give another folder with the files as --data-dir"
        ) from error
    if x.shape[1:] != about.shape:
        raise ValueError(f"{name}: the loader gave images of shape {[*x.shape[1:]]}, the catalogue says {[*about.shape]}")
    whole = "" if about.computed else fingerprint(x, y)
    if 0 < limit < len(y):
        x, y = x[:limit].clone(), y[:limit].clone()  # clone: a slice would keep the whole split in memory
    return Dataset(name, x, y, about.classes, whole)


def fingerprint(x: Tensor, y: Tensor) -> str:
    """The SHA-256 of a split: type, shape and bytes of its images, then of its labels. Both must be on the CPU.

    It does not depend on the files' folder or compression. 60,000 images of MNIST take .03 s, a tenth of reading them.
    """
    digest = hashlib.sha256()
    for values in (x, y):
        digest.update(f"{values.dtype} {[*values.shape]} ".encode())
        digest.update(values.contiguous().numpy())
    return digest.hexdigest()
