"""What is measured for the page while one looks: both transfer matrices, and robust accuracy over eps of both ensembles."""

from collections.abc import Iterator
from dataclasses import replace

from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.live import Jobs, Snapshot
from trs_explorer.files import Json
from trs_explorer.web import matrix
from trs_explorer.web.asked import Asked
from trs_explorer.web.compare.charts import Point
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.markup import markup
from trs_explorer.web.robust import attack_on, first_images, robust
from trs_explorer.web.state import State

RADII = 6  # of the curve, up to the data's widest of interest


def radii(data: str) -> list[float]:
    """The radii of the curve: equal steps up to the training's probe, which leaves little of most ensembles."""
    most = DATA[data].probe_eps
    return [round(most * k / RADII, 4) for k in range(1, RADII + 1)]


def curve(loaded: Loaded, state: State) -> Iterator[list[Rate]]:
    """Robust accuracy clean and at every radius, on the first n test images; all of them whenever one has grown."""
    x, y = first_images(loaded.data, state.n)
    attacks = [attack_on(replace(state, eps=eps)) for eps in radii(loaded.data.name)]
    return robust(loaded.ensemble, x, y, attacks, seed=state.seed)


def points(found: list[Rate], n: int) -> list[Point]:
    """The curve's points that are measured on all n images."""
    whole = (rate for rate in found if rate.n == n)
    return [(rate.eps or 0.0, 100 * rate.correct / rate.n, 100 * rate.low, 100 * rate.high, rate.n) for rate in whole]


def measured(pair: Pair, jobs: Jobs) -> tuple[Json, dict[str, list[Point]], bool]:
    """Both matrices and both curves as far as they are, started if they were not; and whether all are done."""
    told, curves, done = {}, {}, True
    for side, asked in pair.sides.items():
        shot = _matrix(side, asked, jobs)
        found = shot.value
        filled = found.matrix if isinstance(found, matrix.Measured) else matrix.nothing_yet(len(asked.loaded.ensemble))
        words = matrix.matrix_words(shot, asked.state, asked.loaded)
        told[side] = {"matrix": markup(matrix.matrix_table(filled, buttons=False)), "words": markup(words)}
        line = _curve(side, asked, jobs)
        if isinstance(line.value, list):
            curves[asked.loaded.name] = points(line.value, min(asked.state.n, len(asked.loaded.data)))
        if line.state == "failed":
            told[side]["words"] += markup(f" The curve could not be measured: {line.error}")
        done = done and shot.state != "running" and line.state != "running"
    return told, curves, done


def _matrix(side: str, asked: Asked, jobs: Jobs) -> Snapshot:
    key = matrix.key(asked.loaded, asked.state)
    return jobs.start(key, f"compare {side} of {asked.client}", lambda: matrix.measuring(asked.loaded, asked.state))


def _curve(side: str, asked: Asked, jobs: Jobs) -> Snapshot:
    state = replace(asked.state, eps=0.0)  # the curve has radii of its own
    key = ("curve", *matrix.key(asked.loaded, state))
    return jobs.start(key, f"curve {side} of {asked.client}", lambda: curve(asked.loaded, state))
