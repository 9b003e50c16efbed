"""A split from the named arrays of a user's file: which array is what, and whether the arrays match."""

import re
from pathlib import Path

import torch

from trs_explorer.data.array_files import ArrayFile, StoredArray, open_arrays
from trs_explorer.data.array_values import Array, to_images, to_labels
from trs_explorer.data.user_data import (
    TEST,
    TRAIN,
    UNNAMED,
    VALIDATION,
    UserData,
    choose_splits,
    class_names,
    held_out,
    listed,
    split_of,
)
from trs_explorer.files import printable
from trs_explorer.options import UsageError

IMAGES = ("x", "images", "image", "imgs", "img", "data", "inputs", "input", "pixels")
LABELS = ("y", "labels", "label", "targets", "target")
REMEDY = "name the arrays x_train, y_train, x_test and y_test"
_EXPECTED = "call the images x_train and x_test (or x, images, data), and the labels y_train and y_test (or y, labels, targets)"


def read_arrays(path: Path, *, train: bool) -> UserData:
    """Read a split of a .npz, .pt, .pth or .safetensors file.

    Arrays are recognised by name, in any case and order: x_train and y_train, train_images and train_labels, ...; x and y alone
    are both splits (`held_out`).
    Raises: UsageError with the file, the array and the way out, for all that is no such data.
    """
    file, name = open_arrays(path), printable(path)
    pairs, notes = _pairs(file, name)
    training, test, more = choose_splits(list(pairs), name, train=train, remedy=REMEDY)
    notes += more
    labels = {split: _labels(file, pairs[split], name) for split in dict.fromkeys((training, test or training))}
    _check_shapes(file, [pairs[split][0] for split in labels], name)
    names, more = class_names(file.class_names, [y for y, _ in labels.values()], name)
    split = training if train or test is None else test
    y, label_notes = labels[split]
    values = file.arrays[pairs[split][0]].read()
    if test is None:
        mask = held_out(y, name) != train
        values, y = values[mask], y[mask]
    x, image_notes = to_images(values, f"{name}: {printable(pairs[split][0])}")
    return UserData(torch.from_numpy(x), torch.from_numpy(y), names, (*notes, *more, *label_notes, *image_notes))


def role_of(name: str) -> tuple[str, str] | None:
    """What an array of that name holds, "x" (images) or "y" (labels), and of which split; None: neither."""
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = re.sub(r"^([xy])(?=train|test|val)", r"\1_", snake)
    parts = [word for word in re.split(r"[^a-z0-9]+", words) if word]
    roles = ["x" if word in IMAGES else "y" for word in parts if word in IMAGES + LABELS]
    splits = [split for word in parts if (split := split_of(word))]
    if len(roles) != 1 or len(splits) > 1 or len(parts) != len(roles) + len(splits):
        return None
    return roles[0], splits[0] if splits else UNNAMED


def _pairs(file: ArrayFile, where: str) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """The names of images and labels by split, and notes. A pair without a split's name beside a test split is for training."""
    names: dict[tuple[str, str], str] = {}
    for name in file.arrays:
        role = role_of(name)
        if role in names:
            raise UsageError(f"{where} holds both {printable(names[role])} and {printable(name)}: keep one of them")
        if role:
            names[role] = name
    notes = []
    if not names and set(file.arrays) == {"arr_0", "arr_1"}:  # of np.savez(FILE, x, y)
        names = {("x", UNNAMED): "arr_0", ("y", UNNAMED): "arr_1"}
        notes.append("arr_0 was taken as the images and arr_1 as the labels")
    pairs = {}
    for split in (TRAIN, TEST, VALIDATION, UNNAMED):
        x, y = names.get(("x", split)), names.get(("y", split))
        if x and y:
            pairs[split] = x, y
        elif x or y:
            missing = "labels" if x else "images"
            raise UsageError(f"{where} holds {printable(x or y)} but no {missing} for it: {_EXPECTED}")
    if not pairs:
        raise UsageError(f"{where} holds {listed(list(file.arrays)) or 'nothing'}: {_EXPECTED}")
    used = {name for pair in pairs.values() for name in pair}
    if unused := [name for name in file.arrays if name not in used]:
        notes.append(f"not used: {listed(unused)}")
    return pairs, notes


def _labels(file: ArrayFile, pair: tuple[str, str], where: str) -> tuple[Array, list[str]]:
    """The labels of a pair, and notes."""
    x, y = (file.arrays[name] for name in pair)
    labels, notes = to_labels(y.read(), f"{where}: {printable(pair[1])}")
    if x.shape[:1] != (len(labels),):
        count = f"{x.shape[0]:,}" if x.shape else "no"
        what = f"{count} images ({printable(pair[0])}) but {len(labels):,} labels ({printable(pair[1])})"
        raise UsageError(f"{where} holds {what}: store one label per image")
    return labels, notes


def _check_shapes(file: ArrayFile, images: list[str], where: str) -> None:
    """Raise UsageError if the images of the splits have different shapes."""
    shapes: dict[str, StoredArray] = {name: file.arrays[name] for name in images}
    if len({array.shape[1:] for array in shapes.values()}) > 1:
        text = " and ".join(f"{printable(name)} of {'x'.join(map(str, array.shape[1:]))}" for name, array in shapes.items())
        raise UsageError(f"{where} holds {text}: all images must have one shape")
