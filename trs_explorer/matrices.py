"""Square matrices of members as logs and results hold them, and means that skip missing entries. No torch."""

import math

from trs_explorer.values import number

Matrix = list[list[float | None]]


def parse_matrix(value: object) -> Matrix | None:
    """A square matrix, None in the place of entries that are not numbers; None if it is not square."""
    if not isinstance(value, list) or not value or not all(isinstance(row, list) and len(row) == len(value) for row in value):
        return None
    return [[number(cell) for cell in row] for row in value]


def off_diagonal(square: Matrix) -> list[float]:
    """The entries, except None, of pairs of different members."""
    return [cell for i, row in enumerate(square) for j, cell in enumerate(row) if i != j and cell is not None]


def mean(values: list[float]) -> float | None:
    """The mean; None of an empty list. Never infinite: if the sum overflows, the values are divided before they are added."""
    if not values:
        return None
    total = sum(values)
    return total / len(values) if math.isfinite(total) else sum(value / len(values) for value in values)
