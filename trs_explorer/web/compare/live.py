"""What is measured for the page while one looks: both transfer matrices, and robust accuracy over eps of both ensembles."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.live import Jobs, Snapshot
from trs_explorer.files import Json
from trs_explorer.web import matrix
from trs_explorer.web.compare.charts import Point
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.markup import markup
from trs_explorer.web.robust import attack_on, first_images, robust
from trs_explorer.web.state import State, is_plane

RADII = 6  # of the curve
WIDEST_L2 = 5.0  # as on the slider


@dataclass(frozen=True)
class Side:
    """What is measured of one run so far: the matrix with the attack on the ensemble itself, then the curve's rates."""

    found: matrix.Measured | None
    rates: list[Rate]


def radii(state: State, data: str) -> list[float]:
    """The radii of the curve: equal steps up to the training's probe, which leaves little of most ensembles; wider in L2."""
    most = WIDEST_L2 if state.norm == "l2" and not is_plane(data) else DATA[data].probe_eps
    return [round(most * k / RADII, 4) for k in range(1, RADII + 1)]


def side(loaded: Loaded, state: State) -> Iterator[Side]:
    """A run's matrix as it fills, then its curve, on the first n test images."""
    found = None
    for found in matrix.measuring(loaded, state):
        yield Side(found, [])
    for rates in curve(loaded, state):
        yield Side(found, rates)


def curve(loaded: Loaded, state: State) -> Iterator[list[Rate]]:
    """Robust accuracy clean and at every radius, on the first n test images; all of them whenever one has grown."""
    x, y = first_images(loaded.data, state.n)
    attacks = [attack_on(replace(state, eps=eps)) for eps in radii(state, loaded.data.name)]
    return robust(loaded.ensemble, x, y, attacks, seed=state.seed)


def points(found: list[Rate], n: int) -> list[Point]:
    """The curve's points that are measured on all n images."""
    whole = (rate for rate in found if rate.n == n)
    return [(rate.eps or 0.0, 100 * rate.correct / rate.n, 100 * rate.low, 100 * rate.high, rate.n) for rate in whole]


def measured(pair: Pair, jobs: Jobs, *, again: bool) -> tuple[Json, dict[str, list[Point]], bool]:
    """Both matrices and both curves as far as they are, started if they were not; and whether all are done.

    again: the page has asked before; what has failed is then told, and not tried anew.
    """
    shots = _followed(pair, jobs, again=again)
    told, curves = {}, {}
    for name, asked in pair.sides.items():
        shot, loaded = shots[name], asked.loaded
        now = shot.value if isinstance(shot.value, Side) else Side(None, [])
        filled = now.found.matrix if now.found else matrix.empty_rate(len(loaded.ensemble))
        state = "done" if now.rates and shot.state == "running" else shot.state  # of the matrix
        words = matrix.matrix_words(replace(shot, value=now.found, state=state), asked.state, loaded)
        told[name] = {"matrix": markup(matrix.matrix_table(filled, buttons=False)), "words": markup(words)}
        if now.rates:
            curves[loaded.name] = points(now.rates, min(asked.state.n, len(loaded.data)))
    return told, curves, all(shot.state != "running" for shot in shots.values())


def _followed(pair: Pair, jobs: Jobs, *, again: bool) -> dict[str, Snapshot]:
    """The jobs of both sides.

    Slots are in the order of the keys, whichever side has them, and what runs is claimed first: so nothing that is still wanted
    is cancelled when A and B are exchanged, or one of them is replaced.
    """
    keys = {name: ("compare", *matrix.key(asked.loaded, asked.state)) for name, asked in pair.sides.items()}
    jobs_of = {key: partial(side, pair.sides[name].loaded, pair.sides[name].state) for name, key in keys.items()}
    slots = {key: f"compare {place} of {pair.a.client}" for place, key in enumerate(sorted(jobs_of, key=str))}
    shots = {}
    for key in sorted(jobs_of, key=lambda key: jobs.get(key) is None):
        shots[key] = jobs.follow(key, slots[key], jobs_of[key], again=again)
    return {name: shots[key] for name, key in keys.items()}
