"""What the two charts show, before it is drawn: the loss terms over the steps, and similarity against transfer. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trs_explorer.curves import thin
from trs_explorer.tui.ghosts import Ghost, path
from trs_explorer.tui.look import Look, letters
from trs_explorer.tui.model import History

MANY = 20  # more checkpoints than this hide the curves: then only the newest is marked
SIGNS = {"save": ("◆", "+"), "resumed": ("R", "R")}
CHANGE = ("▲", "^")
BOUND = 1e300  # what is beyond is drawn there: a difference of two floats must be a float, too
FINEST = 1e-6  # of the largest value: the least height of an axis, so that its ticks are different floats


@dataclass(frozen=True)
class Curve:
    """One line of a picture: its letter, colour and points. A curve that is not joined is drawn as letters alone."""

    letter: str
    colour: str
    x: np.ndarray
    y: np.ndarray
    joined: bool = True


@dataclass(frozen=True)
class Picture:
    """Curves between fixed limits; on a log axis y holds the decimal logarithms."""

    curves: list[Curve]
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    log: bool = False


def loss_picture(history: History, look: Look, most: int, other: History | None = None, reach: float = 0) -> Picture | None:
    """The terms over the steps on a log axis (linear if one is negative), each curve at most `most` points.

    other: another run, on the same axes: its curves of the same terms as capital letters. reach: a step that the axis includes.
    """
    shared = {name: series for name, series in other.terms.items() if name in history.terms} if other else {}
    if not history.terms:
        return None
    log = all((series.lowest or 0) >= 0 for series in [*history.terms.values(), *shared.values()])
    marks, curves = letters(list(history.terms)), []
    for i, (name, series) in enumerate(history.terms.items()):
        colour = look.colour(str(i)) or "white"
        for letter, one, points in ((marks[name].upper(), shared.get(name), most // 6), (marks[name], series, most)):
            if one is not None:
                x, y = one.points(points)
                x, y = (x[y > 0], np.log10(y[y > 0])) if log else (x, y)
                if len(x):
                    curves.append(Curve(letter, colour, _bounded(x), _bounded(y), joined=one is series))
    if not curves:
        return None
    low, high = min(c.y.min() for c in curves), max(c.y.max() for c in curves)
    reach = min(max(reach, -BOUND), BOUND)
    start, end = min(c.x.min() for c in curves), max(reach, *(c.x.max() for c in curves))
    pad = 0.08 * (high - low) or 0.5
    pad = max(pad, FINEST * max(abs(low), abs(high)), 1 / BOUND)
    low, high = float(low - pad), float(high + pad)
    end = float(max(end + 0.01 * (end - start), start + max(1, FINEST * abs(start))))
    curves += _marks(history, look, (float(start), end), low + 0.03 * (high - low))  # what lies on the very edge is not drawn
    return Picture(curves, (float(start), end), (low, high), log)


def _bounded(values: np.ndarray) -> np.ndarray:
    return values.clip(-BOUND, BOUND)


def _marks(history: History, look: Look, span: tuple[float, float], low: float) -> list[Curve]:
    """Checkpoints, interventions and resumes, as signs at the foot."""
    found = []
    for kind in dict.fromkeys(["save", *(mark.kind for mark in history.marks)]):
        at = np.array([mark.step for mark in history.marks if mark.kind == kind and span[0] <= mark.step <= span[1]], dtype=float)
        if kind == "save" and len(at) > MANY:
            at = at[-1:]
        if len(at):
            sign = SIGNS.get(kind, CHANGE)[look.ascii]
            found.append(Curve(sign, look.colour("mark") or "white", at, np.full(len(at), low), joined=False))
    return found


def phase_picture(history: History, look: Look, ghosts: Sequence[Ghost] = (), other: History | None = None) -> Picture | None:
    """The run's path: mean |cos| on held-out images (x) against the share that transfers (y, in per cent).

    Behind it the paths of shipped runs, dotted, each with its letter at the end, and that of another run.
    """
    x, y = path(history.probes)
    if not len(x) and not ghosts:
        return None
    muted, mine, now = (look.colour(role) or "white" for role in ("ghost", "0", "mark"))
    curves = []
    for ghost in ghosts:
        curves.append(Curve("." if look.ascii else "·", muted, *thin(ghost.cosine, ghost.transfer, 24), joined=False))
        curves.append(Curve(ghost.letter, muted, ghost.cosine[-1:], ghost.transfer[-1:], joined=False))
    if other is not None:
        their_x, their_y = path(other.probes)
        if len(their_x):
            colour = look.colour("2") or "white"
            if len(their_x) > 1:
                curves.append(Curve("v", colour, *thin(their_x, their_y, 200)))
            curves.append(Curve("V", colour, their_x[-1:], their_y[-1:], joined=False))
    if len(x):
        start, end = ("o", "@") if look.ascii else ("○", "●")
        if len(x) > 1:
            curves.append(Curve(".", mine, *thin(x, y, 200)))
        curves += [Curve(start, mine, x[:1], y[:1], joined=False), Curve(end, now, x[-1:], y[-1:], joined=False)]
    most = max(0.2, 1.1 * min(max(float(curve.x.max()) for curve in curves), BOUND))
    inside = [replace(curve, x=curve.x.clip(0, most), y=curve.y.clip(0, 100)) for curve in curves]
    return Picture(inside, (0.0, most), (0.0, 100.0))
