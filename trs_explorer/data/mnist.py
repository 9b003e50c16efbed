"""MNIST from its idx files: those embedded in the project, or a folder of the user's.

Format (http://yann.lecun.com/exdb/mnist/): big-endian; two zero bytes, the element type (8 is uint8), the number of
dimensions, each dimension as a 32-bit integer, then the elements, the last dimension fastest.
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from trs_explorer.options import UsageError
from trs_explorer.shipped import folder

CLASSES = 10
SIDE = 28

# SHA-256 of the embedded files, unpacked.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

EMBEDDED = folder("assets") / "mnist"
_LEAVE_OUT = "leave --data-dir out for the embedded MNIST"
_WAY_OUT = {True: "reinstall trs-explorer or restore the file", False: f"get the file again, or {_LEAVE_OUT}"}


def mnist(train: bool, data_dir: str, seed: int) -> tuple[UInt8[Tensor, "n 1 28 28"], Int64[Tensor, " n"]]:
    """Digits and their labels: 60,000 to train on, or the 10,000 test ones, in the files' order.

    data_dir: folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz; empty: the embedded files, whose
    SHA-256 is checked. seed is not used.
    Raises: UsageError that names the file which is missing or damaged, and the way out.
    """
    source = Path(data_dir).expanduser() if data_dir else embedded()
    split = "train" if train else "t10k"
    images_path = find(source, f"{split}-images-idx3-ubyte", check=not data_dir)
    labels_path = find(source, f"{split}-labels-idx1-ubyte", check=not data_dir)
    images = read_idx(images_path, dimensions=3, check=not data_dir)
    labels = read_idx(labels_path, dimensions=1, check=not data_dir)
    if images.shape[1:] != (SIDE, SIDE):
        height, width = images.shape[1:]
        raise UsageError(f"{images_path} holds images of {height} x {width} pixels; MNIST's have {SIDE} x {SIDE}")
    if len(images) != len(labels):
        counts = f"{len(images)} images but {labels_path.name} {len(labels)} labels"
        raise UsageError(f"{images_path} holds {counts}: take both files from one source")
    if int(labels.max()) >= CLASSES:
        raise UsageError(f"{labels_path} holds the label {int(labels.max())}; MNIST's are 0 .. {CLASSES - 1}")
    return images.unsqueeze(1), labels.long()


def embedded() -> Path:
    """The folder of the files that came with trs. Raises UsageError if it is not there."""
    if EMBEDDED.is_dir():
        return EMBEDDED
    raise UsageError(f"the embedded MNIST is missing (looked in {EMBEDDED}): reinstall trs-explorer, or give --data-dir your own")


def find(folder: Path, name: str, *, check: bool = False) -> Path:
    """The file of that name in the folder, plain or .gz. check as in `read_idx`. Raises UsageError if neither is there."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}: correct --data-dir, or {_LEAVE_OUT}")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UsageError(f"{folder} has neither {name} nor {name}.gz: {_WAY_OUT[check]}")


def read_idx(path: Path, *, dimensions: int, check: bool = False) -> UInt8[Tensor, "..."]:
    """The uint8 array of an idx file, unpacked if its name ends in .gz. With check, its SHA-256 must be the embedded file's.

    Raises: UsageError if the file cannot be read, is not idx, or is not exactly as long as its header says.
    """
    way_out = _WAY_OUT[check]
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read ({error}): {way_out}") from error
    if check and hashlib.sha256(raw).hexdigest() != SHA256[path.name.removesuffix(".gz")]:
        raise UsageError(f"{path} is not the file that came with trs (its SHA-256 differs): {way_out}")
    start = 4 + 4 * dimensions
    if len(raw) < start or raw[:4] != bytes((0, 0, 8, dimensions)):
        kind = f"idx file of uint8 with {dimensions} dimension(s)"
        raise UsageError(f"{path} is not an {kind}, its first bytes are {raw[:4].hex() or 'missing'}: {way_out}")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    if len(raw) - start != math.prod(shape):
        text = " x ".join(map(str, shape))
        raise UsageError(f"{path} should hold {text} bytes after its header but holds {len(raw) - start}: {way_out}")
    if not math.prod(shape):
        raise UsageError(f"{path} holds nothing: {way_out}")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=start).view(shape)
