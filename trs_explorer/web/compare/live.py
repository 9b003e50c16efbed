"""What is measured for the page while one looks: both transfer matrices, and robust accuracy over eps of both ensembles."""

from collections.abc import Iterator
from dataclasses import replace

from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.accuracy import Rate, measure
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.live import Jobs, Snapshot, polite
from trs_explorer.files import Json
from trs_explorer.web import matrix
from trs_explorer.web.asked import Asked
from trs_explorer.web.compare.charts import Point
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.markup import markup
from trs_explorer.web.state import State
from trs_explorer.web.walks import attack_of

RADII = 6  # of the curve, up to the data's widest of interest


def radii(data: str) -> list[float]:
    """The radii of the curve: equal steps up to the training's probe, which leaves little of most ensembles."""
    most = DATA[data].probe_eps
    return [round(most * k / RADII, 4) for k in range(1, RADII + 1)]


def curve(loaded: Loaded, state: State) -> Iterator[dict[float, Rate]]:
    """Robust accuracy at every radius, clean at 0, on the first n test images; yielded whenever one has grown."""
    count = min(state.n, len(loaded.data))
    x, y = loaded.data.images(slice(0, count)), loaded.data.y[:count]
    attacks = []
    for eps in radii(loaded.data.name):
        name, attack = attack_of(replace(state, eps=eps))
        attack = polite(attack)

        attacks.append((name, matrix.bound(attack), {"eps": eps, "norm": state.norm}))
    found: dict[float, Rate] = {}
    for position, rate in measure(loaded.ensemble, x, y, attacks=attacks, batch_size=matrix.BATCH, seed=state.seed):
        found = {**found, ([0.0, *radii(loaded.data.name)][position]): rate}
        yield found


def points(found: dict[float, Rate], n: int) -> list[Point]:
    """The curve's points that are measured on all n images."""
    whole = ((eps, rate) for eps, rate in sorted(found.items()) if rate.n == n)
    return [(eps, 100 * rate.correct / rate.n, 100 * rate.low, 100 * rate.high, rate.n) for eps, rate in whole]


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
        if isinstance(line.value, dict):
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
