"""What the lesson's cards measure live: parse their requests, run attacks as background jobs, and describe the conditions."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.table1 import paper
from trs_explorer.explore.jobs import Snapshot
from trs_explorer.explore.library import Library
from trs_explorer.figures.lesson import Share
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.web.lesson.view import CardRequest
from trs_explorer.web.page_request import PageRequest, parse_request


def parse_card_request(library: Library, fields: Mapping[str, object], runs: Sequence[str], **fixed: object) -> PageRequest:
    """Parse a card's request.

    fields: the request's fields.
    runs: the runs that the card is about; the request must name one of them.
    fixed: fields that the card decides itself. It takes no picture of the user's.
    Raises: UsageError or RunError with a message for the page.
    """
    name = str(fields.get("run", ""))
    if name not in runs:
        raise UsageError(f"this card is about {', '.join(runs)}, not {name[:80]!r}")
    return parse_request(
        library, {**fields, **fixed, "own": ""}
    )  # without the lock: repeated polling would pause the job every time


def requests_of_runs(card: CardRequest, runs: Sequence[str], **fixed: object) -> tuple[dict[str, PageRequest], str]:
    """Parse the card's request for each of its runs that is there, and say how to get those that are not."""
    there = [run for run in runs if run in card.library.runs()]
    parsed = {run: parse_card_request(card.library, {**card.fields, "run": run}, runs, **fixed) for run in there}
    missing = [run for run in runs if run not in there]
    how = [f"trs train --method {run.removeprefix('mnist-')} --out checkpoints/{run}" for run in missing]
    sentences = [f"{run} is not here: trs lesson has it, or {command}." for run, command in zip(missing, how, strict=True)]
    return parsed, " ".join(sentences)


def follow(card: CardRequest, key: Hashable, make: Callable[[], Iterable[object]]) -> Snapshot:
    """Return the progress of a job in the card's slot, and start it if necessary. Raises: RunError if the job has failed.

    A job that is done leaves the slot to the next one: a card measures one thing after the other.
    """
    job = card.jobs.get(key)
    if job and job.state == "done":
        return job
    snapshot = card.jobs.follow(key, card.slot, make, again=card.again)
    if snapshot.state == "failed":
        raise RunError(f"this could not be measured: {snapshot.error}")
    return snapshot


def share(hits: int, of: int, interval: tuple[float, float]) -> Share | None:
    """Return a share with its 95 % interval; None if `of` is 0."""
    return Share(hits, of, *interval) if of else None


def accuracy_share(rate: Rate | None) -> Share | None:
    """Return the share of all images that a model classifies correctly; None if it is not measured yet."""
    return share(rate.correct, rate.n, (rate.low, rate.high)) if rate else None


def conditions(request: PageRequest, attacks: str) -> str:
    """Describe what figures are measured on. attacks: their description."""
    count = min(request.state.n, len(request.loaded.data))
    return f"{attacks}; seed {request.state.seed}, first {count} test images, 95 % intervals."


def paper_figures(attack: str, method: str) -> str:
    """Return the paper's Table 1 figures for MNIST at its radii, in order: "93.0 / 85.1"."""
    return " / ".join(f"{paper.figure('mnist', attack, eps, method):.1f}" for eps in paper.parameters("mnist", attack))
