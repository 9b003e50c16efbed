"""`trs bench logging`: what is measured once an event or once a second is told per step."""

from types import SimpleNamespace

import pytest

from trs_explorer.bench import logging
from trs_explorer.config import resolve


def test_costs_are_per_step_and_their_shares_make_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"step": 0.05, "event": 0.02, "requests": 0.001, "status": 0.04}
    state = SimpleNamespace(batch_size=4, parts=1, progress=SimpleNamespace(step=0))
    monkeypatch.setattr(logging, "prepare", lambda run: state)
    monkeypatch.setattr(logging, "training_step", lambda state, order: {})
    monkeypatch.setattr(logging, "interleaved", lambda variants, rounds: {name: times[name] for name in variants})
    rows = {row["part"]: row for row in logging.bench_logging("patch", rounds=1)}
    every = resolve({"model": "patch"}).log_every
    assert every > 1
    # a step takes 1/20 s, so that 20 of them share the status of a second
    expected = {"step": 50, "event": 20 / every, "requests": 1, "status": 40 / 20}
    assert {name: row["ms"] for name, row in rows.items()} == pytest.approx(expected)
    assert {name: row["share"] for name, row in rows.items()} == pytest.approx(
        {name: ms / sum(expected.values()) for name, ms in expected.items()}
    )
