"""Shipped runs to compare a run with: similarity and transfer over their training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trs_explorer import runs
from trs_explorer.config import same_split
from trs_explorer.newest_probe import completed, stored_probe
from trs_explorer.parse_events import PROBE, Probe, parse_probe
from trs_explorer.shipped import shipped_runs

LETTERS = {"standard": "P", "cos-only": "C", "smooth-only": "S", "dverge": "D", "trs": "T"}  # P: plain


@dataclass(frozen=True)
class ReferenceRun:
    """A shipped run: mean |cos| on held-out images and transfer in per cent, at every probe that has both.

    cosine, transfer: |cos| by the log-odds. Of logs of older versions the end alone has been measured, if at all.
    loss_cosine, loss_transfer: |cos| of the cross-entropy's gradients.
    """

    letter: str
    name: str
    cosine: np.ndarray
    transfer: np.ndarray
    loss_cosine: np.ndarray
    loss_transfer: np.ndarray


def similarity_and_transfer(probes: Sequence[Probe], *, by_loss: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean |cos| and transfer in per cent of the probes that have both. by_loss: of the cross-entropy's gradients."""
    pairs = [(probe.loss_cosine if by_loss else probe.cosine, probe.transfer) for probe in probes]
    points = [(cosine, transfer) for cosine, transfer in pairs if cosine is not None and transfer is not None]
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    return x, 100 * y.clip(-1e300, 1e300)


def reference_runs_for(run: runs.Run) -> list[ReferenceRun]:
    """Shipped runs on the same data as `run`, the first of each method above; not `run` itself, and no damaged ones."""
    references: dict[str, ReferenceRun] = {}
    first: dict[str, runs.Run] = {}
    for other in shipped_runs():
        letter = LETTERS.get(other.config.method)
        if letter is not None and same_split(other.config, run.config, "test"):
            first.setdefault(letter, other)
    for letter, other in first.items():
        if other.path.resolve() == run.path.resolve():
            continue
        try:
            events = runs.read_events(other).events
        except OSError:
            continue
        stored = stored_probe(other)
        probes = [completed(parse_probe(event), stored) for event in events if event["kind"] == PROBE]
        by_odds, by_loss = similarity_and_transfer(probes), similarity_and_transfer(probes, by_loss=True)
        if len(by_odds[0]) or len(by_loss[0]):
            references.setdefault(letter, ReferenceRun(letter, other.config.method, *by_odds, *by_loss))
    return list(references.values())
