"""What a benchmark stores and prints."""

import json
from pathlib import Path

import pytest
from bench_script import main
from rich.console import Console

from trs_explorer.bench import report
from trs_explorer.runs import RunError


def test_the_file_is_written_before_anything_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BrokenPipeError

    rows = [{"what": "β", "measured": 1.5, "unit": "ms", "target": None, "met": ""}]
    monkeypatch.setattr(Console, "print", fails)
    file = tmp_path / "figures.json"
    with pytest.raises(BrokenPipeError):
        report.run("tui", lambda rounds, show: ("a title", [], rows), rounds=3, json_file=file)
    assert json.loads(file.read_text(encoding="utf-8"))["rows"] == rows


def test_a_script_needs_three_rounds_and_reports_errors_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(rounds: int, show: object) -> tuple[str, list[str], list[dict]]:
        raise RunError("the explorer did not start")

    with pytest.raises(SystemExit) as ended:
        main("explore", "", fails, ["--rounds", "2"])
    assert ended.value.code == 2
    capsys.readouterr()
    assert main("explore", "", fails, []) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "the explorer did not start"
