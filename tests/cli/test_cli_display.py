"""Plain lines of a training: when they are due, what reaches the terminal, and that a display ends no training."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import trs_explorer
from trs_explorer import runs
from trs_explorer.cli import display, train
from trs_explorer.cli.display import event_line, headline
from trs_explorer.config import resolve

ROOT = Path(trs_explorer.__file__).parents[1]
COMMANDS = "\x1b]0;x\x07\x1b[2J[b]\u202e"


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return runs.create(tmp_path / "run", resolve({"data": "bars"}))


def shown(run: runs.Run, capsys: pytest.CaptureFixture[str], events: list[dict], *, live: bool) -> list[str]:
    capsys.readouterr()
    with display.display(run, "plain", live=live) as show:
        for event in events:
            show.event(event)
    return capsys.readouterr().out.splitlines()


def steps(seconds: float, *, back: float = 0, count: int = 63) -> list[dict]:
    """That many steps, so many seconds apart; after a quarter of them the clock is set back."""
    late = count // 4
    return [{"kind": "step", "step": i, "t": 1e9 + seconds * i - (back if i > late else 0)} for i in range(count)]


@pytest.mark.parametrize("back", [0, 86400, -86400])
def test_a_clock_that_is_set_hides_no_step_of_a_log(run: runs.Run, capsys: pytest.CaptureFixture[str], back: float) -> None:
    assert len(shown(run, capsys, steps(20, back=back), live=False)) == 63
    lines = shown(run, capsys, steps(2, back=back), live=False)
    assert 63 / 5 <= len(lines) <= 63 / 5 + 2, "a line every ten seconds, and one where the clock was set"


def test_live_lines_are_due_by_a_clock_that_nobody_sets(
    run: runs.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 1000, 2))
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    lines = shown(run, capsys, steps(0, back=86400, count=21), live=True)
    assert lines == [f"step {i}/?" for i in (0, 5, 10, 15, 20)]


def test_a_time_that_is_no_number_of_any_use_is_no_reason_to_stay_silent(
    run: runs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [{"kind": "step", "step": i, "t": t} for i, t in enumerate([10**400, None, "x", -(10**400), float("nan"), [1]])]
    assert len(shown(run, capsys, events, live=False)) == len(events)


@pytest.mark.parametrize("kind", ["start", "control", "note", "stopped", "matrix", "step"])
def test_no_event_commands_the_terminal_or_ends_the_display(run: runs.Run, kind: str) -> None:
    nested = json.loads(900 * "[" + 900 * "]")
    for value in (COMMANDS, nested, 10**400):
        names = ("action", "name", "value", "text", "error", "state", "device", "steps", "step", "epoch")
        line = event_line({"kind": kind, **dict.fromkeys(names, value)}, None, run)
        assert line is None or line.isprintable()


def test_folders_names_are_printable(tmp_path: Path) -> None:
    run = runs.Run(tmp_path / "r\udcffum\x1b[2J", resolve({}))
    assert headline(run).endswith(r"r\xffum\x1b[2J")


def test_watch_tells_a_hostile_status_printable(trs: Callable, trained: Path) -> None:
    (trained / "status.json").write_text(json.dumps({"state": COMMANDS, "heartbeat": 1}))
    result = trs("watch", trained)
    assert result.status == 0
    assert result.out.splitlines()[-1] == r"state: \x1b]0;x\x07\x1b[2J[b]\u202e"


def test_a_log_is_told_in_pieces_as_in_one(trs: Callable, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, read, sizes = trs("watch", trained), runs.read_events, []

    def counted(run: runs.Run, offset: int = 0, size: int = -1) -> runs.Batch:
        sizes.append(size)
        return read(run, offset, size)

    monkeypatch.setattr("trs_explorer.cli.watch.BATCH_BYTES", 500)
    monkeypatch.setattr(runs, "read_events", counted)
    assert trs("watch", trained).out == whole.out
    assert len(sizes) > 5
    assert set(sizes) == {500}


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "full"), UnicodeEncodeError("ascii", "ä", 0, 1, "no")])
@pytest.mark.parametrize("when", ["starting", "event"])
def test_a_display_that_cannot_print_ends_no_training(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch, when: str, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    def trains(_: runs.Run, show: Callable[[dict], object], __: object) -> int:
        for event in steps(20, count=3):
            show(event)
            done.append(event)
        return 0

    done: list[dict] = []
    monkeypatch.setattr(f"trs_explorer.cli.display._Plain.{when}", fails)
    monkeypatch.setattr(train, "train_run", trains)
    monkeypatch.setattr(train, "sys", SimpleNamespace(stdout=None))  # not pytest's own
    assert train._train_here(run, "plain") == 0
    assert len(done) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "variables"), [("| true", ""), ("| head -1", ""), ("> /dev/full", ""), ("> log", "PYTHONIOENCODING=ascii")]
)
def test_a_training_whose_lines_go_nowhere_is_finished(tmp_path: Path, end: str, variables: str) -> None:
    line = (
        f"{sys.executable} -m trs_explorer train --data bars --epochs 2 --limit 20 --device cpu --plain --out '{tmp_path}/räum2'"
    )
    ended = subprocess.run(
        ["bash", "-c", f"cd '{tmp_path}' && PYTHONPATH='{ROOT}' {variables} {line} {end}"], capture_output=True
    )
    assert b"Traceback" not in ended.stderr
    assert runs.open_run(tmp_path / "räum2").status()["state"] == "finished"
