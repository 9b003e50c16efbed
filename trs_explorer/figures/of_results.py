"""Figures of what was measured or logged: a transfer matrix, bounds on transfer, a training's curves, accuracies over eps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.bounds.of_pairs import Bounds
from trs_explorer.evaluation.transfer import TransferMatrix
from trs_explorer.events import read_events
from trs_explorer.explore.slice_plane import model_names
from trs_explorer.figures.bounds_figure import bounds_figure
from trs_explorer.figures.matrix_figure import Transfer, matrix_figure, matrix_width
from trs_explorer.figures.runs import Point, curves_figure
from trs_explorer.figures.training_figure import training_figure
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import Run
from trs_explorer.shipped import run_at

Rates = Mapping[str, Rate] | Sequence[Rate]
TRAINING_PX = 520  # height of the curves with their key


def matrix(matrix: TransferMatrix, *, names: Sequence[str] | None = None, look: str = "light", caption: str = "") -> go.Figure:
    """Return a transfer matrix as a plotly figure: a row for each surrogate, a column for each target.

    A cell has its rate in %, the 95 % interval and the number of images that it is a share of.

    - matrix: of `trs.transfer_matrix`.
    - names: of the members; by default F1, F2, ...
    - look, caption: light, dark or print; text below.
    """
    figure = matrix_figure(matrix_to_draw(matrix, names), look=look, caption=caption)
    return figure.update_layout(width=matrix_width(len(matrix.fooled[0])))


def matrix_to_draw(matrix: TransferMatrix, names: Sequence[str] | None = None) -> Transfer:
    """Return a matrix for `matrix_figure`. names: of the members."""
    rows, columns = len(matrix.fooled), len(matrix.fooled[0])
    models = model_names(rows) if names is None else [*names, "ensemble"]
    if len(models) != rows + 1:
        raise UsageError(f"names must be those of the {rows} members, got {len(models) - 1}")
    intervals = [[matrix.interval(i, j) for j in range(columns)] for i in range(rows)]
    return Transfer(models[:rows], models[:columns], matrix.fooled, matrix.eligible, intervals)


def bounds(
    result: Bounds | Json | Sequence[Json],
    *,
    pair: tuple[int, int] | None = None,
    look: str = "light",
    caption: str = "",
) -> go.Figure:
    """Return the bounds on transfer as a plotly figure: over eps, or along a training.

    - result: of `trs.bounds`; or what `trs bounds --json` has written: one result, or several, of the epochs of a training.
    - pair: (surrogate, target), members from 0; None: the means over all pairs, in which a vacuous bound is 0 % or 100 %.
    - look, caption: light, dark or print; text above.

    Raises: UsageError for a pair that there is not, or for a pair along a training.
    """
    if isinstance(result, Bounds):
        result = result.to_json()
    if isinstance(result, Sequence) and len(result) == 1:
        result = result[0]
    settings: Json = {"look": look, "caption": caption}
    if pair is None:
        return bounds_figure(result, **settings)
    if not isinstance(result, Mapping):
        raise UsageError("a pair is of one result: pass one of them")
    pairs = [(one["surrogate"], one["target"]) for one in result["pairs"]]
    if tuple(pair) not in pairs:
        raise UsageError(f"pair must be two different members, 0 to {max(max(pairs))}, got {pair}")
    return bounds_figure(result, pair=tuple(pair), **settings)


def training(run: str | Path | Run | Sequence[Json], *, look: str = "light") -> go.Figure:
    """Return the curves of a training as a plotly figure: loss terms above, similarity and transfer of the probe below.

    run: its folder, the name of a run that ships, or the events that `trs.train` has yielded so far.
    """
    if isinstance(run, str | Path):
        run = run_at(Path(run))
    figure = training_figure(read_events(run).events if isinstance(run, Run) else run, look=look)
    return figure.update_layout(height=TRAINING_PX)


def compare(rates: Mapping[str, Rates], *, look: str = "light") -> go.Figure:
    """Return robust accuracy over eps as a plotly figure: a small chart for each attack, a line for each ensemble.

    rates: by the ensemble's name, what `trs.evaluate` has returned. The first two are drawn with their 95 % intervals. Rates
        without an eps, but the clean one (at eps 0), are left out.
    Raises: UsageError if there is nothing to draw.
    """
    curves: dict[str, dict[str, list[Point]]] = {}
    for name, of_one in rates.items():
        every = [*(of_one.values() if isinstance(of_one, Mapping) else of_one)]
        clean = [_point(rate) for rate in every if rate.name == "clean" and rate.n]
        for rate in every:
            if rate.name != "clean" and rate.eps is not None and rate.n:
                curves.setdefault(rate.name, {}).setdefault(name, [*clean]).append(_point(rate))
    if not curves:
        raise UsageError("no rates under an attack with a radius: measure some, trs.evaluate(..., attacks={'pgd': [0.1, 0.2]})")
    drawn = {attack: {name: sorted(points) for name, points in lines.items()} for attack, lines in curves.items()}
    sides: dict[str, Any] = dict(zip("ab", rates, strict=False))
    return curves_figure(drawn, sides, look=look)


def _point(rate: Rate) -> Point:
    return rate.eps or 0.0, 100 * rate.correct / rate.n, 100 * rate.low, 100 * rate.high, rate.n
