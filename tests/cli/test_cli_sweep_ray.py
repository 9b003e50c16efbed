"""`trs sweep --ray` on a local Ray of two workers, one of which is killed. Skipped where Ray is not installed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.cli.sweep_file import read_sweep

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="processes are found in /proc")]
ROOT = Path(__file__).resolve().parents[2]
MINUTES_20 = 1200  # a process needs seconds for torch alone, and a busy machine ten times as many
LONG, SHORT = 1500, 2  # epochs of one step each: of the trial whose worker is killed, and of the others
FIXED = """
[fixed]
data = "bars"
limit = 60
save_every = 50
log_every = 1
probe_every = 1500
device = "cpu"
"""
TWELVE = FIXED + "".join(f'[[trial]]\nmethod = "standard"\nepochs = {epochs}\n' for epochs in (LONG, *range(SHORT, SHORT + 11)))


def start(*arguments: str) -> subprocess.Popen:
    two = str((os.cpu_count() or 2) / 2)  # so that two trials run at a time
    command = [sys.executable, "-P", "-m", "trs_explorer", "sweep", *arguments, "--ray", "local", "--cpus-per-trial", two]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def parent(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("PPid:")))


def events(path: Path, kind: str) -> list[dict]:
    return [one for one in runs.read_events(runs.open_run(path)).events if one["kind"] == kind]


def half_trained() -> tuple[str, int]:
    """The name of the long trial, when it is being trained and has saved, and its process."""
    deadline = time.monotonic() + MINUTES_20
    while time.monotonic() < deadline:
        for run in runs.find_runs("o") if Path("o").is_dir() else []:
            status = run.status()
            if status.get("state") == "running" and run.checkpoints() and 50 < status["step"] < LONG - 100 < status["steps"]:
                return run.name, status["pid"]
        time.sleep(0.05)
    raise AssertionError("no trial has begun")


def test_twelve_trials_end_though_a_worker_is_killed() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'trs-explorer[cluster]'")
    Path("s.toml").write_text(TWELVE)
    process = start("s.toml", "--out", "o", "--plain")
    name, pid = half_trained()
    worker = parent(pid)
    assert b"ray" in Path(f"/proc/{worker}/cmdline").read_bytes()
    os.kill(worker, signal.SIGKILL)
    out = process.communicate(timeout=MINUTES_20)[0]
    print(f"killed the worker {worker} of {name}", out)
    assert process.returncode == 0, out
    trials = read_sweep("s.toml").trials
    assert len(trials) == 12
    for trial in trials:
        path = Path("o") / trial.name
        assert [one["state"] for one in events(path, "stopped")].count("finished") == 1
        starts = [one["resumed"] for one in events(path, "start")]
        assert starts == ([False, True] if trial.name == name else [False])
        steps = [one["step"] for one in events(path, "step")]
        assert steps == list(range(1, trial.values["epochs"] + 1)), trial.name  # each step once
    assert out.count(": finished") == 12
    assert "raylet" not in out  # Ray's own lines about the worker


def test_without_a_shared_folder_the_runs_come_back_and_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'trs-explorer[cluster]'")
    two = FIXED + '[grid]\nmethod = ["standard", "smooth-only"]\nepochs = [2]\n'
    evaluation = '[evaluate]\nattacks = "fgsm"\neps = 0.1\nlimit = 20\n'
    Path("s.toml").write_text('measure = ["evaluate"]' + two + evaluation)
    process = start("s.toml", "--out", "o", "--plain", "--fetch")
    out = process.communicate(timeout=MINUTES_20)[0]
    assert process.returncode == 0, out
    assert "fgsm" in out
    for trial in ("standard-epochs=2", "smooth-only-epochs=2"):
        run = runs.open_run(Path("o") / trial)
        assert run.status()["state"] == "finished"
        assert run.checkpoints()[-1].digest() == run.recorded(run.checkpoints()[-1])["sha256"]
    again = start("s.toml", "--out", "o", "--plain", "--fetch").communicate(timeout=MINUTES_20)[0]
    assert "2 done before" in again


def test_ctrl_c_loses_nothing_of_trials_whose_folder_is_not_shared() -> None:
    """The finished one is there; what the other one has trained comes back, and it goes on from there."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'trs-explorer[cluster]'")
    Path("s.toml").write_text(FIXED + f'[grid]\nmethod = ["standard"]\nepochs = [{LONG}, {SHORT}]\n')
    process = start("s.toml", "--out", "o", "--plain", "--fetch")
    assert process.stdout is not None
    said = ""
    while "standard-epochs=2: finished" not in said or f"standard-epochs={LONG}: training" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=MINUTES_20)[0]
    assert process.returncode == 130, said
    assert runs.open_run("o/standard-epochs=2").status()["state"] == "finished"
    run = runs.open_run(f"o/standard-epochs={LONG}")
    reached = run.status()["step"]
    assert (run.status()["state"], 0 < reached < LONG) == ("stopped", True)
    process = start("s.toml", "--out", "o", "--plain", "--fetch")
    assert process.communicate(timeout=MINUTES_20)[0].count(": finished") == 1
    assert process.returncode == 0
    assert [one["step"] for one in events(run.path, "step")] == list(range(1, LONG + 1))
    assert [one["step"] for one in events(run.path, "start")] == [0, reached]
