"""The README's examples of an own attack, defence, model and data set, each as a module and a line of a table."""

import json
import re
import sys
import types
from pathlib import Path

import pytest

from trs_explorer import attack_catalogue, catalogue, runs
from trs_explorer.cli import main

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
LINE = re.compile(r'^# (ATTACKS|METHODS|MODELS|DATA): "([\w-]+)": (.+)$', re.M)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The name of each table's new entry; its module is there under the name that its line gives."""
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S):
        for table, name, entry in LINE.findall(block):
            tables = attack_catalogue if table == "ATTACKS" else catalogue
            made = eval(entry, vars(tables))
            path = getattr(made, "function", None) or made.loader
            module = types.ModuleType(path.partition(":")[0])
            exec(block, vars(module))
            monkeypatch.setitem(sys.modules, module.__name__, module)
            monkeypatch.setitem(getattr(tables, table), name, made)
            names[table] = name
    return names


def test_each_is_ten_lines_and_works_as_ours_do(parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(parts) == {"ATTACKS", "METHODS", "MODELS", "DATA"}
    monkeypatch.chdir(tmp_path)
    method, model, data, attack = (parts[table] for table in ("METHODS", "MODELS", "DATA", "ATTACKS"))
    for line in (
        f"train --method {method} --model {model} --data {data} --epochs 2 --batch-size 50 --log-every 1 --out run --plain",
        f"evaluate run --attacks {attack} --eps 0.05,1 --limit 50 --json rates.json --device cpu",
    ):
        monkeypatch.setattr(sys, "argv", ["trs", *line.split()])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, line
    steps = [event for event in runs.read_events(runs.open_run("run")).events if event["kind"] == "step"]
    assert set(steps[-1]["terms"]) == {"total", "ce", "similarity"}
    assert steps[-1]["terms"]["ce"] < steps[0]["terms"]["ce"]
    [result] = json.loads(Path("rates.json").read_text())
    clean, small, large = (rate["correct"] for rate in result["rates"])
    assert clean == 50
    assert clean >= small > large


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 12 * 1024
    for block in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S):
        assert len(list(filter(str.strip, block.splitlines()))) <= 12
