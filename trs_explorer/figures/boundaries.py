"""Geometry of a slice: decision boundaries as smooth lines, and the hatching of where no valid image is."""

from collections.abc import Sequence

import numpy as np
from contourpy import LineType, contour_generator
from jaxtyping import Float

Line = Float[np.ndarray, "point 2"]
Gapped = tuple[list[float | None], list[float | None]]
HATCH_LINES = 36  # across the square


def decision_boundaries(outputs: Float[np.ndarray, "row column class"], along: Float[np.ndarray, " point"]) -> list[Line]:
    """Return the lines between the regions in which one model predicts different classes.

    For each class c, the zero contour of z_c - max of the others: a line between two classes is there once for each of them, and
    the two coincide.

    outputs: logits or log-probabilities at the grid's points; row 0 has the lowest b. Points that are not finite have no line.
    along: the coordinates of the columns, and of the rows.
    """
    defined = np.isfinite(outputs).all(-1)
    predicted = outputs.argmax(-1)
    second, highest = np.moveaxis(np.partition(outputs, -2, axis=-1)[..., -2:], -1, 0)
    lines = []
    for c in np.unique(predicted[defined]).tolist():
        margin = np.ma.masked_where(~defined, outputs[..., c] - np.where(predicted == c, second, highest))
        lines += contour_generator(along, along, margin, line_type=LineType.Separate).lines(0.0)
    return lines


def hatching(box: Float[np.ndarray, "corner 2"], low: float, high: float) -> list[Line]:
    """Return diagonal lines over the part of the square [low, high]^2 outside a convex polygon (no corners: over all of it).

    box: corners in counter-clockwise order; fewer than three hold no area.
    """
    side, lines = high - low, []
    for k in range(1, 2 * HATCH_LINES):
        offset = low + low + side * k / HATCH_LINES  # the line a + b = offset
        begin, end = max(low, offset - high), min(high, offset - low)  # of a
        lines += [
            np.array([[first, offset - first], [last, offset - last]])
            for first, last in _outside(begin, end, offset, box)
            if last - first > 1e-9 * side
        ]
    return lines


def _outside(begin: float, end: float, offset: float, box: np.ndarray) -> list[tuple[float, float]]:
    """Return the parts of the line a + b = offset, begin <= a <= end, outside a convex polygon, as ranges of a."""
    if len(box) < 3:
        return [(begin, end)]
    first, last = begin, end
    for (a, b), (next_a, next_b) in zip(box, np.roll(box, -1, 0), strict=True):
        # Inside: (next - corner) x (point - corner) >= 0, which is slope * a + constant >= 0 on the line.
        slope = -(next_a - a) - (next_b - b)
        constant = (next_a - a) * (offset - b) + (next_b - b) * a
        if slope > 0:
            first = max(first, -constant / slope)
        elif slope < 0:
            last = min(last, -constant / slope)
        elif constant < 0:
            return [(begin, end)]
    return [(begin, end)] if first >= last else [(begin, first), (last, end)]


def gapped(lines: Sequence[Line]) -> Gapped:
    """Join lines to one, with a gap (None) after each: one trace draws them all."""
    x: list[float | None] = []
    y: list[float | None] = []
    for line in lines:
        x += [*np.round(line[:, 0], 6).tolist(), None]
        y += [*np.round(line[:, 1], 6).tolist(), None]
    return x, y
