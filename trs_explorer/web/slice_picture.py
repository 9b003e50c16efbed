"""A slice as pictures: the class that every model sees at each point, as PNGs that a page shows without computing anything."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trs_explorer.explore.pictures import data_uri, png
from trs_explorer.files import Json
from trs_explorer.web.figures import CLASS_COLOURS

LIGHTEST = 0.6  # of the way to white where a model is least sure
GREY, INK = (128, 128, 128), (20, 20, 20)
CELLS = 24  # a side, in which a class' number is placed
SMALLEST = 8  # cells of its neighbourhood that a patch must have for a number


@dataclass(frozen=True)
class SlicePicture:
    """What one model sees in a slice.

    uri: a PNG that covers the square exactly, b upwards: a colour a class, paler where the model is less sure, and
    dark lines between classes. (CLASS_COLOURS, from the start again beyond ten; grey where an output is not a number.)
    labels: (class, across, up), a place in [0, 1]^2 in a large patch of every class: where to write its number.
    counts: of how many of the points each class that is seen has.
    """

    uri: str
    labels: list[tuple[int, float, float]]
    counts: dict[int, int]

    def to_json(self) -> Json:
        """All of it."""
        return {"uri": self.uri, "labels": self.labels, "counts": {str(c): n for c, n in self.counts.items()}}


def slice_pictures(logits: np.ndarray, vote: Callable[[Tensor], Tensor], *, scale: int = 4) -> list[SlicePicture]:
    """The pictures of every member, in order, then of what they vote.

    logits: [row, column, member, class] as `slices.assemble` gives them, row 0 the lowest.  vote: the ensemble's own.
    scale: pixels from one point to the next, even: points lie on the edges, so half of the outer ones is cut off.
    """
    if scale < 2 or scale % 2:
        raise ValueError(f"scale must be an even number of pixels, got {scale}")
    n = len(logits)
    points = torch.from_numpy(np.ascontiguousarray(logits)).flatten(0, 1).transpose(0, 1)
    outputs = [*points, vote(points)]
    return [_picture(output.softmax(-1).view(n, n, -1), scale) for output in outputs]


def _picture(p: Tensor, scale: int) -> SlicePicture:
    sure, seen = p.max(-1)
    seen = seen.where(~p.isnan().any(-1), -1)
    low = 1 / p.shape[-1]
    paler = LIGHTEST * (1 - ((sure - low) / (1 - low)).nan_to_num(1).clamp(0, 1))[..., None]
    colours = _colours()[seen.where(seen < 0, seen % len(CLASS_COLOURS))]
    pixels = colours + paler * (1 - colours)
    pixels[_edges(seen)] = torch.tensor(INK) / 255
    image = pixels.flip(0).permute(2, 0, 1)
    image = image.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    half = scale // 2
    found, counts = seen.unique(return_counts=True)
    return SlicePicture(
        data_uri(png(image[:, half:-half, half:-half])),
        _labels(seen),
        dict(zip(found.tolist(), counts.tolist(), strict=True)),
    )


def _colours() -> Tensor:
    """A row a class, the last one for no class."""
    return torch.tensor([*([int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in CLASS_COLOURS), GREY]) / 255


def _edges(seen: Tensor) -> Tensor:
    """The points whose neighbour to the right or above is of another class."""
    edges = torch.zeros_like(seen, dtype=torch.bool)
    edges[:, :-1] |= seen[:, :-1] != seen[:, 1:]
    edges[:-1] |= seen[:-1] != seen[1:]
    return edges


def _labels(seen: Tensor) -> list[tuple[int, float, float]]:
    """Of every class the cell whose neighbourhood has most of that class, if that is enough for a number."""
    at = torch.linspace(0, len(seen) - 1, CELLS + 1).round().long()
    cells = seen[at][:, at]
    labels = []
    for c in cells.unique().tolist():
        if c < 0:
            continue
        own = (cells == c).float()
        score = F.avg_pool2d(own[None], 7, stride=1, padding=3, divisor_override=1)[0] * own
        if score.max() > SMALLEST:
            row, column = divmod(int(score.argmax()), CELLS + 1)
            labels.append((c, min(0.93, max(0.07, column / CELLS)), min(0.93, max(0.07, row / CELLS))))
    return labels
