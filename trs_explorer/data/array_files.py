"""Open the named arrays of a .npz, .pt or .safetensors file. The file may be damaged or hostile: nothing in it is unpickled.

Shapes and sizes are checked before an array is read, so that a small file cannot fill the memory.
"""

import json
import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from trs_explorer.data.user_data import MOST_CLASSES, MOST_NAME, check_fits, listed
from trs_explorer.files import open_for_reading, printable, reason
from trs_explorer.options import UsageError

CLASS_NAMES = ("class_names", "classes", "label_names")  # entries that may hold the classes' names, the first that is there
MOST_PICKLE = 1 << 20  # bytes of the index of a .pt file; one of two tensors has some hundred
T = TypeVar("T")
_LFS = b"version https://git-lfs"


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array in a file: its shape, and a function that reads it."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """The named arrays of a file, and the names of the classes if it has them."""

    arrays: dict[str, StoredArray]
    class_names: tuple[str, ...] | None = None


def open_arrays(path: Path) -> ArrayFile:
    """The arrays of a .npz, .pt, .pth or .safetensors file, by name. Arrays of .npz and .safetensors are read when needed.

    A .pt file holds a dict of tensors, a pair (images, labels), or two such pairs, (train, test).
    Raises: UsageError with the file and the way out if it cannot be read, is damaged, or needs too much memory.
    """
    check_readable(path)
    opened = {".npz": _open_npz, ".pt": _open_pt, ".pth": _open_pt, ".safetensors": _open_safetensors}[path.suffix.lower()]
    return guarded(path, opened, path)


def check_readable(path: Path) -> None:
    """Raise UsageError, with the reason and the way out, unless path is a regular file with content of its own."""
    name = printable(path)
    try:
        with open_for_reading(path) as file:
            head = file.read(len(_LFS))
    except FileNotFoundError:
        raise UsageError(f"there is no file {name}: correct --data") from None
    except (OSError, ValueError) as error:
        what = reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name} cannot be read: {what}") from error
    if head == _LFS:
        raise UsageError(f"{name} is a Git LFS pointer, not the file itself: fetch it by: git lfs pull")
    if not head:
        raise UsageError(f"{name} is empty: get or write it again")


def guarded(path: Path, read: Callable[..., T], *args: Any) -> T:
    """Call `read` with args; UsageErrors pass, all other errors become one that says that the file is damaged."""
    try:
        return read(*args)
    except UsageError:
        raise
    except MemoryError:
        raise UsageError(f"{printable(path)}: there is not enough memory to read it: give fewer or smaller images") from None
    except Exception as error:  # readers raise all kinds of errors for damaged files
        what = printable(next(iter(str(error).splitlines()), "") or type(error).__name__)[:160]
        raise UsageError(f"{printable(path)} is damaged, or no {path.suffix} file ({what}): get or write it again") from error


def _open_npz(path: Path) -> ArrayFile:
    arrays, names = {}, None
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            if name == member:
                continue  # no array
            with archive.open(member) as file:
                shape, dtype = _npy_header(file, archive.getinfo(member), f"{printable(path)}: {printable(name)}")
            arrays[name] = StoredArray(shape, partial(guarded, path, _read_npy, path, member))
            if name in CLASS_NAMES and dtype.kind in "US" and len(shape) == 1:
                _check_names(shape[0], dtype.itemsize // (4 if dtype.kind == "U" else 1), path)
                names = names or name
    if names is None:
        return ArrayFile(arrays)
    texts = arrays.pop(names).read().tolist()
    return ArrayFile(arrays, tuple(text.decode() if isinstance(text, bytes) else text for text in texts))


def _npy_header(file: IO[bytes], info: zipfile.ZipInfo, where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read an array's header: its shape and type. Raises UsageError for objects, or if the size is not what the shape needs."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise UsageError(f"{where} has a structured type: store one plain array for the images and one for the labels")
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UsageError(f"{where} holds Python objects, which are not unpickled: store a plain array (np.stack, not a list)")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != info.file_size - file.tell():
        text = "x".join(map(str, shape))
        raise UsageError(f"{where} is damaged: {text} {dtype} need {size:,} bytes, not {info.file_size:,}: write the file again")
    check_fits(size, where)
    return shape, dtype


def _read_npy(path: Path, member: str) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        with archive.open(member) as file:
            _npy_header(file, info, f"{printable(path)}: {printable(member)}")  # again: the file may have changed
        with archive.open(member) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
            file.read(1)  # at its end the checksum is compared
    return array


def _open_safetensors(path: Path) -> ArrayFile:
    arrays = {}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        for name in file.keys():  # noqa: SIM118  (it is no dict)
            shape = tuple(file.get_slice(name).get_shape())
            arrays[name] = StoredArray(shape, partial(guarded, path, _read_safetensor, path, name))
    key = next((key for key in CLASS_NAMES if key in metadata), None)
    if key is None:
        return ArrayFile(arrays)
    try:
        names = json.loads(metadata[key])
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f'{printable(path)}: the metadata {key} must be a JSON list of texts, such as ["cat", "dog"]')
    return ArrayFile(arrays, tuple(names))


def _read_safetensor(path: Path, name: str) -> NDArray[Any]:
    where = f"{printable(path)}: {printable(name)}"
    with safe_open(path, framework="pt") as file:
        part = file.get_slice(name)
        bits = re.search(r"[0-9]+", part.get_dtype())  # F32, BF16, U8, BOOL, ...
        check_fits(math.prod(part.get_shape()) * (int(bits[0]) if bits else 8) // 8, where)
        return _numpy(file.get_tensor(name), where).copy()  # not a view of the file


def _open_pt(path: Path) -> ArrayFile:
    name = printable(path)
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{name} is not a zip file of torch.save, or truncated: load it in torch, and save it again")
    with zipfile.ZipFile(path) as archive:
        check_fits(sum(info.file_size for info in archive.infolist()), name)
        if any(Path(info.filename).name == "data.pkl" and info.file_size > MOST_PICKLE for info in archive.infolist()):
            raise UsageError(f"{name} holds much more than tensors: {_SAVE}")
        if (damaged := archive.testzip()) is not None:  # torch.load compares no checksum
            raise UsageError(f"{name} is damaged (the checksum of {printable(damaged)} is wrong): get or write it again")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        unsafe = re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", str(error))
        if unsafe or "weights_only" in str(error).lower():
            what = unsafe[1] if unsafe else "other objects"
            raise UsageError(f"{name} holds {what}, more than tensors, and is not unpickled: {_SAVE}") from error
        raise
    return _from_content(content, name)


_SAVE = 'save it by torch.save({"images": x, "labels": y}, FILE), with x and y tensors'


def _from_content(content: object, name: str) -> ArrayFile:
    """The arrays of what torch.load returned."""
    if isinstance(content, tuple | list) and len(content) == 2:
        if all(isinstance(part, tuple | list) and len(part) == 2 for part in content):
            (x_train, y_train), (x_test, y_test) = content
            content = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
        else:
            content = {"x": content[0], "y": content[1]}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{name} holds a {type(content).__name__}, not a dict of tensors or (images, labels): {_SAVE}")
    key = next((key for key in CLASS_NAMES if _is_texts(content.get(key))), None)
    names = None if key is None else tuple(content[key])
    arrays = {}
    for entry, value in content.items():
        if isinstance(value, Tensor):
            arrays[entry] = StoredArray(tuple(value.shape), partial(_numpy, value, f"{name}: {printable(entry)}"))
    if not arrays:
        raise UsageError(f"{name} holds no tensors, only {listed(list(content)) or 'nothing'}: {_SAVE}")
    if names is not None:
        _check_names(len(names), max(map(len, names), default=0), Path(name))
    return ArrayFile(arrays, names)


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) for name in value)


def _numpy(value: Tensor, where: str) -> NDArray[Any]:
    """The tensor as an array. Raises UsageError for one that is sparse, quantised, complex or needs too much memory."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.dtype.is_complex:
        raise UsageError(f"{where} is no plain tensor of numbers: store uint8, or floats in [0, 1]")
    check_fits(value.numel() * value.element_size(), where)  # an expanded tensor may be larger than its file
    if value.dtype.is_floating_point and value.dtype not in (torch.float16, torch.float32, torch.float64):
        value = value.float()  # numpy has no bfloat16
    array: NDArray[Any] = value.detach().contiguous().numpy()
    return array


def _check_names(count: int, longest: int, path: Path) -> None:
    if count > MOST_CLASSES or longest > MOST_NAME:
        what = f"{count:,} class names of up to {longest:,} characters"
        raise UsageError(f"{printable(path)} holds {what}: at most {MOST_CLASSES:,} of {MOST_NAME} are possible")
