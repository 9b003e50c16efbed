"""The data of the two charts: loss terms over the steps, and similarity against transfer. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trs_explorer.curves import thin
from trs_explorer.tui.formatting import Format, letters
from trs_explorer.tui.history import History
from trs_explorer.tui.reference_runs import ReferenceRun, similarity_and_transfer

MOST_SAVES = 20  # more checkpoint marks would hide the curves: then only the newest is marked
SIGNS = {"save": ("◆", "+"), "resumed": ("R", "R")}
CHANGE = ("▲", "^")
BOUND = 1e300  # larger values are drawn here, so that the difference of two is still finite
LEAST_RANGE = 1e-6  # least height of an axis as a share of the largest value, so that its ticks differ


@dataclass(frozen=True)
class Curve:
    """One curve: its letter, colour and points. joined: draw a line through the points, not only letters."""

    letter: str
    colour: str
    x: np.ndarray
    y: np.ndarray
    joined: bool = True


@dataclass(frozen=True)
class ChartData:
    """Curves between fixed limits. log: y contains decimal logarithms."""

    curves: list[Curve]
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    log: bool = False


def loss_chart(history: History, fmt: Format, most: int, other: History | None = None, reach: float = 0) -> ChartData | None:
    """The loss terms over the steps, on a log axis (linear if one is negative).

    most: number of points per curve.
    other: another run on the same axes; its curves of the same terms carry capital letters.
    reach: a step that the axis includes.
    """
    shared = {name: series for name, series in other.terms.items() if name in history.terms} if other else {}
    if not history.terms:
        return None
    log = all((series.lowest or 0) >= 0 for series in [*history.terms.values(), *shared.values()])
    marks, curves = letters(list(history.terms)), []
    for i, (name, series) in enumerate(history.terms.items()):
        colour = fmt.colour(str(i)) or "white"
        for letter, curve, points in ((marks[name].upper(), shared.get(name), most // 6), (marks[name], series, most)):
            if curve is not None:
                x, y = curve.points(points)
                x, y = (x[y > 0], np.log10(y[y > 0])) if log else (x, y)
                if len(x):
                    curves.append(Curve(letter, colour, _bounded(x), _bounded(y), joined=curve is series))
    if not curves:
        return None
    low, high = min(c.y.min() for c in curves), max(c.y.max() for c in curves)
    reach = min(max(reach, -BOUND), BOUND)
    start, end = min(c.x.min() for c in curves), max(reach, *(c.x.max() for c in curves))
    pad = 0.08 * (high - low) or 0.5
    pad = max(pad, LEAST_RANGE * max(abs(low), abs(high)), 1 / BOUND)
    low, high = float(low - pad), float(high + pad)
    end = float(max(end + 0.01 * (end - start), start + max(1, LEAST_RANGE * abs(start))))
    curves += _marks(history, fmt, (float(start), end), low + 0.03 * (high - low))  # not on the very edge, where nothing is drawn
    return ChartData(curves, (float(start), end), (low, high), log)


def _bounded(values: np.ndarray) -> np.ndarray:
    return values.clip(-BOUND, BOUND)


def _marks(history: History, fmt: Format, span: tuple[float, float], low: float) -> list[Curve]:
    """Checkpoints, changes and resumes, as signs at the bottom."""
    curves = []
    for kind in dict.fromkeys(["save", *(mark.kind for mark in history.marks)]):
        at = np.array([mark.step for mark in history.marks if mark.kind == kind and span[0] <= mark.step <= span[1]], dtype=float)
        if kind == "save" and len(at) > MOST_SAVES:
            at = at[-1:]
        if len(at):
            sign = SIGNS.get(kind, CHANGE)[fmt.ascii]
            curves.append(Curve(sign, fmt.colour("mark") or "white", at, np.full(len(at), low), joined=False))
    return curves


def similarity_chart(
    history: History, fmt: Format, references: Sequence[ReferenceRun] = (), other: History | None = None
) -> ChartData | None:
    """Mean |cos| on held-out images (x) against transfer in per cent (y), a curve over the training.

    references: shipped runs, drawn dotted behind it, with a letter at the end.  other: another run.
    """
    x, y = similarity_and_transfer(history.probes)
    if not len(x) and not references:
        return None
    muted, own_colour, end_colour = (fmt.colour(role) or "white" for role in ("reference", "0", "mark"))
    curves = []
    for reference in references:
        curves.append(Curve("." if fmt.ascii else "·", muted, *thin(reference.cosine, reference.transfer, 24), joined=False))
        curves.append(Curve(reference.letter, muted, reference.cosine[-1:], reference.transfer[-1:], joined=False))
    if other is not None:
        other_x, other_y = similarity_and_transfer(other.probes)
        if len(other_x):
            colour = fmt.colour("2") or "white"
            if len(other_x) > 1:
                curves.append(Curve("v", colour, *thin(other_x, other_y, 200)))
            curves.append(Curve("V", colour, other_x[-1:], other_y[-1:], joined=False))
    if len(x):
        start, end = ("o", "@") if fmt.ascii else ("○", "●")
        if len(x) > 1:
            curves.append(Curve(".", own_colour, *thin(x, y, 200)))
        curves += [Curve(start, own_colour, x[:1], y[:1], joined=False), Curve(end, end_colour, x[-1:], y[-1:], joined=False)]
    most = max(0.2, 1.1 * min(max(float(curve.x.max()) for curve in curves), BOUND))
    inside = [replace(curve, x=curve.x.clip(0, most), y=curve.y.clip(0, 100)) for curve in curves]
    return ChartData(inside, (0.0, most), (0.0, 100.0))
