"""A slice as pictures: the class that every model predicts at each point, as PNGs that a page shows without computing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trs_explorer.explore.pictures import data_uri, png
from trs_explorer.files import Json
from trs_explorer.web.figures import CLASS_COLOURS

LIGHTEST = 0.6  # of the way to white where a model is least confident
GREY, INK = (128, 128, 128), (20, 20, 20)
CELLS = 24  # per side, of the coarse grid on which class labels are placed
MIN_CELLS = 8  # of a cell's neighbourhood must have its class for a label


@dataclass(frozen=True)
class SlicePicture:
    """The classes that one model predicts in a slice.

    uri: a PNG that covers the square exactly, b upwards. Each class has a colour (CLASS_COLOURS, repeated beyond ten), paler
    where the model is less confident; dark lines separate classes; grey marks outputs that are not a number.
    labels: (class, across, up) per class, a position in [0, 1]^2 inside a large region of it, for writing its number.
    counts: the number of points per predicted class.
    """

    uri: str
    labels: list[tuple[int, float, float]]
    counts: dict[int, int]

    def to_json(self) -> Json:
        """The fields that the page draws."""
        return {"uri": self.uri, "labels": self.labels, "counts": {str(c): n for c, n in self.counts.items()}}


def slice_pictures(logits: np.ndarray, vote: Callable[[Tensor], Tensor], *, scale: int = 4) -> list[SlicePicture]:
    """Draw the picture of every member, in order, then of the ensemble.

    logits: [row, column, member, class] as `slices.assemble` returns them, row 0 the lowest.
    vote: the ensemble's `vote`.
    scale: pixels between neighbouring points. Even: points lie on the square's edges, so half of the outer ones is cut off.
    Raises: ValueError for another scale.
    """
    if scale < 2 or scale % 2:
        raise ValueError(f"scale must be an even number of pixels, got {scale}")
    n = len(logits)
    points = torch.from_numpy(np.ascontiguousarray(logits)).flatten(0, 1).transpose(0, 1)
    outputs = [*points, vote(points)]
    return [_picture(output.softmax(-1).view(n, n, -1), scale) for output in outputs]


def _picture(p: Tensor, scale: int) -> SlicePicture:
    confidence, predicted = p.max(-1)
    predicted = predicted.where(~p.isnan().any(-1), -1)
    low = 1 / p.shape[-1]
    paler = LIGHTEST * (1 - ((confidence - low) / (1 - low)).nan_to_num(1).clamp(0, 1))[..., None]
    colours = _colours()[predicted.where(predicted < 0, predicted % len(CLASS_COLOURS))]
    pixels = colours + paler * (1 - colours)
    pixels[_edges(predicted)] = torch.tensor(INK) / 255
    image = pixels.flip(0).permute(2, 0, 1)
    image = image.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    half = scale // 2
    classes, counts = predicted.unique(return_counts=True)
    return SlicePicture(
        data_uri(png(image[:, half:-half, half:-half])),
        _labels(predicted),
        dict(zip(classes.tolist(), counts.tolist(), strict=True)),
    )


def _colours() -> Tensor:
    """Return a row per class; the last row is for outputs that are not a number."""
    return torch.tensor([*([int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in CLASS_COLOURS), GREY]) / 255


def _edges(predicted: Tensor) -> Tensor:
    """Mask of the points whose neighbour to the right or above has another class."""
    edges = torch.zeros_like(predicted, dtype=torch.bool)
    edges[:, :-1] |= predicted[:, :-1] != predicted[:, 1:]
    edges[:-1] |= predicted[:-1] != predicted[1:]
    return edges


def _labels(predicted: Tensor) -> list[tuple[int, float, float]]:
    """Return, per class, the cell whose neighbourhood has most of the class, if that is large enough for a label."""
    at = torch.linspace(0, len(predicted) - 1, CELLS + 1).round().long()
    cells = predicted[at][:, at]
    labels = []
    for c in cells.unique().tolist():
        if c < 0:
            continue
        of_class = (cells == c).float()
        score = F.avg_pool2d(of_class[None], 7, stride=1, padding=3, divisor_override=1)[0] * of_class
        if score.max() > MIN_CELLS:
            row, column = divmod(int(score.argmax()), CELLS + 1)
            labels.append((c, min(0.93, max(0.07, column / CELLS)), min(0.93, max(0.07, row / CELLS))))
    return labels
