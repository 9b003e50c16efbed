"""Reads numbers, matrices and probes out of events. Every field may be missing or odd; nothing here raises because of it."""

import contextlib
import math
from dataclasses import dataclass

import numpy as np

from trs_explorer.values import number, text, whole

Matrix = list[list[float | None]]


def matrix(value: object) -> Matrix | None:
    """A square matrix, None in the place of entries that are not numbers; None if it is not square."""
    if not isinstance(value, list) or not value or not all(isinstance(row, list) and len(row) == len(value) for row in value):
        return None
    return [[number(cell) for cell in row] for row in value]


def off_diagonal(square: Matrix) -> list[float]:
    """The known entries that belong to two different members."""
    return [cell for i, row in enumerate(square) for j, cell in enumerate(row) if i != j and cell is not None]


def mean(values: list[float]) -> float | None:
    """The mean, None of nothing. Never infinite: where the sum is beyond all floats, it is made of shares."""
    if not values:
        return None
    total = sum(values)
    return total / len(values) if math.isfinite(total) else sum(value / len(values) for value in values)


def column(rows: list[dict], name: str) -> np.ndarray:
    """Each row's value of that name, NaN where it is missing or no number."""
    found = [row.get(name) for row in rows]
    if set(map(type, found)) <= {float, int, type(None)}:
        with contextlib.suppress(OverflowError):  # an int beyond all floats
            values = np.array(found, dtype=float)
            values[np.isinf(values)] = math.nan
            return values
    return np.array([math.nan if (known := number(value)) is None else known for value in found], dtype=float)


def pair_means(block: list[dict]) -> np.ndarray:
    """The mean over pairs of different members of each event's cosine matrix, NaN where there is none."""
    found = [event.get("cosine") for event in block]
    try:
        squares = np.array(found, dtype=float)
        events, count, other = squares.shape
        if count == other > 1:
            with np.errstate(over="ignore"):
                means = squares[:, ~np.eye(count, dtype=bool)].reshape(events, -1).mean(axis=1)
            if np.isfinite(means).all():
                return means
    except (TypeError, ValueError, OverflowError):
        pass
    # some are missing, ragged, odd or huge: one by one
    means = [mean(off_diagonal(square)) if (square := matrix(value)) else None for value in found]
    return np.array([math.nan if value is None else value for value in means])


@dataclass(frozen=True)
class Probe:
    """One measurement on held-out images.

    rates[surrogate][target] = fooled/eligible, None where nothing was eligible. transfer pools all pairs of different
    members: all fooled over all eligible; least is the smallest eligible among them. Counts (clean, fgsm, pgd) are of n images.
    """

    step: int
    epoch: int | None
    n: int | None
    eps: float | None
    attack: str
    rates: Matrix | None
    transfer: float | None
    least: int | None
    cosine: float | None
    cosines: Matrix | None
    grad_norm: float | None
    zero_gradients: list[float | None]
    clean: int | None
    fgsm: int | None
    pgd: int | None
    member_clean: list[int | None]

    def share(self, name: str) -> float | None:
        """The count of that name as a share of n."""
        count = getattr(self, name)
        return number(count / self.n) if count is not None and self.n else None


def probe(event: dict, step: int) -> Probe:
    """The probe in a matrix event."""
    fooled, eligible = matrix(event.get("fooled")), matrix(event.get("eligible"))
    rates, transfer, least = None, None, None
    if fooled and eligible and len(fooled) == len(eligible):
        rates = [
            [number(f / e) if f is not None and e else None for f, e in zip(*rows, strict=True)]
            for rows in zip(fooled, eligible, strict=True)
        ]
        cells = [(f, eligible[i][j], i, j) for i, row in enumerate(fooled) for j, f in enumerate(row)]
        both = [(f, e) for f, e, i, j in cells if i != j and f is not None and e]
        tried, least = sum(e for _, e in both), int(max(0.0, min((e for _, e in both), default=0.0))) or None
        transfer = number(sum(f for f, _ in both) / tried) if tried else None
    cosines = matrix(event.get("cosine"))
    norms, zeros, members = event.get("grad_norm"), event.get("zero_gradients"), event.get("member_clean")
    known_norms = [n for n in map(number, norms if isinstance(norms, list) else [norms]) if n is not None]
    return Probe(
        step=step,
        epoch=whole(event.get("epoch")),
        n=whole(event.get("n")),
        eps=number(event.get("eps")),
        attack=text(event.get("attack", "?"), 40),
        rates=rates,
        transfer=transfer,
        least=least,
        cosine=mean(off_diagonal(cosines)) if cosines else None,
        cosines=cosines,
        grad_norm=max(known_norms, default=None),
        zero_gradients=[number(z) for z in zeros] if isinstance(zeros, list) else [],
        clean=whole(event.get("clean")),
        fgsm=whole(event.get("fgsm")),
        pgd=whole(event.get("pgd")),
        member_clean=[whole(right) for right in members] if isinstance(members, list) else [],
    )
