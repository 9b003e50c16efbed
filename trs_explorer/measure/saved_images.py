"""The images of a measurement as one file: clean, adversarial, labels and outcomes, for other programs.

    clean           [n, channel, height, width]     in [0, 1], float32
    labels          [n]                             the true classes

of `trs evaluate`, the attacks in the order of options["attacks"]:

    adversarial     [attack, n, channel, height, width]
    clean_correct   [n]                             whether the ensemble classifies the clean image correctly
    correct         [attack, n]                     the same of the adversarial image

of `trs transfer`, surrogates and targets from F1 on, the last target is the ensemble:

    adversarial     [surrogate, n, channel, height, width]
    eligible        [surrogate, target, n]          whether the image counts
    fooled          [surrogate, target, n]          whether it counts and fools the target
    wanted          [n]                             with --targeted: the classes that were aimed at

options is JSON text: the run, the weights' SHA-256, the data, the attacks, the seed. In .npz and .pt it is an entry beside the
others, in .safetensors the metadata's.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from trs_explorer.files import Json, write_atomically
from trs_explorer.options import UsageError

SUFFIXES = (".npz", ".pt", ".safetensors")


@dataclass(frozen=True)
class SavedImages:
    """What a file of images holds. Shapes: see above.

    - outcomes: tensors of bool by name, and `wanted`.
    - options: what was measured, ready for JSON.
    """

    clean: Tensor
    labels: Tensor
    adversarial: Tensor
    outcomes: Mapping[str, Tensor]
    options: Json = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, on the CPU."""
        named = {"clean": self.clean, "labels": self.labels, "adversarial": self.adversarial, **self.outcomes}
        return {name: value.detach().cpu().contiguous() for name, value in named.items()}


def check_images_path(path: Path) -> None:
    """Raise UsageError for a file that `save_images` cannot write: before the measurement and not after it."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: the name must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent} to write to")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file")


def save_images(path: Path, images: SavedImages) -> None:
    """Write images to a file, in the format of its suffix, completely or not at all. Raises: as `check_images_path`; OSError."""
    check_images_path(path)
    write_atomically(path.resolve(), saved_content(images, path))


def saved_content(images: SavedImages, path: Path) -> Callable[[Path], None]:
    """A function that fills a (temporary) file with the images, in the format of path's suffix."""
    return partial(fill_file, images=images, suffix=path.suffix)


def fill_file(path: Path, images: SavedImages, suffix: str) -> None:
    """Write images to a file in the format of a suffix. Raises: OSError."""
    tensors, options = images.tensors(), json.dumps(images.options)
    if suffix == ".npz":
        arrays = {name: value.numpy() for name, value in tensors.items()}
        with path.open("wb") as file:  # given a path, numpy would add its suffix
            np.savez(file, allow_pickle=False, options=np.array(options), **arrays)
    elif suffix == ".pt":
        torch.save({**tensors, "options": options}, path)
    else:
        try:
            save_file(tensors, path, metadata={"options": options})
        except SafetensorError as error:  # such as a full disk
            raise OSError(str(error)) from error
