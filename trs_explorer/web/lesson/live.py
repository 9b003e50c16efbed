"""What cards ask of this machine while the class looks on: runs, attacks in the background, shares in words."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.table1 import paper
from trs_explorer.explore.library import Library
from trs_explorer.explore.live import Jobs
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.asked import Asked, understand


def asked_of(library: Library, wish: Mapping[str, object], runs: Sequence[str], **fixed: object) -> Asked:
    """What a card asks, of one of its runs, with what the card does not leave open. Raises UsageError, RunError: in words."""
    name = str(wish.get("run", ""))
    if name not in runs:
        raise UsageError(f"this card is about {', '.join(runs)}, not {name[:80]!r}")
    return understand(library, {**wish, **fixed})  # without a turn: asked again and again, it would stop the job every time


def followed(
    jobs: Jobs,
    key: Hashable,
    slot: str,
    make: Callable[[], Iterable[object]],
    told: Callable[[object], Json],
    *,
    again: bool = False,
) -> Json:
    """How far a job is, started if it was not: what `told` says of its newest value; whether it is done, and its seconds.

    again: the page has asked before. Then a job that has failed is told, where the first time it is tried anew: RunError.
    """
    snapshot = jobs.follow(key, slot, make, again=again)
    if snapshot.state == "failed":
        raise RunError(f"this could not be measured: {snapshot.error}")
    found = {} if snapshot.value is None else told(snapshot.value)
    return {**found, "done": snapshot.state == "done", "seconds": round(snapshot.seconds, 2)}


def share(hits: int, of: int, interval: tuple[float, float]) -> Json | None:
    """A share with its 95 % interval and its denominator, in numbers from 0 to 1 and in words; None of nothing."""
    if not of:
        return None
    low, high = interval
    words = f"{100 * hits / of:.1f} % ({100 * low:.1f}-{100 * high:.1f}), {hits} of {of}"
    return {"share": hits / of, "low": low, "high": high, "hits": hits, "of": of, "words": words}


def right(rate: Rate | None) -> Json | None:
    """The share of all images that a model has right."""
    return rate and share(rate.correct, rate.n, (rate.low, rate.high))


def about(asked: Asked, attacks: str) -> str:
    """What figures are of: attacks in words, and on which images."""
    count = min(asked.state.n, len(asked.loaded.data))
    return f"{attacks}; seed {asked.state.seed}, first {count} test images, 95 % intervals"


def in_paper(attack: str, method: str) -> str:
    """The figures of the paper's Table 1 on MNIST, at its radii in their order: "93.0 / 85.1"."""
    return " / ".join(f"{paper.figure('mnist', attack, eps, method):.1f}" for eps in paper.parameters("mnist", attack))
