"""Several processes started by torchrun give the figures of one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "blackbox"])
def test_two_processes_give_the_figures_of_one(trs, request, fresh, tmp_path: Path, command: str) -> None:
    trained = Path(shutil.copytree(request.getfixturevalue("finished"), tmp_path / "trained"))  # with as many steps as users have
    arguments = [command, str(trained), "--eps", "0.1,0.3", "--limit", "101", "--device", "cpu"]
    arguments += ["--steps", "10", "--attacks", "fgsm,pgd,mora"] if command == "evaluate" else ["--surrogates", str(fresh.path)]
    shutil.copytree(trained, tmp_path / "copy" / trained.name)
    assert trs(*arguments, "--json", "one.json").status == 0
    arguments[1] = str(tmp_path / "copy" / trained.name)
    started = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "trs_explorer"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*started, *arguments, "--json", "two.json"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one == two
    assert ended.stdout.count("accuracy in %") == 1  # one process shows the table
    assert len(list((tmp_path / "copy" / trained.name / "results").iterdir())) == 1
