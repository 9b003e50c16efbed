"""Data sets whose files do not come with trs: where the files are, and how to get them. No torch: for `trs data list`."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

ARRAY_SUFFIXES = (".npz", ".pt", ".pth", ".safetensors")  # files of a user's data: `data.user_files` reads them
TABLE_SUFFIXES = (".parquet",)


def is_data_path(name: str) -> bool:
    """Whether a value of --data is the path of a user's data: by its suffix, a path separator, or a folder that exists.

    Ask the catalogue first: a folder here may have the name of one of its sets. Code ("folder/file.py:object") is no data.
    """
    if ".py:" in name or name.endswith(".py"):
        return False
    separators = {"/", os.sep}
    if name.startswith("~") or any(separator in name for separator in separators):
        return True
    if name.lower().endswith((*ARRAY_SUFFIXES, *TABLE_SUFFIXES)):
        return True
    with contextlib.suppress(OSError, ValueError):  # a name that is too long, or has a zero byte
        return bool(name) and Path(name).is_dir()
    return False


@dataclass(frozen=True)
class Installed:
    """Files that a system package installs.

    - folder, names: where they are, and their names, plain or with .gz.
    - remedy: what to do if they are missing.
    """

    folder: Path
    names: tuple[str, ...]
    remedy: str

    @property
    def is_here(self) -> bool:
        """Whether every file exists, plain or .gz. Their content is not checked."""
        return all((self.folder / name).is_file() or (self.folder / f"{name}.gz").is_file() for name in self.names)

    @property
    def missing(self) -> str:
        """The error message for missing files."""
        return f"the files are not in {self.folder}: {self.remedy}"

    @property
    def where(self) -> str:
        """Where the files are, or how to get them, as text."""
        return f"in {self.folder}" if self.is_here else f"not here: {self.remedy}"


@dataclass(frozen=True)
class Archive:
    """A .tar.gz that is downloaded once, and the files of it that are kept in the user's cache.

    - size: of the archive, in bytes.
    - inside: the folder of the files in the archive, and the name of their folder in the cache.
    - files: the names of the files to keep, with their sizes in bytes.
    """

    url: str
    size: int
    sha256: str
    inside: str
    files: Mapping[str, int]

    @property
    def folder(self) -> Path:
        """The folder of the downloaded files."""
        return user_cache_path("trs-explorer", appauthor=False) / self.inside

    @property
    def is_here(self) -> bool:
        """Whether every file exists with its full size. The archive's checksum was verified before unpacking."""
        return all((self.folder / name).is_file() and (self.folder / name).stat().st_size == n for name, n in self.files.items())

    @property
    def where(self) -> str:
        """Where the files are, or what will be downloaded, as text."""
        return f"in {self.folder}" if self.is_here else f"downloaded when needed, {megabytes(self.size)}"


def megabytes(size: int) -> str:
    """A number of bytes as text, in megabytes."""
    return f"{size / 1e6:,.1f} MB"


FASHION_MNIST = Installed(
    folder=Path("/usr/share/datasets/fashion-mnist"),
    names=("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    remedy="on Debian or Ubuntu apt install dataset-fashion-mnist; elsewhere download the four files of "
    "https://github.com/zalandoresearch/fashion-mnist (data/fashion) and give their folder as --data-dir",
)

CIFAR10 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    inside="cifar-10-batches-bin",
    files={**{f"data_batch_{k}.bin": 30_730_000 for k in range(1, 6)}, "test_batch.bin": 30_730_000},
)

CIFAR100 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    size=168_513_733,
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    inside="cifar-100-binary",
    files={"train.bin": 153_700_000, "test.bin": 30_740_000},
)
