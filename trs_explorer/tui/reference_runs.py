"""Shipped runs to compare a run with: similarity and transfer over their training."""

from dataclasses import dataclass

import numpy as np

from trs_explorer import runs
from trs_explorer.config import same_split
from trs_explorer.parse_events import Probe, parse_probe
from trs_explorer.shipped import shipped_runs

LETTERS = {"standard": "P", "cos-only": "C", "smooth-only": "S", "dverge": "D", "trs": "T"}  # P: plain


@dataclass(frozen=True)
class ReferenceRun:
    """A shipped run: mean |cos| on held-out images and transfer in per cent at every probe."""

    letter: str
    name: str
    cosine: np.ndarray
    transfer: np.ndarray


def similarity_and_transfer(probes: list[Probe]) -> tuple[np.ndarray, np.ndarray]:
    """Mean |cos| and transfer in per cent of the probes that have both."""
    points = [(p.cosine, p.transfer) for p in probes if p.cosine is not None and p.transfer is not None]
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    return x, 100 * y.clip(-1e300, 1e300)


def reference_runs_for(run: runs.Run) -> list[ReferenceRun]:
    """Shipped runs on the same data as `run`, the first of each method above; not `run` itself, and no damaged ones."""
    references: dict[str, ReferenceRun] = {}
    for other in shipped_runs():
        letter = LETTERS.get(other.config.method)
        if letter is None or not same_split(other.config, run.config, "test") or other.path.resolve() == run.path.resolve():
            continue
        try:
            events = runs.read_events(other).events
        except OSError:
            continue
        x, y = similarity_and_transfer([parse_probe(event) for event in events if event["kind"] == "matrix"])
        if len(x):
            references.setdefault(letter, ReferenceRun(letter, other.config.method, x, y))
    return list(references.values())
