"""Place the labels of points so that none lies on another label, on a point, or beyond the chart."""

from collections.abc import Sequence

CHARACTER_PX, LINE_PX, GAP_PX = 6.5, 14.0, 7.0  # of a label's text; between a point and its label
Box = tuple[float, float, float, float]  # left, top, right, bottom

# plotly's names of a label's places, with its shift in label widths and heights from the point.
PLACES = {
    "middle right": (0.5, 0.0),
    "middle left": (-0.5, 0.0),
    "top center": (0.0, -0.5),
    "bottom center": (0.0, 0.5),
    "top right": (0.5, -0.5),
    "bottom right": (0.5, 0.5),
    "top left": (-0.5, -0.5),
    "bottom left": (-0.5, 0.5),
}


def place_labels(points: Sequence[tuple[float, float]], labels: Sequence[str], size: tuple[float, float]) -> list[str | None]:
    """Return each label's place, one of PLACES; None for a label that has no room anywhere. Earlier ones choose first.

    points: in pixels from the chart's upper left corner.
    size: the chart's width and height, in pixels.
    """
    taken = [(x - GAP_PX / 2, y - GAP_PX / 2, x + GAP_PX / 2, y + GAP_PX / 2) for x, y in points]
    places: list[str | None] = []
    for point, label in zip(points, labels, strict=True):
        free = (place for place in PLACES if _is_free(label_box(point, label, place), taken, size))
        place = next(free, None)
        if place:
            taken.append(label_box(point, label, place))
        places.append(place)
    return places


def label_box(point: tuple[float, float], label: str, place: str) -> Box:
    """Return the rectangle that a label takes in a place, in pixels."""
    across, down = PLACES[place]
    width, height = CHARACTER_PX * len(label), LINE_PX
    x = point[0] + across * (width + 2 * GAP_PX)
    y = point[1] + down * (height + (GAP_PX if across else 2 * GAP_PX))
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _is_free(box: Box, taken: Sequence[Box], size: tuple[float, float]) -> bool:
    left, top, right, bottom = box
    inside = left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]
    return inside and not any(left < r and right > x and top < b and bottom > t for x, t, r, b in taken)
