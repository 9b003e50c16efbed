"""The data of the two charts: loss terms over the steps, and similarity against transfer. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trs_explorer.curves import thin
from trs_explorer.parse_events import ROUNDING
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

    |cos| is by the log-odds. Where the cross-entropy's differs, or is all that a log has, its path is dotted.
    references: shipped runs, drawn behind it, with a letter at the end.  other: another run.
    """
    muted, line_colour, end_colour = (fmt.colour(role) or "white" for role in ("reference", "0", "mark"))
    dot = "." if fmt.ascii else "·"
    curves = []
    for run in references:
        by_loss = (run.loss_cosine, run.loss_transfer) if loss_shown(run.cosine, run.loss_cosine) else ()
        for path in ((run.cosine, run.transfer), by_loss):
            if path and len(path[0]):
                curves.append(Curve(dot, muted, *thin(*path, 24), joined=False))
        curves.append(Curve(run.letter, muted, *_end(run.cosine, run.transfer, run.loss_cosine, run.loss_transfer), joined=False))
    if other is not None:
        curves += _run_curves(other, fmt.colour("2") or "white", "v", dot)
        end = _end(*similarity_and_transfer(other.probes), *similarity_and_transfer(other.probes, by_loss=True))
        curves.append(Curve("V", fmt.colour("2") or "white", *end, joined=False))
    curves += _run_curves(history, line_colour, ".", dot)
    (x, y), by_loss = similarity_and_transfer(history.probes), similarity_and_transfer(history.probes, by_loss=True)
    x, y = (x, y) if len(x) else by_loss
    first, now = ("o", "@") if fmt.ascii else ("○", "●")
    curves += [Curve(first, line_colour, x[:1], y[:1], joined=False), Curve(now, end_colour, x[-1:], y[-1:], joined=False)]
    curves = [curve for curve in curves if len(curve.x)]
    if not curves:
        return None
    most = max(0.2, 1.1 * min(max(float(curve.x.max()) for curve in curves), BOUND))
    inside = [replace(curve, x=curve.x.clip(0, most), y=curve.y.clip(0, 100)) for curve in curves]
    return ChartData(inside, (0.0, most), (0.0, 100.0))


def loss_shown(by_odds: np.ndarray, by_loss: np.ndarray) -> bool:
    """Whether the path of the cross-entropy's |cos| is drawn: where the log-odds' has fewer points, or differs."""
    return len(by_odds) != len(by_loss) or bool((abs(by_odds - by_loss) > ROUNDING).any())


def _run_curves(history: History, colour: str, letter: str, dot: str) -> list[Curve]:
    """The path by the log-odds as a line, and the cross-entropy's as dots where it is shown."""
    (x, y), (loss_x, loss_y) = (similarity_and_transfer(history.probes, by_loss=by_loss) for by_loss in (False, True))
    curves = [Curve(letter, colour, *thin(x, y, 200))] if len(x) > 1 else []
    if loss_shown(x, loss_x) and len(loss_x):
        curves.append(Curve(dot, colour, *thin(loss_x, loss_y, 200), joined=False))
    return curves


def _end(x: np.ndarray, y: np.ndarray, loss_x: np.ndarray, loss_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last point by the log-odds; by the cross-entropy only if there is none."""
    return (x[-1:], y[-1:]) if len(x) else (loss_x[-1:], loss_y[-1:])
