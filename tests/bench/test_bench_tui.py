"""`trs bench tui`: its pure parts, and once (slow) the whole; never how fast it is."""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("termios", reason="no pseudo-terminal on this system")

from trs_explorer.bench import dashboard
from trs_explorer.bench.dashboard import LONG, row, spread
from trs_explorer.bench.terminal import cpu_seconds, stripped


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[1;38;2;1;2;3mpause\x1b[0m or \x1b[3mresume\x1b[m", "pause or resume"),
        (b"\x1b]0;a title\x07left\x1b]8;;http://x\x1b\\right", "leftright"),
        (b"\x1b[?1049h\x1b[?2026$p\x1b[>1uab\x1b[12;3Hcd\x1b7\x1b(Bef", "abcdef"),
        (b"\x1bP=1s\x1b\\a\x1bP=2s\x1b\\", "a"),
        ("λa ⣿".encode() + b"\xff", "λa ⣿\ufffd"),
    ],
)
def test_the_text_is_what_is_left_of_the_output(output: bytes, text: str) -> None:
    assert stripped(output) == text


def test_a_target_is_met_or_not_or_there_is_none() -> None:
    assert row("x", 50.0, "ms", 50)["met"] == "yes"
    assert row("x", 50.1, "ms", 50)["met"] == "NO"
    assert row("x", 50.1, "ms")["met"] == ""
    assert row("x", None, "%", 10)["met"] == ""


def test_the_95th_percentile_has_the_target() -> None:
    half, most = spread("x", [i / 1000 for i in range(101)], 90)
    assert (half["what"], half["measured"], half["target"]) == ("x, p50", pytest.approx(50), None)
    assert (most["what"], most["measured"], most["met"]) == ("x, p95", pytest.approx(95), "NO")


def test_cpu_time_is_that_of_a_process_and_all_below_it(tmp_path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").touch()
    for pid, parent in ((5, 1), (6, 5), (7, 6), (8, 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b) S {parent} {'0 ' * 9} 10 20 30 40 20 0")
    assert cpu_seconds(5, tmp_path) == pytest.approx(3 * 100 / os.sysconf("SC_CLK_TCK"))
    assert cpu_seconds(5, tmp_path / "nowhere") is None


@pytest.mark.slow
@pytest.mark.campaign
def test_every_figure_is_there(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from trs_explorer.cli import main

    monkeypatch.setattr(sys, "argv", ["trs", "bench", "tui", "--rounds", "3", "--json", str(tmp_path / "figures.json")])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr().out
    assert ended.value.code == 0
    assert "trs bench logging" in output
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert [row["unit"] for row in rows] == ["ms", "ms", "ms", "ms", "%", "ms", "ms", "ms"]
    assert [row["target"] for row in rows] == [None, 50, None, 500, 10, None, 1000, None]
    assert f"{LONG:,} events" in rows[-1]["what"]
    measured = [row for row in rows if row["measured"] is not None]  # no /proc, no CPU time
    assert len(measured) >= 7
    assert all(math.isfinite(row["measured"]) for row in measured)


def test_each_time_stands_in_its_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """With times given: nothing is started, nothing recorded."""

    @contextmanager
    def nothing(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(wait_for=lambda text: 0.0, watch=lambda seconds: None)

    times = {"10": (0.5, 0.5), str(LONG): (0.75, 2.0)}
    for name, stub in {
        "write_run": lambda path, events: SimpleNamespace(name=path.name, path=path),
        "fake_trainer": nothing,
        "Terminal": nothing,
        "key_to_paint": lambda terminal, rng: 0.02,
        "record_to_screen": lambda terminal, writer, token, rng: 0.3,
        "share_of_core": lambda terminal, seconds: 0.04,
        "attach": lambda run: times[run.name],
    }.items():
        monkeypatch.setattr(dashboard, name, stub)
    rows = {row["what"]: (row["measured"], row["unit"]) for row in dashboard.bench_tui(5, lambda doing: None)}
    assert rows == {
        "key to paint, p50": (pytest.approx(20), "ms"),
        "key to paint, p95": (pytest.approx(20), "ms"),
        "record to screen, p50": (pytest.approx(300), "ms"),
        "record to screen, p95": (pytest.approx(300), "ms"),
        "share of a core, 10 events/s": (4, "%"),
        "attach to 10 events": (500, "ms"),
        "attach to 100,000 events: the newest shown": (750, "ms"),
        "attach to 100,000 events: all read": (2000, "ms"),
    }
