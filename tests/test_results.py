"""Stored evaluations: what is in the way, what is damaged, what killed ones leave. As it should be: test_runs.py."""

import json
import math
import os
from pathlib import Path

import pytest

from trs_explorer import results, runs
from trs_explorer.config import resolve

GONE = 4_194_999  # above every number that a process can have


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    return runs.create(tmp_path / "run", resolve({"data": "bars"}))


def test_nothing_is_stored_or_removed_through_a_link(run: runs.Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f".a.json.{GONE}.tmp").touch()
    (run.path / "results").symlink_to(tmp_path / "elsewhere")
    for write in (lambda: results.write_result(run, "evaluate", {}), lambda: results.write_table(run, {})):
        with pytest.raises(runs.RunError, match=r"cannot write to .*results: it is a link: not followed"):
            write()
    partial = results.PartialResult(run, "evaluate", {})
    partial.save({"0": 1}, now=True)
    assert not partial.saved
    runs.clear_temporaries(run)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [f".a.json.{GONE}.tmp"]


def test_a_results_folder_that_is_a_pipe_holds_nothing_and_takes_nothing(run: runs.Run) -> None:
    os.mkfifo(run.path / "results")
    assert results.read_results(run, "evaluate") == []
    assert results.read_table(run) == {}
    with pytest.raises(runs.RunError, match=r"cannot write to .*results: "):
        results.write_result(run, "evaluate", {})


def test_what_is_no_result_is_passed_over_and_hides_no_other(run: runs.Run) -> None:
    results.write_result(run, "evaluate", {"n": 1})
    folder = run.path / "results"
    os.mkfifo(folder / "evaluate-20990101-000000-1.json")
    (folder / "evaluate-20990101-000000-2.json").mkdir()
    (folder / "evaluate-20990101-000000-3.json").symlink_to("/dev/zero")
    (folder / "evaluate-20990101-000000-4.json").symlink_to("nowhere")
    with (folder / "evaluate-20990101-000000-5.json").open("wb") as file:
        file.truncate(results.MAX_BYTES + 1)
    (folder / "evaluate-20990101-000000-6.json").write_text("[" * 100_000)
    assert results.read_results(run, "evaluate") == [{"n": 1}]


def test_numbers_and_texts_of_a_result_that_break_whoever_shows_them(run: runs.Run) -> None:
    (run.path / "results").mkdir()
    text = '{"n": 1e999, "correct": 1%s, "name": "\\ud800"}' % ("0" * 400)
    (run.path / "results" / "evaluate-1.json").write_text(text)
    (stored,) = results.read_results(run, "evaluate")
    assert math.isnan(stored["n"])
    assert math.isnan(stored["correct"])
    json.dumps(stored, ensure_ascii=False).encode()


def test_the_next_evaluation_removes_what_killed_ones_left_and_nothing_of_those_that_live(run: runs.Run) -> None:
    (run.path / "results").mkdir()
    for pid in (GONE, os.getppid()):
        (run.path / "results" / f".evaluate-1.json.{pid}.tmp").touch()
    written = results.write_result(run, "evaluate", {})
    left = {f".evaluate-1.json.{os.getppid()}.tmp", written.name}
    assert {path.name for path in written.parent.iterdir()} == left
    (run.path / "results" / f".table1.json.{GONE}.tmp").touch()
    runs.clear_temporaries(run)  # so does the next training
    assert {path.name for path in written.parent.iterdir()} == left


def test_a_result_of_the_next_second_is_the_newer_one(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    second = 1_800_000_000 * 10**9
    for number, now in enumerate([second + 999_999_999, second + 10**9 + 1]):
        monkeypatch.setattr(results.time, "time_ns", lambda now=now: now)
        results.write_result(run, "evaluate", {"number": number})
    assert [result["number"] for result in results.read_results(run, "evaluate")] == [1, 0]


def test_a_run_that_was_removed_is_said_to_be(run: runs.Run) -> None:
    run.path.rename(run.path.with_name("elsewhere"))
    with pytest.raises(runs.RunError, match=rf"cannot write to {run.path}: it was removed or moved meanwhile"):
        results.write_result(run, "evaluate", {})
