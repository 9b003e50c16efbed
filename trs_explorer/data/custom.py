"""Data of the user: files, folders and functions, named by a path or a reference. `describe` puts them into the catalogue."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trs_explorer import lookup, plugins
from trs_explorer.config import SPLITS, absolute
from trs_explorer.data.array_values import Array, to_images, to_labels
from trs_explorer.data.dataset import Dataset, fingerprint
from trs_explorer.data.user_data import UserData
from trs_explorer.data.user_files import read_user_data
from trs_explorer.files import printable
from trs_explorer.options import UsageError

MAX_STEM = 40  # characters


@dataclass(frozen=True)
class CustomData:
    """Data of the user in the catalogue.

    - name: there.
    - place: the absolute path of its files, or the reference of its function: a run's data_dir.
    - fingerprint: by split.
    - notes: what was done to it, for the user.
    """

    name: str
    place: str
    fingerprint: dict[str, str]
    notes: tuple[str, ...]


def describe(place: str, *, train: bool = True) -> CustomData:
    """Read a user's data and add it to the catalogue.

    train: whether a training split is needed; else the test split alone is read.
    Raises: UsageError for what cannot be used, and why.
    """
    place = absolute(place)
    splits = {split: read(place, train=split == "train") for split in (SPLITS if train else ("test",))}
    test = splits["test"]
    first = splits.get("train", test)
    if first.x.shape[1:] != test.x.shape[1:]:
        ours, theirs = ([*split.x.shape[1:]] for split in (first, test))
        raise UsageError(f"{place}: training images have shape {ours}, test images {theirs}: they must have the same")
    names = max((first.class_names, test.class_names), key=len)
    if plugins.is_foreign("data", place) and fingerprint(test.x, test.y) != fingerprint(*custom_split(False, place, 0)):
        raise UsageError(f"--data {plugins.short(place)} returns other images each time: seed its random numbers")
    prints = {split: fingerprint(one.x, one.y) for split, one in splits.items()}
    name = lookup.custom_data(_stem(place), prints, tuple(test.x.shape[1:]), names)
    return CustomData(name, place, prints, tuple(dict.fromkeys((*first.notes, *test.notes))))


def custom_split(train: bool, data_dir: str, seed: int) -> tuple[Tensor, Tensor]:
    """Images and labels of a split of the data at data_dir: a loader of the catalogue. seed is not used."""
    if not data_dir:
        raise UsageError("data of your own has no usual place: give its file or folder as --data-dir")
    split = read(data_dir, train=train)
    return split.x, split.y


def read(place: str, *, train: bool) -> UserData:
    """Read one split of a user's data: files, or what a function returns. Raises UsageError."""
    if not plugins.is_foreign("data", place):
        return read_user_data(place, train=train)
    function = plugins.load("data", place)
    name = plugins.short(place)
    if not callable(function):
        raise UsageError(
            f"--data {name}: it must be a function, data(train) -> (images, labels), not a {type(function).__name__}"
        )
    try:
        inspect.signature(function).bind(train)
    except TypeError:
        raise UsageError(f"--data {name} must take one argument: data(train) -> (images, labels)") from None
    except ValueError:
        pass  # a builtin without a signature
    try:
        returned = function(train)
    except Exception as error:
        raise UsageError(f"--data {plugins.where(error) or f'{name}: {error}'}") from error
    return _checked(returned, name)


def _checked(returned: Any, name: str) -> UserData:
    """Turn what a user's function has returned into tensors: (images, labels[, class names]), or a data set of pairs."""
    class_names: Sequence[str] = ()
    if isinstance(returned, Dataset):
        class_names = [*map(str, range(returned.classes))]
        returned = returned.x, returned.y
    elif isinstance(returned, Sequence) and len(returned) in (2, 3) and not _is_pair(returned[0]):
        returned, class_names = returned[:2], [*returned[2]] if len(returned) == 3 else ()
    elif hasattr(returned, "__getitem__") and hasattr(returned, "__len__"):  # as torchvision's data sets
        class_names = [*map(str, getattr(returned, "classes", ()))]
        try:
            pairs = [returned[k] for k in range(len(returned))]
            returned = torch.stack([torch.as_tensor(x) for x, _ in pairs]), torch.tensor([int(y) for _, y in pairs])
        except (ValueError, TypeError, RuntimeError) as error:  # also of images of Pillow, without a transform
            what = "it must return pairs of a tensor [channel, height, width], all of one size, and a label"
            raise UsageError(f"--data {name}: {what}: {str(error).splitlines()[0]}") from error
    else:
        raise UsageError(f"--data {name}: it must return (images, labels), not a {type(returned).__name__}")
    values, numbers = (_as_array(one, what, name) for one, what in zip(returned, ("images", "labels"), strict=True))
    x, notes = to_images(values, f"--data {name}")
    y, more = to_labels(numbers, f"--data {name}")
    if len(x) != len(y):
        raise UsageError(f"--data {name} returns {len(x):,} images but {len(y):,} labels: return one label for each image")
    names = tuple(map(str, class_names)) or tuple(map(str, range(int(y.max()) + 1)))
    if y.max() >= len(names):
        raise UsageError(f"--data {name} names {len(names)} classes, but a label is {y.max()}: labels are 0 .. {len(names) - 1}")
    return UserData(torch.from_numpy(np.require(x, requirements="W")), torch.from_numpy(y), names, (*notes, *more))


def _as_array(values: Any, what: str, name: str) -> Array:
    """Images or labels that a user's function returns, as an array. Raises UsageError."""
    try:
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--data {name}: its {what} are no array: {error}") from error


def _is_pair(one: object) -> bool:
    return isinstance(one, tuple) and len(one) == 2


def _stem(place: str) -> str:
    """A short name for the data of a file, a folder or a function."""
    stem = plugins.short(place).rpartition(":")[2] if plugins.is_foreign("data", place) else Path(place).stem
    return re.sub(r"[^\w.-]+", "-", printable(stem))[:MAX_STEM].strip("-.") or "data"
