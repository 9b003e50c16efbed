"""One training under torchrun, by real processes: what it shows, how it ends, and that nothing is lost."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trs_explorer import runs

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
SETTINGS = ["--data", "bars", "--device", "cpu", "--log-every", "1", "--batch-size", "100", "--inner-steps", "1"]


def torchrun(size: int, *arguments: str, cwd: Path, script: list[str] | None = None, **more) -> subprocess.Popen[str]:
    """A group of processes in a session of its own, as a terminal has."""
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    started += script or ["-m", "trs_explorer"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*started, *arguments], env=environment, cwd=cwd, start_new_session=True, **pipes | more)


def training(size: int, out: str, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return torchrun(size, "train", "--out", out, *SETTINGS, *arguments, cwd=cwd)


def wait_for_step(out: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (out / "events.jsonl").exists() and any(
            event.get("step", 0) >= step for event in runs.read_events(Folder(out)).events
        ):
            return
        time.sleep(0.05)
    raise AssertionError("it does not train")


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path


def ranks(agent: int) -> dict[int, int]:
    """The process of every rank."""
    found = {}
    for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found[next(int(one[5:]) for one in variables if one.startswith(b"RANK="))] = int(child)
    return found


def said(stderr: str) -> list[str]:
    """What trs says; torchrun has its own report."""
    return [line for line in stderr.splitlines() if line.startswith("trs:")]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(runs.open_run(out).checkpoints()[-1].weights)


def finished(out: str, cwd: Path, size: int = 2) -> dict[str, torch.Tensor]:
    """The weights of a training that is continued to its end."""
    with torchrun(size, "train", "--resume", out, "--plain", cwd=cwd) as resumed:
        text, error = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, error
    assert text.count("finished ->") == 1
    return weights(cwd / out)


SAVED_OFTEN = ["--epochs", "40", "--save-every", "5", "--plain"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of a training by two processes that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    with training(2, "run", *SAVED_OFTEN, cwd=folder) as process:
        text, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert text.count("started at step 0 of 120") == text.count("finished ->") == 1
    return weights(folder / "run")


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_training_is_continued_to_the_bits_of_one_that_was_not(tmp_path: Path, whole, killed: int) -> None:
    with training(2, "run", *SAVED_OFTEN, cwd=tmp_path) as process:
        wait_for_step(tmp_path / "run", 50)
        os.kill(ranks(process.pid)[killed], signal.SIGKILL)
        error = process.communicate(timeout=120)[1]
    [line] = said(error)
    assert f"process {killed} of 2 has ended: it was killed" in line
    assert "--resume" in line
    state, saved, reached = summary(tmp_path / "run")
    assert state == ("failed" if killed else "crashed")
    assert saved == reached if killed else saved >= 45
    ended = finished("run", tmp_path)
    assert all(torch.equal(value, ended[name]) for name, value in whole.items())


def test_ctrl_c_saves_the_same_step_of_all(tmp_path: Path, whole) -> None:
    """A terminal's Ctrl-C reaches every process, and torchrun passes it on once more."""
    with training(2, "run", *SAVED_OFTEN, cwd=tmp_path) as process:
        wait_for_step(tmp_path / "run", 50)
        os.killpg(process.pid, signal.SIGINT)
        text, error = process.communicate(timeout=120)
    assert said(error) == []
    assert text.count("stopped ->") == 1
    state, saved, reached = summary(tmp_path / "run")
    assert (state, saved) == ("stopped", reached)
    ended = finished("run", tmp_path)
    assert all(torch.equal(value, ended[name]) for name, value in whole.items())


