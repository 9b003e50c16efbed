"""A split of a user's data, and what all its formats share: a test split where the data has none, and the limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trs_explorer.files import printable
from trs_explorer.memory import total_memory
from trs_explorer.options import UsageError

MOST_CLASSES = 1000
MOST_NAME = 200  # characters of a class's name
TRAIN, TEST, VALIDATION, UNNAMED = "train", "test", "validation", ""
_SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
}


@dataclass(frozen=True, eq=False)
class UserData:
    """One split of a user's data.

    - x: images [n, channel, height, width], uint8 or float32 in [0, 1].
    - y: labels [n], int64, 0 .. len(class_names) - 1.
    - class_names: one per class, printable; the same for both splits.
    - notes: what was done to the data or left out, one clause each, for the user.
    """

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def split_of(word: str) -> str | None:
    """TRAIN, TEST or VALIDATION if the word is a usual name of that split, in any case; else None."""
    return _SPLITS.get(word.lower())


def choose_splits(there: Sequence[str], where: str, *, train: bool, remedy: str) -> tuple[str, str | None, list[str]]:
    """Choose from the splits that are there: the training split, the test split (None: held out of it), and notes.

    where: the data, for messages. remedy: how a user names splits there.
    Validation images serve as test images if there are no others. Where only test images are there, both are the test split.
    Raises: UsageError if there is no training split and `train` asks for it.
    """
    test = next((split for split in (TEST, VALIDATION) if split in there), None)
    training = next((split for split in (TRAIN, UNNAMED) if split in there), None)
    notes = []
    if test == VALIDATION:
        notes.append("the validation split serves as the test split")
    unused = [split or "unnamed" for split in there if split not in (test, training)]
    if unused:
        notes.append(f"the {' and the '.join(unused)} split is not used")
    if training is None and test is not None:
        if train:
            raise UsageError(f"{where} has no training images, only a {test} split: {remedy}")
        return test, test, notes
    if test is None:
        notes.append(f"there is no test split: {HELD_OUT}; to choose it yourself, {remedy}")
    return training or UNNAMED, test, notes


HELD_OUT = "a fifth is held out, the 2nd, 7th, 12th, ... image of each class"


def held_out(y: NDArray[Any], where: str) -> NDArray[np.bool_]:
    """Mask of the examples that are the test split where the data has none: the 2nd, 7th, 12th, ... of each class, in order.

    By class, because files are often sorted by class or repeat the classes in turn. y: labels [n] >= 0.
    Raises: UsageError if no class has two examples.
    """
    order = np.argsort(y, kind="stable")
    counts = np.bincount(y)
    rank = np.empty(len(y), np.int64)
    rank[order] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    mask: NDArray[np.bool_] = rank % 5 == 1
    if not mask.any():
        raise UsageError(f"{where} has one image per class: no test split can be held out. Give at least two of some class")
    return mask


def class_names(given: Sequence[str] | None, labels: Sequence[NDArray[Any]], where: str) -> tuple[tuple[str, ...], list[str]]:
    """A name for each class, and notes. given: the data's own names; labels: of all splits, int64 >= 0.

    Without names a class is called by its number.
    Raises: UsageError if there are fewer names than classes, labels that start at 1, or not 2 to MOST_CLASSES classes.
    """
    low, high = min(int(y.min()) for y in labels), max(int(y.max()) for y in labels)
    if given is None:
        if low:
            raise UsageError(
                f"{where}: labels must start at 0, got {low} .. {high}: subtract {low}, or add class_names that name class 0 too"
            )
        names = tuple(map(str, range(high + 1)))
    else:
        names = tuple(printable(name).strip() or str(k) for k, name in enumerate(given))
        if high >= len(names):
            raise UsageError(
                f"{where}: there are {len(names)} class names but a label {high}: labels count from 0, name them all"
            )
        if any(len(name) > MOST_NAME for name in names):
            raise UsageError(f"{where}: a class name has more than {MOST_NAME} characters: shorten it")
    if not 2 <= len(names) <= MOST_CLASSES:
        raise UsageError(f"{where} has {len(names):,} class(es): 2 to {MOST_CLASSES:,} are possible")
    missing = len(names) - np.count_nonzero(sum(np.bincount(y, minlength=len(names)) for y in labels))
    return names, [f"{missing} of {len(names)} classes have no image"] if missing else []


def check_fits(size: int, where: str, *, memory: int | None = None) -> None:
    """Raise UsageError if `size` bytes are more than half of the memory, by default this machine's."""
    memory = total_memory() if memory is None else memory
    if size > memory // 2:
        raise UsageError(
            f"{where}: {size:,} bytes of memory are needed, more than half of the {memory:,} here: give fewer or smaller images"
        )


def listed(names: Sequence[str]) -> str:
    """The first eight names as text, printable, and the number of the others."""
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return ", ".join(printable(name)[:MOST_NAME] for name in names[:8]) + more
