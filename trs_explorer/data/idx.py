"""Read images and labels from idx files, the format of MNIST and similar sets.

Format (http://yann.lecun.com/exdb/mnist/): big-endian; two zero bytes, the element type (8 is uint8), the number of
dimensions, each dimension as a 32-bit integer, then the elements, the last dimension fastest.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from trs_explorer.options import UsageError

CLASSES = 10
SIDE = 28

Split = tuple[UInt8[Tensor, "n 1 28 28"], Int64[Tensor, " n"]]


def read_split(folder: Path, train: bool, *, name: str, remedy: str, sha256: Mapping[str, str] | None = None) -> Split:
    """Read a split's images and labels from {train,t10k}-{images-idx3,labels-idx1}-ubyte in the folder, plain or .gz.

    name: the data set's, for messages. remedy: what to do about a file that is missing or damaged. sha256: by file name, of the
    unpacked files, where they are known.
    Raises: UsageError that names the file which is missing, damaged, or another set's, and the way out.
    """
    split = "train" if train else "t10k"
    images_path = find(folder, f"{split}-images-idx3-ubyte", remedy=remedy)
    labels_path = find(folder, f"{split}-labels-idx1-ubyte", remedy=remedy)
    images = read_idx(images_path, dimensions=3, remedy=remedy, sha256=sha256)
    labels = read_idx(labels_path, dimensions=1, remedy=remedy, sha256=sha256)
    if images.shape[1:] != (SIDE, SIDE):
        height, width = images.shape[1:]
        raise UsageError(f"{images_path} holds images of {height} x {width} pixels; {name}'s have {SIDE} x {SIDE}")
    if len(images) != len(labels):
        counts = f"{len(images)} images but {labels_path.name} {len(labels)} labels"
        raise UsageError(f"{images_path} holds {counts}: take both files from one source")
    if int(labels.max()) >= CLASSES:
        raise UsageError(f"{labels_path} holds the label {int(labels.max())}; {name}'s are 0 .. {CLASSES - 1}")
    return images.unsqueeze(1), labels.long()


def find(folder: Path, name: str, *, remedy: str) -> Path:
    """The file of that name in the folder, plain or .gz. Raises UsageError if neither is there."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: correct --data-dir, or give by it the one with the files")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
        if path.exists():
            raise UsageError(f"{path} is not a file: {remedy}")
    raise UsageError(f"{folder} has neither {name} nor {name}.gz: {remedy}")


def read_idx(path: Path, *, dimensions: int, remedy: str, sha256: Mapping[str, str] | None = None) -> UInt8[Tensor, "..."]:
    """The uint8 array of an idx file, unpacked if its name ends in .gz. remedy, sha256: as in `read_split`.

    Raises: UsageError if the file cannot be read, is not idx, is not exactly as long as its header says, or not the expected one.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read ({error}): {remedy}") from error
    if sha256 and hashlib.sha256(raw).hexdigest() != sha256[path.name.removesuffix(".gz")]:
        raise UsageError(f"{path} is not the file that came with trs (its SHA-256 differs): {remedy}")
    start = 4 + 4 * dimensions
    if len(raw) < start or raw[:4] != bytes((0, 0, 8, dimensions)):
        kind = f"idx file of uint8 with {dimensions} dimension(s)"
        raise UsageError(f"{path} is not an {kind}, its first bytes are {raw[:4].hex() or 'missing'}: {remedy}")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    if len(raw) - start != math.prod(shape):
        text = " x ".join(map(str, shape))
        raise UsageError(f"{path} should hold {text} bytes after its header but holds {len(raw) - start}: {remedy}")
    if not math.prod(shape):
        raise UsageError(f"{path} holds nothing: {remedy}")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=start).view(shape)
