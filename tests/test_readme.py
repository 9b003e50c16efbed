"""The README's examples of an own attack, defence, model and data set, each as a module and a line of a table."""

import json
import re
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from trs_explorer import attack_catalogue, catalogue, runs
from trs_explorer.attack_catalogue import ATTACKS, RADIUS_ATTACKS
from trs_explorer.catalogue import load
from trs_explorer.cli import main
from trs_explorer.evaluation.accuracy import evaluate, measure

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
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
    monkeypatch.setattr("trs_explorer.cli.blackbox.KINDS", (*RADIUS_ATTACKS, names["ATTACKS"]))  # as an import would have it
    return names


def test_each_is_ten_lines_and_works_as_ours_do(parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(parts) == {"ATTACKS", "METHODS", "MODELS", "DATA"}
    monkeypatch.chdir(tmp_path)
    method, model, data, attack = (parts[table] for table in ("METHODS", "MODELS", "DATA", "ATTACKS"))
    for line in (
        f"train --method {method} --model {model} --data {data} --epochs 2 --batch-size 50 --log-every 1 --out run --plain",
        f"evaluate run --attacks {attack} --eps 0.05,1 --limit 50 --json rates.json --device cpu",
        f"transfer run --attack {attack} --eps 1 --limit 50 --json matrix.json --device cpu",
        f"train --method standard --model {model} --data {data} --epochs 1 --batch-size 50 --out surrogate --plain",
        f"blackbox run --surrogates surrogate --attacks {attack} --eps 1 --limit 50 --json blackbox.json --device cpu",
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
    matrix, [blackbox] = (json.loads(Path(f"{name}.json").read_text()) for name in ("matrix", "blackbox"))
    assert sum(matrix["pooled"]) > 0
    assert [(row["attack"], row["attempts"]) for row in blackbox["rows"]] == [(attack, 1)]
    assert blackbox["rows"][0]["robust"]["correct"] < 50


def test_the_attack_draws_the_same_noise_for_an_image_whatever_the_batches_and_the_interruptions(parts: dict[str, str]) -> None:
    attack, generator = load(ATTACKS[parts["ATTACKS"]].function), torch.Generator().manual_seed(0)
    x, y = torch.rand(60, 1, 4, 4, generator=generator), torch.arange(60) % 2
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.normal_(linear[1].weight, generator=generator)
    attacks = [("corners", attack, {"eps": 0.1, "steps": 3})]
    clean, whole = evaluate(linear, x, y, attacks=attacks)
    assert clean.correct > whole.correct
    assert evaluate(linear, x, y, attacks=attacks, batch_size=7) == [clean, whole]
    *_, (_, interrupted) = measure(linear, x[:20], y[:20], attacks=attacks)
    *_, (_, resumed) = measure(linear, x, y, attacks=attacks, done={0: clean, 1: interrupted})
    assert resumed == whole
    *_, (_, shard) = measure(linear, x[20:], y[20:], attacks=attacks, first=20)
    assert shard.outcomes == whole.outcomes[20:]


@pytest.mark.parametrize("command", ["evaluate {run} --attacks", "blackbox {run} --attacks", "transfer {run} --attack"])
def test_an_attack_without_a_norm_is_refused_in_l2(
    parts: dict[str, str], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(ROOT / "checkpoints" / "mnist-trs", tmp_path / "run")  # a result would be stored with it
    attack = parts["ATTACKS"]
    names = attack if command.startswith("transfer") else f"pgd,{attack}"
    monkeypatch.setattr("trs_explorer.training.surrogates.standard_surrogates", None)  # it is refused before any is trained
    monkeypatch.setattr(sys, "argv", ["trs", *f"{command.format(run=run)} {names} --norm l2 --eps 1 --limit 1".split()])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"--norm l2: {attack} has no --norm: it searches the max norm")


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 12 * 1024
    for block in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S):
        assert len(list(filter(str.strip, block.splitlines()))) <= 12
