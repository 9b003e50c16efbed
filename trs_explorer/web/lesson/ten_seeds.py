"""The figures of a trained pair, and those of ten seeds of every corner, which ship with the lesson.

    python -m trs_explorer.web.lesson.ten_seeds      trains them anew and writes them: minutes

A machine that adds in another order ends elsewhere: single seeds differ, their means hardly.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from trs_explorer.evaluation.bounds import lower_bound, upper_bound
from trs_explorer.explore.two_nets import CORNERS, EPS, UNIT, Result, Settings, train
from trs_explorer.files import Json
from trs_explorer.shipped import folder

SEEDS = range(10)  # those that the weights were chosen on
OTHERS = range(10, 20)  # looked at once, afterwards


def figures(result: Result) -> Json:
    """A pair's numbers for the cards, lengths as in the plane.

    fooled of eligible: transfer, of both directions; interval: 95 %.  transferred of shown: the theorems' Pr(T_r = 1), of all
    attacks.  lowest, highest, beta, steepest, least: the worse of both directions' samples.  lower, upper: the better of both
    directions' bounds, null where neither applies.  within: single networks fooled, and both, by attacks of radius `promised`.
    """
    fooled, eligible = result.transfer.pooled()
    theory, own = result.theory, result.within.fooled
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
        "alone": [result.transfer.fooled[k][k] for k in range(2)],
        "transferred": sum(found.transferred for found in theory),
        "shown": sum(found.n for found in theory),
        "eps": EPS,
        "lowest": min(found.lowest for found in theory),
        "highest": max(found.highest for found in theory),
        "beta": max(found.beta for found in theory) / UNIT**2,
        "steepest": max(found.steepest for found in theory) / UNIT,
        "least": min(found.least for found in theory),
        "loss": theory[0].loss_f + theory[0].loss_g,
        "lower": max(lower, default=None),
        "upper": min(upper, default=None),
        "promised": result.promised,
        "within": [own[0][0] + own[1][1], result.within.pooled()[0]],
    }


def measured(seeds: range) -> Iterator[Json]:
    """The figures of all corners on some seeds, trained now."""
    for corner, weights in CORNERS.items():
        for seed in seeds:
            *_, last = train(Settings(*weights, seed))
            yield {"corner": corner, "seed": seed, **figures(last.result)}


@cache
def stored() -> list[Json]:
    """The figures of ten seeds of every corner, and of ten others."""
    return json.loads(_file().read_text())


def _file() -> Path:
    return folder("assets") / "web" / "lesson" / "ten-seeds.json"


def _rounded(value: object) -> object:
    """Five digits of every number that is not whole."""
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
