"""A stored probe completes an old log's last one, and only that of its own weights."""

import json
import os
import shutil
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.newest_probe import completed, newest_probe, stored_probe
from trs_explorer.parse_events import parse_probe
from trs_explorer.results import PROBE, read_probe, write_probe
from trs_explorer.runs import Run, open_run
from trs_explorer.shipped import folder, shipped_runs


@pytest.fixture
def run(tmp_path: Path) -> Run:
    shutil.copytree(folder("checkpoints") / "mnist-standard", tmp_path / "run")
    return open_run(tmp_path / "run")


def test_an_old_logs_probe_is_completed_by_the_stored_one(run: Run) -> None:
    events = runs.read_events(run).events
    old = parse_probe([event for event in events if event["kind"] == "matrix"][-1])
    newest = newest_probe(run, events)
    assert newest is not None
    assert (old.cosine, old.interval) == (None, None)
    assert (newest.step, newest.eligible) == (old.step, old.eligible)
    assert newest.cosine == pytest.approx(0.253, abs=0.002)  # measured apart, by a script
    assert newest.loss_cosine == pytest.approx(old.loss_cosine, abs=1e-3)
    assert newest.differs


def test_a_log_that_has_the_log_odds_keeps_its_own(run: Run) -> None:
    events = runs.read_events(run).events
    last = [event for event in events if event["kind"] == "matrix"][-1]
    own = {**last, "log_odds_cosine": [[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1]]}
    newest = newest_probe(run, [*events, own])
    assert newest is not None
    assert newest.cosine == 0.5
    assert newest_probe(run, [event for event in events if event["kind"] != "matrix"]) is None
    stored = stored_probe(run)
    earlier = parse_probe({**last, "step": last["step"] - 1})
    assert completed(earlier, stored) is earlier


@pytest.mark.parametrize(
    "change", [{"weights": "0" * 64}, {"weights": None}, {"data_fingerprint": "other"}, None, "torn"], ids=str
)
def test_a_probe_of_other_weights_or_data_or_a_damaged_one_is_not_read(run: Run, change: object) -> None:
    good = read_probe(run)
    assert good["weights"] == run.recorded(run.checkpoints()[-1])["sha256"]
    if isinstance(change, dict):
        write_probe(run, {**good, **change})
    else:
        (run.path / "results" / PROBE).write_text(json.dumps(good)[:40] if change else "")
    assert read_probe(run) == {}
    assert stored_probe(run) is None


def test_a_probe_is_stale_once_the_training_saved_more(run: Run) -> None:
    newest = run.checkpoints()[-1].weights
    shutil.copy(newest, newest.with_name("epoch-0999.safetensors"))
    assert read_probe(run) == {}


@pytest.mark.parametrize("shipped", [run for run in shipped_runs() if run.checkpoints()], ids=lambda run: run.name)
def test_every_shipped_run_has_its_probe(shipped: Run) -> None:
    """Older logs lack |cos| by the log-odds and the interval: a stored one has both, on the same images, and the same counts."""
    old = parse_probe([event for event in runs.read_events(shipped).events if event["kind"] == "matrix"][-1])
    stored = stored_probe(shipped) or old
    assert (stored.n, stored.eps, stored.step, stored.epoch) == (old.n, old.eps, old.step, old.epoch)
    assert stored.cosine is not None
    assert stored.interval is not None
    assert stored.transfer == pytest.approx(old.transfer, abs=0.03)  # other processors, other last bits
    assert stored.loss_cosine == pytest.approx(old.loss_cosine, abs=0.002)


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "list", "huge numbers", "no log"])
def test_a_hostile_probe_is_as_good_as_none(run: Run, kind: str) -> None:
    """None of these may hang, raise or be taken for a measurement."""
    path = run.path / "results" / PROBE
    good = read_probe(run)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "list":
        path.write_text("[1, 2]")
    elif kind == "huge numbers":
        path.write_text(json.dumps({**good, "log_odds_cosine": [[1, 1e308], [1e308, 1]], "step": "x", "fooled": {"a": 1}}))
        probe = stored_probe(run)
        assert probe is not None
        assert (probe.rates, probe.transfer) == (None, None)
        return
    else:
        write_probe(run, good)
        (run.path / "events.jsonl").unlink()
    assert stored_probe(run) is None
