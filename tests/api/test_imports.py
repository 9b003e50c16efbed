"""`import trs_explorer` is fast and loads nothing; its names are what it promises; the notebook and the README run."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trs_explorer as trs

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "assets" / "notebooks" / "own_ensemble.ipynb"
LOADED = """
import sys
import trs_explorer as trs
print([name for name in sys.modules if name.startswith("trs_explorer")])
dir(trs), trs.UsageError, trs.RunError, trs.figures
print([name for name in ("torch", "plotly", "numpy") if name in sys.modules])
"""


def run(*arguments: str | Path, cwd: Path) -> str:
    """What a Python of its own prints."""
    command = [sys.executable, *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(cwd)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_import_loads_nothing_and_no_name_more_than_it_needs(tmp_path):
    assert run("-c", LOADED, cwd=tmp_path).splitlines() == ["['trs_explorer']", "[]"]


def test_every_name_is_there_and_listed():
    assert set(trs.__all__) <= set(dir(trs))
    for name in trs.__all__:
        assert getattr(trs, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'evaluat'"):
        trs.evaluat  # noqa: B018
    assert (ROOT / "trs_explorer" / "py.typed").exists()


@pytest.mark.parametrize("package", ["trs_explorer", "trs_explorer.figures"])
def test_type_checkers_are_told_of_every_name(package):
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    named = {}
    for node in block.body:
        named |= {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    assert set(named) == set(module.__all__)
    for name, place in named.items():
        where, _, attribute = place.rpartition(".")
        found = importlib.import_module(place) if where == package else getattr(importlib.import_module(where), attribute)
        assert getattr(module, name) is found


def test_every_function_says_what_it_returns_and_what_it_raises():
    for name in trs.__all__:
        text = getattr(trs, name).__doc__
        assert text, name
        if name[0].islower() and name not in ("attacks", "figures", "check"):
            assert "Raises: " in text, name


@pytest.mark.slow
def test_the_notebook_runs_from_data_to_figures(tmp_path):
    notebook = json.loads(NOTEBOOK.read_text())
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    said = run(Path(__file__).with_name("run_notebook.py"), NOTEBOOK, cwd=tmp_path).splitlines()
    assert said.count("shown: Figure ") == 4
    assert said[-1] == "loaded besides: "  # no command, no page
    assert "shown: list []" in said  # nothing is wrong with its members
    rates = dict(re.match(r"(.+): ([0-9.]+) %", line).groups() for line in said if " % (" in line)
    clean, *attacked, worst = map(float, rates.values())
    assert clean > 85
    assert worst <= min(attacked) < clean - 20


@pytest.mark.slow
def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text().partition("## From Python")[2]
    block = re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1]
    exec(block, {"__name__": "__main__"})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("pgd, eps 0.15: ")
    assert said[1].startswith("worst of 2, eps 0.15: ")
    assert said[-1] == "stopped"
    assert trs.load("mine")
