"""Probes of logs of older versions, which lack |cos| by the log-odds, completed by a later measurement of the same weights."""

from collections.abc import Sequence

from trs_explorer.files import Json
from trs_explorer.parse_events import PROBE, Probe, parse_probe
from trs_explorer.results import read_probe
from trs_explorer.runs import Run


def stored_probe(run: Run) -> Probe | None:
    """The probe of a run's newest weights that `trs transfer RUN --probe` has stored; None if there is none of these weights."""
    stored = read_probe(run)
    return parse_probe(stored) if stored else None


def completed(probe: Probe, stored: Probe | None) -> Probe:
    """A probe of a log, or the stored one if that is of the same step and the log's lacks the log-odds."""
    return stored if stored is not None and probe.cosine is None and stored.step == probe.step else probe


def newest_probe(run: Run, events: Sequence[Json]) -> Probe | None:
    """The last probe in a run's events, completed by the stored one; None without any."""
    last = next((event for event in reversed(events) if event["kind"] == PROBE), None)
    return None if last is None else completed(parse_probe(last), stored_probe(run))
