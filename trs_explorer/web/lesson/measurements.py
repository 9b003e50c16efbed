"""What the lesson's cards measure live: parse their requests, run attacks as background jobs, and format shares."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.table1 import paper
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.page_request import PageRequest, parse_request


def parse_card_request(library: Library, fields: Mapping[str, object], runs: Sequence[str], **fixed: object) -> PageRequest:
    """Parse a card's request.

    fields: the request's fields.
    runs: the runs that the card is about; the request must name one of them.
    fixed: fields that the card decides itself.
    Raises: UsageError or RunError with a message for the page.
    """
    name = str(fields.get("run", ""))
    if name not in runs:
        raise UsageError(f"this card is about {', '.join(runs)}, not {name[:80]!r}")
    return parse_request(library, {**fields, **fixed})  # without the lock: repeated polling would pause the job every time


def job_response(
    jobs: Jobs,
    key: Hashable,
    slot: str,
    make: Callable[[], Iterable[object]],
    as_json: Callable[[object], Json],
    *,
    again: bool = False,
) -> Json:
    """Respond with the progress of a job, and start it if necessary.

    key, slot, make: as in `Jobs.start`.
    as_json: converts the job's newest value.
    again: the page polls a second time; a failed job is then reported, not started anew.
    Returns: the converted value, "done" and "seconds".
    Raises: RunError if the job has failed.
    """
    snapshot = jobs.follow(key, slot, make, again=again)
    if snapshot.state == "failed":
        raise RunError(f"this could not be measured: {snapshot.error}")
    value = {} if snapshot.value is None else as_json(snapshot.value)
    return {**value, "done": snapshot.state == "done", "seconds": round(snapshot.seconds, 2)}


def share(hits: int, of: int, interval: tuple[float, float]) -> Json | None:
    """Return a share with its 95 % interval and denominator, as numbers from 0 to 1 and as text; None if `of` is 0."""
    if not of:
        return None
    low, high = interval
    text = f"{100 * hits / of:.1f} % ({100 * low:.1f}-{100 * high:.1f}), {hits} of {of}"
    return {"share": hits / of, "low": low, "high": high, "hits": hits, "of": of, "words": text}


def accuracy_share(rate: Rate | None) -> Json | None:
    """Return the share of all images that a model classifies correctly."""
    return rate and share(rate.correct, rate.n, (rate.low, rate.high))


def conditions(request: PageRequest, attacks: str) -> str:
    """Describe what figures are measured on. attacks: their description."""
    count = min(request.state.n, len(request.loaded.data))
    return f"{attacks}; seed {request.state.seed}, first {count} test images, 95 % intervals"


def paper_figures(attack: str, method: str) -> str:
    """Return the paper's Table 1 figures for MNIST at its radii, in order: "93.0 / 85.1"."""
    return " / ".join(f"{paper.figure('mnist', attack, eps, method):.1f}" for eps in paper.parameters("mnist", attack))
