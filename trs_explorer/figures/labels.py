"""Place the labels of points so that none lies on another label, on a point, or beyond the chart."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

CHARACTER_PX, LINE_PX, GAP_PX = 6.5, 14.0, 7.0  # of a label's text; between a point and its label
# From where a label would stand beside its point: if there is no room, it stands further away, and a line leads to it.
DISTANCES_PX = (0.0, 16.0, 32.0, 48.0)
STEP_PX = 4.0  # between the squares that stand for a line
# Directions from the point: to the right and down, those that are easiest to read first.
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
Shift = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


def place_labels(
    points: Sequence[Shift], labels: Sequence[str], size: tuple[float, float], *, first: int = 0
) -> list[Shift | None]:
    """Return the shift of each label's middle from its point; None for a label that has no room.

    Places beside the points are taken first, and earlier labels choose before later ones.

    points: in pixels from the chart's upper left corner.
    size: the chart's width and height, in pixels.
    first: so many labels, which matter most, choose among all places before the others.
    """
    marks = [_square(point, GAP_PX) for point in points]
    written: list[Box] = []
    lines: list[Box] = []
    places: list[Shift | None] = [None] * len(points)
    others = range(first, len(points))
    for k, far in (*product(range(first), DISTANCES_PX), *((k, far) for far, k in product(DISTANCES_PX, others))):
        point = points[k]
        for shift in (_shift(labels[k], direction, far) for direction in DIRECTIONS):
            box, line = label_box(point, labels[k], shift), leader_boxes(point, shift) if far else []
            is_free = _are_free([box], marks + written + lines) and _are_free(line, marks + written)
            if places[k] is None and is_free and _is_inside(box, size):
                places[k] = shift
                written.append(box)
                lines += line
    return places


def is_beside(label: str, shift: Shift) -> bool:
    """Whether a label stands beside its point: else it needs a line that leads to it."""
    return any(shift == _shift(label, direction, 0.0) for direction in DIRECTIONS)


def label_box(point: tuple[float, float], label: str, shift: Shift) -> Box:
    """Return the rectangle that a label takes, in pixels."""
    x, y = point[0] + shift[0], point[1] + shift[1]
    half, high = CHARACTER_PX * len(label) / 2, LINE_PX / 2
    return x - half, y - high, x + half, y + high


def leader_boxes(point: tuple[float, float], shift: Shift) -> list[Box]:
    """Return small squares along the line that leads from a point to its label, from where it has left the point."""
    length = math.hypot(*shift)
    shares = [away / length for away in np.arange(2 * GAP_PX, length, STEP_PX)]
    return [_square((point[0] + share * shift[0], point[1] + share * shift[1]), 2.0) for share in shares]


def _square(middle: tuple[float, float], side: float) -> Box:
    return middle[0] - side / 2, middle[1] - side / 2, middle[0] + side / 2, middle[1] + side / 2


def _shift(label: str, direction: tuple[int, int], far: float) -> Shift:
    across, down = direction
    gap = GAP_PX / 2 if across else GAP_PX
    return across * (CHARACTER_PX * len(label) / 2 + GAP_PX + far), down * (LINE_PX / 2 + gap + far)


def _is_inside(box: Box, size: tuple[float, float]) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] and box[3] <= size[1]


def _are_free(boxes: Sequence[Box], taken: Sequence[Box]) -> bool:
    return not any(
        left < r and right > x and top < b and bottom > t for left, top, right, bottom in boxes for x, t, r, b in taken
    )
