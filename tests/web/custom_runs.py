"""Ensembles and attacks as users write them, for tests of the pages: what `imported_run` and `attack_file` put into a folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trs_explorer import plugins
from trs_explorer.data.custom import describe
from trs_explorer.measure.import_run import import_run, imported_config

MEMBERS = '''
import torch

class Mean(torch.nn.Module):
    """Class 0 where the left half is brighter, class 1 where the right half is; further classes never."""

    def __init__(self, tilt):
        super().__init__()
        self.tilt = torch.nn.Parameter(torch.tensor(tilt))

    def forward(self, x):
        {fails}
        half = x.shape[-1] // 2
        left, right = x[..., :half].mean((1, 2, 3)), x[..., half:].mean((1, 2, 3))
        rest = torch.full((len(x), {classes} - 2), -20.0)
        return torch.cat([(20 * left + self.tilt)[:, None], 20 * right[:, None], rest], 1)

def make():
    return [Mean(0.1 * k) for k in range({members})]
'''
ATTACKS = '''
from typing import Annotated, Literal

import torch
from annotated_types import Interval

def mirror(model, x, y, *, eps, side: Annotated[int, Interval(ge=1, le=28), "columns that change"] = 28,
           kind: Literal["towards", "away"] = "towards", strong: bool = True):
    """Makes the darker half brighter, and the other one darker."""
    sign = torch.ones_like(x)
    sign[..., : x.shape[-1] // 2] = -1
    sign = sign * (1 - 2 * y.view(-1, 1, 1, 1)) * (1 if kind == "towards" else -1)
    sign[..., side:] = 0
    return (x + eps * sign).clamp(0, 1)

def broken(model, x, y, *, eps):
    return x / missing
'''


def write_data(place: Path, shape: tuple[int, int, int], names: Sequence[str], n: int = 20) -> Path:
    """Write n training and n test images of two classes, by turns: the left or the right half is brighter."""
    channels, height, width = shape
    y = np.arange(n) % 2
    x = np.full((n, channels, height, width), 100, np.uint8)
    x[y == 0, ..., : width // 2] += 10
    x[y == 1, ..., width // 2 :] += 10
    x[:, 0, 0, 0] += np.arange(n, dtype=np.uint8)  # no two are the same
    place.mkdir(parents=True, exist_ok=True)
    file = place / "images.npz"
    arrays = {"x_train": x, "y_train": y, "x_test": x[::-1], "y_test": y[::-1]}
    np.savez(file, **arrays, **({"class_names": np.array(names)} if names else {}))
    return file


def imported_run(
    place: Path, name: str, *, shape: tuple[int, int, int] = (3, 8, 8), names: Sequence[str] = ("red", "green"),
    members: int = 2, fails: str = "",
) -> Path:  # fmt: skip
    """Return the folder of an imported run. fails: a line of code in every member's forward."""
    code = place / f"{name}_code"
    code.mkdir(parents=True)
    file = code / "nets.py"
    file.write_text(MEMBERS.format(classes=max(2, len(names)), members=members, fails=fails or "pass"))
    model = f"{file}:make"
    plugins.allow("model", model)
    data = describe(str(write_data(code, shape, names)))
    config = imported_config(model, data.name, data_dir=data.place, fingerprint=data.fingerprint, members=members)
    run, _ = import_run(config, place / "runs" / name)
    return run.path


def attack_file(place: Path) -> Path:
    """Return a file with the attacks "mirror", which has options, and "broken", which raises a NameError in its line 17."""
    file = place / "mine.py"
    file.write_text(ATTACKS)
    return file
