"""What the Compare page measures live: both transfer matrices, and both ensembles' robust accuracy over eps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from dash import html

from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.explore.jobs import Jobs, Snapshot
from trs_explorer.explore.library import Loaded
from trs_explorer.web import matrix
from trs_explorer.web.compare.charts import Point
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.robust_accuracy import evaluation_attack, first_images, robust_accuracies
from trs_explorer.web.state import State, is_plane

RADII = 6  # of the curve
MAX_L2_RADIUS = 5.0  # our choice

Matrices = dict[str, tuple[html.Table, list]]


@dataclass(frozen=True)
class SideProgress:
    """What is measured of one run so far: the matrix (with the attack on the ensemble), then the curve's accuracies."""

    partial_matrix: matrix.PartialMatrix | None
    rates: list[Rate]


def radii(state: State, data: str) -> list[float]:
    """Return the radii of the curve: equal steps up to the eps of the training's probe, or up to MAX_L2_RADIUS in L2."""
    most = MAX_L2_RADIUS if state.norm == "l2" and not is_plane(data) else DATA[data].probe_eps
    return [round(most * k / RADII, 4) for k in range(1, RADII + 1)]


def measure_side(loaded: Loaded, state: State) -> Iterator[SideProgress]:
    """Measure a run's matrix, then its curve, on the first n test images."""
    partial_matrix = None
    for partial_matrix in matrix.measure_matrix(loaded, state):
        yield SideProgress(partial_matrix, [])
    for rates in measure_curve(loaded, state):
        yield SideProgress(partial_matrix, rates)


def measure_curve(loaded: Loaded, state: State) -> Iterator[list[Rate]]:
    """Measure the clean accuracy and that at every radius, on the first n test images; yield all of them after each batch."""
    x, y = first_images(loaded.data, state.n)
    attacks = [evaluation_attack(replace(state, eps=eps)) for eps in radii(state, loaded.data.name)]
    return robust_accuracies(loaded.ensemble, x, y, attacks, seed=state.seed)


def curve_points(rates: list[Rate], n: int) -> list[Point]:
    """Return the curve's points that are measured on all n images."""
    complete = (rate for rate in rates if rate.n == n)
    return [(rate.eps or 0.0, 100 * rate.correct / rate.n, 100 * rate.low, 100 * rate.high, rate.n) for rate in complete]


def live_measurements(pair: Pair, jobs: Jobs, *, again: bool) -> tuple[Matrices, dict[str, list[Point]], bool]:
    """Return what is measured so far, and whether that is all; start what is missing.

    The matrices are (table, caption) by side, the curves points by run.

    again: the page polls a second time; a failed job is then reported, not started anew.
    """
    snapshots = _snapshots(pair, jobs, again=again)
    matrices, curves = {}, {}
    for side, request in pair.sides.items():
        snapshot, loaded = snapshots[side], request.loaded
        progress = snapshot.value if isinstance(snapshot.value, SideProgress) else SideProgress(None, [])
        partial_matrix = progress.partial_matrix
        shown_matrix = partial_matrix.matrix if partial_matrix else matrix.empty_matrix(len(loaded.ensemble))
        matrix_state = "done" if progress.rates and snapshot.state == "running" else snapshot.state
        caption = matrix.matrix_caption(replace(snapshot, value=partial_matrix, state=matrix_state), request.state, loaded)
        matrices[side] = matrix.matrix_table(shown_matrix, buttons=False), caption
        if progress.rates:
            curves[loaded.name] = curve_points(progress.rates, min(request.state.n, len(loaded.data)))
    return matrices, curves, all(snapshot.state != "running" for snapshot in snapshots.values())


def _snapshots(pair: Pair, jobs: Jobs, *, again: bool) -> dict[str, Snapshot]:
    """Return the snapshots of both sides' jobs.

    Slots are numbered in the order of the keys, whichever side has them, and running jobs claim theirs first: so no job that is
    still needed is cancelled when A and B are exchanged, or one of them is replaced.
    """
    keys = {side: ("compare", *matrix.matrix_key(request.loaded, request.state)) for side, request in pair.sides.items()}
    makers = {key: partial(measure_side, pair.sides[side].loaded, pair.sides[side].state) for side, key in keys.items()}
    slots = {key: f"compare {place} of {pair.a.client}" for place, key in enumerate(sorted(makers, key=str))}
    snapshots = {}
    for key in sorted(makers, key=lambda key: jobs.get(key) is None):
        snapshots[key] = jobs.follow(key, slots[key], makers[key], again=again)
    return {side: snapshots[key] for side, key in keys.items()}
