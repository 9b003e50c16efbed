"""The figures of a trained pair, and the stored figures of ten seeds for every setting, which ship with the lesson.

    python -m trs_explorer.web.lesson.ten_seeds      trains the pairs again and writes the file: takes minutes

A machine that sums in another order gets other results: single seeds differ, their means hardly.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from trs_explorer.evaluation.bounds.theorems import lower_bound, upper_bound
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.explore.two_nets import CORNERS, EPS, UNIT, Result, Settings, train
from trs_explorer.figures.lesson import Share
from trs_explorer.files import Json
from trs_explorer.shipped import folder

SEEDS = range(10)  # on which the weights were chosen
OTHERS = range(10, 20)  # evaluated once, afterwards


def figures(result: Result) -> Json:
    """Return a pair's numbers for the cards. Lengths are those of the plane.

    fooled, eligible, interval: transfer over both directions, with its 95 % interval: of the points that both networks classify
    correctly and whose attack fools its own network, those that fool the other too. What the cards call transfer is this.
    directions: the same from F to G, and from G to F: fooled, eligible.
    transferred, shown: the theorems' Pr(T_r = 1), counted over all attacks.
    lowest, highest, beta, steepest, least: the worse of both directions' samples. What the cards call beta is this: the largest
    secant of the loss's gradient found (Definition 5).
    lower, upper: the better of both directions' bounds; null if neither applies.
    within: how often attacks of radius `promised` fool one network, and both.
    """
    fooled, eligible = result.transfer.pooled()
    theory, within = result.theory, result.within.fooled
    lower = [bound for bound in map(lower_bound, theory) if bound is not None]
    upper = [bound for bound in map(upper_bound, theory) if bound is not None]
    return {
        "cosine": result.cosine,
        "around": result.around,
        "roughness": result.beta,
        "accuracy": list(result.accuracy),
        "n": result.transfer.n,
        "fooled": fooled,
        "eligible": eligible,
        "interval": list(result.transfer.pooled_interval()),
        "directions": [[result.transfer.fooled[i][1 - i], result.transfer.eligible[i][1 - i]] for i in range(2)],
        "alone": [result.transfer.fooled[k][k] for k in range(2)],
        "transferred": sum(one.transferred for one in theory),
        "shown": sum(one.n for one in theory),
        "eps": EPS,
        "lowest": min(one.lowest for one in theory),
        "highest": max(one.highest for one in theory),
        "beta": max(one.beta for one in theory) / UNIT**2,
        "steepest": max(one.steepest for one in theory) / UNIT,
        "least": min(one.least for one in theory),
        "loss": theory[0].loss_f + theory[0].loss_g,
        "lower": max(lower, default=None),
        "upper": min(upper, default=None),
        "promised": result.promised,
        "within": [within[0][0] + within[1][1], result.within.pooled()[0]],
    }


def measured(seeds: range) -> Iterator[Json]:
    """Train every setting on some seeds, and yield the figures."""
    for corner, weights in CORNERS.items():
        for seed in seeds:
            *_, last = train(Settings(*weights, seed))
            yield {"corner": corner, "seed": seed, **figures(last.result)}


def transfer_of(rows: Iterable[Json]) -> Share | None:
    """Return the transfer of all rows together, over both directions, with Wilson's interval; None if no attack fools."""
    rows = list(rows)
    fooled, eligible = sum(row["fooled"] for row in rows), sum(row["eligible"] for row in rows)
    interval = tuple(rows[0]["interval"]) if len(rows) == 1 else wilson(fooled, eligible)
    return Share(fooled, eligible, *interval) if eligible else None


def transfer_shares(corner: str, seeds: range = SEEDS) -> list[float]:
    """Return the transfer of each stored training of a setting, in per cent."""
    return [100 * row["fooled"] / row["eligible"] for row in stored() if row["corner"] == corner and row["seed"] in seeds]


def range_text(shares: Sequence[float]) -> str:
    """Format the lowest and the highest of these shares in per cent."""
    return f"{min(shares):.0f} to {max(shares):.0f}\u00a0%"


@cache
def stored() -> list[Json]:
    """Return the stored figures of every setting, for SEEDS and OTHERS."""
    return json.loads(_file().read_text())


def _file() -> Path:
    return folder("assets") / "web" / "lesson" / "ten-seeds.json"


def _rounded(value: object) -> object:
    """Round every number that is not whole to five digits."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    rows = []
    for row in measured(range(SEEDS.start, OTHERS.stop)):
        rows.append(row)
        print(row["corner"], row["seed"], f"{row['fooled']}/{row['eligible']}", flush=True)
    _file().write_text("[\n" + ",\n".join(json.dumps(_rounded(row)) for row in rows) + "\n]\n")
