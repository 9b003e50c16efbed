"""Every measurement called from Python, without the command line: its figures are those of the command."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trs_explorer.cli import main
from trs_explorer.shipped import folder

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import json, sys
from functools import partial
import trs_explorer.measure as measure
from trs_explorer.runs import open_run

run, other = open_run("trained"), open_run("other")
lines, steps = [], []
reporting = measure.Reporting(lambda done, total, now="": steps.append(done), lines.append)
evaluated = measure.evaluate_run(run, measure.EvaluatePlan([("pgd", 0.3)], limit=8, steps=3), reporting=reporting)
transferred = measure.transfer_run(run, measure.TransferPlan("pgd", 0.3, steps=3, limit=8))
blackboxed = measure.blackbox_runs([run], [other], measure.BlackboxPlan(["fgsm"], [0.3], limit=8))
measure.store([evaluated, transferred, *blackboxed])
rows = measure.table1_rows([run], measure.measure_table1, limit=2, notify=lines.append)
json.dump([evaluated.result, transferred.result, blackboxed[0].result, rows[0].to_json()], sys.stdout)
assert steps and steps[-1] == 0, steps  # the checks, of which nothing is known
assert not lines, lines
unwanted = [name for name in ("typer", "rich", "trs_explorer.cli") if name in sys.modules]
assert not unwanted, unwanted
"""


@pytest.fixture
def runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (("trained", "bars-trs"), ("other", "bars-standard")):
        shutil.copytree(folder("checkpoints") / source, name, ignore=shutil.ignore_patterns("results"))


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["trs", *arguments, "--device", "cpu", "--json", "out.json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    return json.loads(Path("out.json").read_text())


@pytest.mark.usefixtures("runs_here")
@pytest.mark.slow
def test_python_gives_the_figures_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=environment)
    assert said.returncode == 0, said.stderr
    stored = sorted(path.name.split("-")[0].split(".")[0] for path in Path("trained/results").iterdir())
    assert stored == ["blackbox", "evaluate", "table1", "transfer"]
    evaluated, transferred, blackboxed, row = json.loads(said.stdout)
    shutil.rmtree("trained/results")
    few = ("--limit", "8", "--eps", "0.3")
    assert _command(monkeypatch, "evaluate", "trained", "--attacks", "pgd", "--steps", "3", *few) == [evaluated]
    assert _command(monkeypatch, "transfer", "trained", "--steps", "3", *few) == transferred
    assert _command(monkeypatch, "blackbox", "trained", "--surrogates", "other", "--attacks", "fgsm", *few) == [blackboxed]
    [table] = _command(monkeypatch, "compare", "trained", "--limit", "2")
    assert table["rows"] == [{**row, "group": None}]
