"""What `trs bench` keeps and prints."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from trs_explorer.bench import report


def test_the_file_is_written_before_anything_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise BrokenPipeError

    rows = [{"what": "β", "measured": 1.5, "unit": "ms", "target": None, "met": ""}]
    monkeypatch.setattr(report, "_measure", lambda *_: ("a title", [], rows))
    monkeypatch.setattr(Console, "print", fails)
    file = tmp_path / "figures.json"
    with pytest.raises(BrokenPipeError):
        report.run("tui", rounds=3, model="patch", json_file=file)
    assert json.loads(file.read_text(encoding="utf-8"))["rows"] == rows