def summary(out: Path) -> tuple[str, int, int]:
    """A run's state, the last saved step, and the last one of the log."""
    run = runs.open_run(out)
    events = runs.read_events(run).events
    saved, reached = (max(event["step"] for event in events if event["kind"] == kind) for kind in ("checkpoint", "step"))
    return run.status()["state"], saved, reached


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "--epochs", "0"], "trs: --epochs must be >= 1, got 0"),
        (["train", "--epochs", "x"], "trs: Invalid value for '--epochs'"),
        (["train", "--resume", "nowhere"], "trs: nowhere: no such run folder"),
        (["evaluate", "nowhere"], "trs: nowhere: no such run"),
        (["train", *SETTINGS, "--out", "there"], "trs: there exists and is not empty"),
        (["train", *SETTINGS, "--lr", "1e30", "--epochs", "9", "--warmup", "0"], "trs: the term "),
    ],
)
def test_an_error_is_one_line_of_one_process(tmp_path: Path, arguments: list[str], line: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with torchrun(2, *arguments, cwd=tmp_path) as process:
        error = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    [only] = said(error)
    assert only.startswith(line)
    assert error.count("Traceback") == 1  # torchrun's own


@pytest.mark.campaign
def test_a_process_that_does_not_answer_is_said(tmp_path: Path) -> None:
    """With a limit of 6 s in place of half an hour."""
    script = tmp_path / "impatient.py"
    script.write_text(
        "from datetime import timedelta\n"
        "from trs_explorer.cli import main\n"
        "from trs_explorer.training import processes\n"
        "processes.STEP_WAIT = timedelta(seconds=6)\n"
        "main()\n"
    )
    arguments = ["train", "--out", "run", *SETTINGS, "--epochs", "100000", "--plain"]
    with torchrun(2, *arguments, cwd=tmp_path, script=[str(script)], stdout=subprocess.DEVNULL) as process:
        wait_for_step(tmp_path / "run", 5)
        stopped = ranks(process.pid)[1]
        os.kill(stopped, signal.SIGSTOP)
        line = next(line for line in process.stderr if line.startswith("trs:"))
        os.kill(stopped, signal.SIGKILL)
        process.communicate(timeout=60)
    assert "a process of 2 did not answer for 0.1 minutes. Everything up to step" in line
    assert runs.open_run(tmp_path / "run").checkpoints()


BREAKING = """
import os
from trs_explorer.cli import main
from trs_explorer.training import loop
step = loop.training_step
def breaks(state, orders):
    if os.environ["RANK"] == "1" and state.run.config.seed == 0 and state.progress.step == 5:
        raise ValueError("something broke")
    return step(state, orders)
loop.training_step = breaks
main()
"""


@pytest.mark.campaign
def test_an_error_in_another_process_is_said_by_rank_0(tmp_path: Path) -> None:
    (script := tmp_path / "breaking.py").write_text(BREAKING)
    arguments = ["train", "--out", "run", *SETTINGS, "--epochs", "100000", "--plain"]
    with torchrun(2, *arguments, cwd=tmp_path, script=[str(script)]) as process:
        error = process.communicate(timeout=120)[1]
    [line] = said(error)
    assert line.startswith("trs: process 1 of 2 failed: something broke. Everything up to step 5 is saved: go on with --resume")


@pytest.mark.campaign
def test_a_seed_that_fails_in_one_process_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    (script := tmp_path / "breaking.py").write_text(BREAKING)
    arguments = ["train", "--out", "run", *SETTINGS, "--epochs", "4", "--seeds", "0-1", "--plain"]
    with torchrun(2, *arguments, cwd=tmp_path, script=[str(script)]) as process:
        text, error = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "seed 0 failed: process 1 of 2 failed: something broke. Everything up to step 5 is saved" in error
    assert "finished: 1; failed: 0" in error or "failed: 0; finished: 1" in error
    assert text.count("finished ->") == 1
    assert [runs.open_run(tmp_path / f"run-seed-{seed}").status()["state"] for seed in (0, 1)] == ["failed", "finished"]


@pytest.mark.campaign
def test_dverge_with_its_start_and_seeds_and_json(tmp_path: Path) -> None:
    few = ["--data", "bars", "--method", "standard", "--epochs", "2", "--device", "cpu", "--json"]
    with torchrun(2, "train", *few, "--seeds", "0-1", "--out", "several", cwd=tmp_path) as process:
        text, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["state"] for event in events if event["kind"] == "seed"] == ["finished", "finished"]
    with torchrun(2, "train", *few, "--method", "dverge", "--limit", "100", "--out", "run", cwd=tmp_path) as process:
        text, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert kinds[0] == "start"
    assert kinds[-1] == "stopped"
    [start] = (tmp_path / "checkpoints").iterdir()
    assert runs.open_run(start).status()["state"] == "finished"


@pytest.mark.campaign
def test_the_dashboards_trainer_takes_the_place_of_rank_0(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    terminal = {"stdin": follower, "stdout": follower, "stderr": follower, "text": False}
    arguments = ["train", *SETTINGS, "--epochs", "30", "--out", "run", "--tui"]
    with torchrun(2, *arguments, cwd=tmp_path, **terminal) as process:
        os.close(follower)
        deadline = time.monotonic() + 240
        seen = b""
        asked = False
        while process.poll() is None and time.monotonic() < deadline:
            with_text = select_read(leader)
            seen += with_text
            state = runs.open_run(tmp_path / "run").status().get("state") if (tmp_path / "run/config.json").exists() else None
            if state == "finished" and not asked:
                asked = True
                time.sleep(1)
                os.write(leader, b"q")
        assert process.poll() == 0, seen[-2000:]
    run = runs.open_run(tmp_path / "run")
    start = next(event for event in runs.read_events(run).events if event["kind"] == "start")
    assert (start["processes"], run.status()["state"]) == (2, "finished")


@pytest.mark.campaign
def test_the_dashboard_stays_when_its_trainer_is_killed(tmp_path: Path) -> None:
    """The other process ends without failing: after a failure torchrun would end the dashboard."""
    leader, follower = pty.openpty()
    terminal = {"stdin": follower, "stdout": follower, "stderr": follower, "text": False}
    arguments = ["train", *SETTINGS, "--epochs", "100000", "--out", "run", "--tui"]
    seen, other, ended, log = b"", None, None, tmp_path / "run/events.jsonl"
    with torchrun(2, *arguments, cwd=tmp_path, **terminal) as process:
        os.close(follower)
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < (ended + 3 if ended else deadline):
            seen += select_read(leader)  # torchrun sees the end of a process within a tenth of a second
            if other is None and log.exists() and '"step":2,' in log.read_text(encoding="utf-8"):
                other = ranks(process.pid)[1]
                os.kill(runs.open_run(tmp_path / "run").status()["pid"], signal.SIGKILL)
            if other and not ended and not Path(f"/proc/{other}").exists():
                ended = time.monotonic()
        assert process.poll() is None
        process.terminate()
        while process.poll() is None and time.monotonic() < deadline:
            select_read(leader)
    assert ended
    assert b"closing signal" not in seen


def select_read(descriptor: int) -> bytes:
    import select

    ready, _, _ = select.select([descriptor], [], [], 0.1)
    try:
        return os.read(descriptor, 65536) if ready else b""
    except OSError:
        return b""
