"""Many events as arrays, and long curves thinned for the screen."""

import contextlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trs_explorer.files import Json
from trs_explorer.matrices import mean, off_diagonal, parse_matrix
from trs_explorer.values import number

Values = NDArray[np.float64]


def column(rows: Sequence[Json], name: str) -> Values:
    """Each row's value of that name, NaN where it is missing or not a finite number."""
    values = [row.get(name) for row in rows]
    if set(map(type, values)) <= {float, int, type(None)}:
        with contextlib.suppress(OverflowError):  # an int beyond all floats
            array = np.array(values, dtype=float)
            array[np.isinf(array)] = math.nan
            return array
    return np.array([math.nan if (finite := number(value)) is None else finite for value in values], dtype=float)


def term_rows(steps: Sequence[Json]) -> list[Json]:
    """The loss terms of every step event, an empty dict where an event has none."""
    return [terms if isinstance(terms := event.get("terms"), dict) else {} for event in steps]


def pair_means(events: Sequence[Json], name: str = "cosine") -> Values:
    """The mean over pairs of different members of each event's |cos| matrix of that name, NaN where there is none.

    name: "cosine", of the loss's gradients; of probes also "log_odds_cosine", by the log-odds.
    """
    matrices = [event.get(name) for event in events]
    try:
        squares = np.array(matrices, dtype=float)
        count, members, other = squares.shape
        if members == other > 1:
            with np.errstate(over="ignore"):
                means = squares[:, ~np.eye(members, dtype=bool)].reshape(count, -1).mean(axis=1)
            if np.isfinite(means).all():
                return np.asarray(means)
    except (TypeError, ValueError, OverflowError):
        pass
    # some are missing, ragged, odd or huge: one by one
    each = [mean(off_diagonal(square)) if (square := parse_matrix(value)) else None for value in matrices]
    return np.array([math.nan if value is None else value for value in each])


def thin(x: Values, y: Values, most: int) -> tuple[Values, Values]:
    """At most `most` (>= 4) of a curve's points, in order, so that no spike is lost.

    The points are cut into buckets of neighbours; the lowest and the highest of each stay, and both ends of the curve. Where
    y is NaN the curve has a gap: a bucket of nothing else keeps one NaN.
    """
    count = len(x)
    if count <= most:
        return x, y
    size = -(-count // (most // 2 - 1))  # one bucket less than pairs: room for the two ends
    buckets = np.pad(y, (0, -count % size), mode="edge").reshape(-1, size)
    gaps = np.isnan(buckets)
    first = np.arange(len(buckets)) * size
    lowest = np.where(gaps, np.inf, buckets).argmin(axis=1)
    highest = np.where(gaps, -np.inf, buckets).argmax(axis=1)
    keep = np.unique(np.concatenate([[0, count - 1], first + lowest, first + highest]).clip(max=count - 1))
    return x[keep], y[keep]
