"""Read a folder of image files with a subfolder for each class, with or without folders train/ and test/ above them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from trs_explorer.data.encoded_images import Encoded, chosen, common_shape, decode_all
from trs_explorer.data.user_data import (
    MOST_CLASSES,
    UNNAMED,
    UserData,
    check_fits,
    choose_splits,
    class_names,
    held_out,
    listed,
    split_of,
)
from trs_explorer.files import natural_order, open_for_reading, printable, reason
from trs_explorer.options import UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MOST_FILES = 2_000_000
_REMEDY = "put the folders of the classes into folders train and test"
_MARKS = {"thumbs.db", "desktop.ini", "__macosx", "lost+found"}  # of operating systems, besides hidden ones


@dataclass
class _Listing:
    """The image files of a split by class, and the names of files that are no images."""

    classes: dict[str, list[Path]]
    others: list[str] = field(default_factory=list)


def read_folder(folder: Path, *, train: bool, size: tuple[int, int] | None = None) -> UserData:
    """Read a split of a folder with a subfolder for each class, as uint8.

    Classes are in the order of characters, as in torchvision's ImageFolder, so that the labels of a model that was trained there
    fit; files in natural order (img-2 before img-10). Files in subfolders of a class's folder belong to it; hidden
    files are left out. The folder may hold folders train and test (or val) with the classes' folders in each.
    size: (height, width) of the images; None: the most frequent size. What `encoded_images.decode_all` does, it does here.
    Raises: UsageError with the file or folder and the way out.
    """
    where = printable(folder)
    folders = _split_folders(folder)
    training, test, notes = choose_splits(list(folders), where, train=train, remedy=_REMEDY)
    listings = {split: _list_classes(folders[split], folder) for split in dict.fromkeys((training, test or training))}
    names = list(listings[training].classes)
    if len(names) < 2 or len(names) > MOST_CLASSES:
        what = f"{printable(folders[training])} has {len(names):,} subfolder(s), one for each class"
        raise UsageError(f"{what}: 2 to {MOST_CLASSES:,} are possible")
    examples = {split: _examples(listing, names, folders[split]) for split, listing in listings.items()}
    labels = {split: np.array([label for _, label in pairs], np.int64) for split, pairs in examples.items()}
    classes, more = class_names(names, list(labels.values()), where)
    notes += _order_note(names) + more
    if others := [name for listing in listings.values() for name in listing.others]:
        notes.append(f"{len(others):,} files are no images and were left out: {listed(others)}")
    split = training if train or test is None else test
    y = labels[split]
    mask = held_out(y, where) != train if test is None else np.ones(len(y), bool)
    shape = common_shape((image for pairs in examples.values() for image in _encoded(pairs)), size)
    count = int(mask.sum())
    check_fits(count * int(np.prod(shape)), f"{where}: {count:,} images of {'x'.join(map(str, shape))}")
    x, changes = decode_all(chosen(_encoded(examples[split]), mask.tolist()), count, shape)
    return UserData(x, torch.from_numpy(y[mask]), classes, (*notes, *changes))


def _encoded(pairs: list[tuple[Path, int]]) -> Iterator[Encoded]:
    return (Encoded(str(path), partial(open_for_reading, path)) for path, _ in pairs)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split; the folder itself, unnamed, if it holds classes.

    A class may be called "train", as one of CIFAR-100 is: only where every subfolder has a split's name, and subfolders of its
    own, are they splits.
    """
    inside = _subfolders(folder)
    by_split: dict[str, Path] = {}
    for path in inside:
        split = split_of(path.name)
        if split is None or not _subfolders(path):
            return {UNNAMED: folder}
        if split in by_split:
            raise UsageError(f"{printable(folder)} holds both {by_split[split].name} and {path.name}: keep one of them")
        by_split[split] = path
    return by_split or {UNNAMED: folder}


def _subfolders(folder: Path) -> list[Path]:
    """The folder's visible subfolders, in the order of characters. Raises: UsageError if it cannot be read."""
    try:
        subfolders = [path for path in folder.iterdir() if not _is_ignored(path.name) and path.is_dir()]
    except OSError as error:
        raise UsageError(f"{printable(folder)} cannot be read: {reason(error)}") from error
    return sorted(subfolders, key=lambda path: path.name)


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _MARKS


def _list_classes(folder: Path, top: Path) -> _Listing:
    """The image files below each subfolder, in natural order of their paths. Links to folders are followed, once each."""
    inside = _subfolders(folder)
    if len(inside) > MOST_CLASSES:
        what = f"{len(inside):,} subfolders, one for each class"
        raise UsageError(f"{printable(folder)} has {what}: at most {MOST_CLASSES:,} are possible")
    listing = _Listing({path.name: [] for path in inside})
    listing.others += [
        str(path.relative_to(top)) for path in folder.iterdir() if not _is_ignored(path.name) and not path.is_dir()
    ]
    count = 0
    for kind in inside:
        seen = set()
        for here, folders, files in os.walk(kind, followlinks=True, onerror=_refuse):
            status = Path(here).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()  # a link to a folder above it
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = [name for name in folders if not _is_ignored(name)]
            for name in files:
                if not _is_ignored(name):
                    path = Path(here, name)
                    is_image = path.suffix.lower() in SUFFIXES
                    (listing.classes[kind.name].append(path) if is_image else listing.others.append(str(path.relative_to(top))))
            count += len(files)
            if count > MOST_FILES:
                raise UsageError(f"{printable(folder)} holds more than {MOST_FILES:,} files: give a smaller folder")
        listing.classes[kind.name].sort(key=lambda path: [natural_order(part) for part in path.relative_to(kind).parts])
    listing.others.sort(key=natural_order)
    return listing


def _refuse(error: OSError) -> None:
    raise UsageError(f"{printable(error.filename)} cannot be read: {reason(error)}") from error


def _examples(listing: _Listing, names: list[str], folder: Path) -> list[tuple[Path, int]]:
    """Files and labels in order. Raises: UsageError for a class that `names` lacks, one without images, or no images at all."""
    numbers = {name: k for k, name in enumerate(names)}
    for name, paths in listing.classes.items():
        if name not in numbers:
            raise UsageError(f"{printable(folder / name)}: there is no class of that name in the training split: add it there")
        if not paths:
            formats = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
            raise UsageError(f"{printable(folder / name)} holds no image ({formats}): remove the folder, or add images")
    return [(path, numbers[name]) for name, paths in listing.classes.items() for path in paths]


def _order_note(names: list[str]) -> list[str]:
    """A note if a reader would number the classes otherwise, such as 2 before 10."""
    expected = sorted(names, key=natural_order)
    if expected == names:
        return []
    first = next(k for k, (ours, theirs) in enumerate(zip(names, expected, strict=True)) if ours != theirs)
    return [
        f"classes are in the order of characters, as in torchvision's ImageFolder: class {first} is {printable(names[first])}"
    ]
