"""`trs sweep`: what is done is not done again, a trial that fails stops no other, and nothing that is killed is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trs_explorer import locks, runs, sweep_plan
from trs_explorer.cli import sweep_trial
from trs_explorer.cli.sweep_display import Clock
from trs_explorer.cli.sweep_file import read_sweep
from trs_explorer.cli.sweep_report import makespan
from trs_explorer.measure.sweep import local
from trs_explorer.measure.sweep.state import TrialState, forget_outcome

ROOT = Path(__file__).resolve().parents[2]
FIXED = '[fixed]\ndata = "bars"\nlimit = 20\nepochs = 2\nlog_every = 1\ndevice = "cpu"\n'
MEASURED = 'measure = ["evaluate"]\n[evaluate]\nattacks = "fgsm"\neps = 0.1\nlimit = 20\n'


def describe(text: str = "", *, measured: str = MEASURED, fixed: str = FIXED) -> None:
    Path("s.toml").write_text(measured + fixed + (text or '[grid]\nmethod = ["standard", "smooth-only"]\n'))


@pytest.fixture
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial's process is a call in this one."""

    class Called:
        def __init__(self, module: str, folder: Path, name: str, **_: object) -> None:
            assert module == sweep_trial.__name__
            forget_outcome(folder, name)
            self.status = sweep_trial.main(folder, name)

        def poll(self) -> int:
            return self.status

        def stop(self) -> None:
            pass

    monkeypatch.setattr(local, "Child", Called)
    monkeypatch.setattr(sweep_trial, "_interrupt_when_closed", lambda: None)


def contents(folder: Path) -> dict[str, int]:
    """When each file of the trials was last written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/**/*") if path.is_file() and "logs" not in path.parts}


@pytest.mark.usefixtures("_in_process")
def test_trials_are_trained_measured_and_never_again(trs) -> None:
    describe()
    first = trs("sweep", "s.toml", "--out", "o", "--json", "--figure", "f.html")
    assert (first.status, first.err.splitlines()[0]) == (0, "2 trials, 0 done before -> o")
    lines = [json.loads(line) for line in first.out.splitlines() if line.startswith("{")]
    assert [(one["name"], one["state"]) for one in lines if one.get("state") == "finished"] == [
        ("standard", "finished"),
        ("smooth-only", "finished"),
    ]
    results = {one["trials"][0]: one["rates"] for one in lines if one["kind"] == "result"}
    assert results.keys() == {"standard", "smooth-only"}
    assert results["standard"]["clean"]["n"] == 20
    assert "fgsm" in Path("f.html").read_text()
    for name in ("standard", "smooth-only"):
        run = runs.open_run(Path("o") / name)
        assert (run.config.method, run.config.epochs, run.config.limit) == (name, 2, 20)
        assert len(list((run.path / "results").glob("evaluate-*.json"))) == 1
    before = contents(Path("o"))
    again = trs("sweep", "s.toml", "--out", "o", "--plain")
    assert (again.status, contents(Path("o"))) == (0, before)
    assert "2 done before" in again.err
    assert "fgsm ε 0.1" in again.out
    assert "trs compare o" in again.err


@pytest.mark.usefixtures("_in_process")
def test_a_missing_measurement_alone_is_made_again(trs) -> None:
    describe('[grid]\nmethod = ["standard"]\n')
    trs("sweep", "s.toml", "--out", "o", "--plain")
    log = Path("o/standard/events.jsonl").read_bytes()
    (result,) = Path("o/standard/results").glob("evaluate-*.json")
    result.unlink()
    assert trs("sweep", "s.toml", "--out", "o", "--plain").status == 0
    assert len(list(Path("o/standard/results").glob("evaluate-*.json"))) == 1
    assert Path("o/standard/events.jsonl").read_bytes() == log


@pytest.mark.usefixtures("_in_process")
def test_one_that_fails_says_why_and_the_others_go_on(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.training import loop

    def failing(state, rows):
        if state.run.config.method == "standard":
            raise MemoryError("no room")
        return step(state, rows)

    step = loop.training_step
    monkeypatch.setattr(loop, "training_step", failing)
    describe()
    said = trs("sweep", "s.toml", "--out", "o", "--plain")
    assert said.status == 1
    assert "failed: standard: no room" in said.err.splitlines()
    assert "1 of 2 trials are done; the same command continues" in said.err
    assert runs.open_run("o/smooth-only").status()["state"] == "finished"
    assert "missing" in said.out
    monkeypatch.setattr(loop, "training_step", step)
    again = trs("sweep", "s.toml", "--out", "o", "--plain")
    assert (again.status, "smooth-only:" in again.out) == (0, False)


@pytest.mark.slow
@pytest.mark.usefixtures("_in_process")
def test_a_measurement_that_fails_is_named_and_the_training_stays(trs) -> None:
    describe(measured='measure = ["evaluate"]\n[evaluate]\nattacks = "apgd-dlr"\n')  # which needs three classes
    said = trs("sweep", "s.toml", "--out", "o", "--plain")
    assert said.status == 1
    assert "failed: standard: --attacks: apgd-dlr needs" in said.err
    assert runs.open_run("o/standard").status()["state"] == "finished"


@pytest.mark.usefixtures("_in_process")
def test_another_sweep_in_the_folder_is_refused_with_the_difference(trs) -> None:
    describe(measured="")
    sweep_plan.store(read_sweep("s.toml"), Path("o"))
    said = trs("sweep", "s.toml", "--out", "o", "--set", "epochs=3", "--plain")
    assert (said.status, "has epochs 2 there, 3 here" in said.err) == (1, True)
    describe()
    assert "measured there: nothing; here: evaluate" in trs("sweep", "s.toml", "--out", "o").err


@pytest.mark.usefixtures("_in_process")
def test_a_second_sweep_in_the_folder_changes_nothing_while_the_first_one_runs(trs) -> None:
    """Also before the first one has written its file, which the second one would otherwise write, of another sweep."""
    describe(measured="")
    Path("o").mkdir()
    lock = locks.acquire(Path("o/sweep.lock"), timeout=1)
    said = trs("sweep", "s.toml", "--out", "o", "--plain")
    lock.release()
    assert (said.status, said.err) == (1, "trs: o: another trs sweep is running here: wait, or stop it first\n")
    assert [path.name for path in Path("o").iterdir()] == ["sweep.lock"]


def test_wrong_usage_writes_nothing(trs) -> None:
    describe("[grid]\nmembers = [2, 1]\n")
    for arguments, words in (
        (("s.toml",), "s.toml: [grid] members: --members must be >= 2 and <= 64, got 1"),
        (("s.toml", "--fetch"), "--fetch belongs to --ray"),
        (("tabel1",), "Did you mean table1"),
        (("table1", "--set", "model=resnet20", "--set", "data=bars"), "trial"),
    ):
        said = trs("sweep", *arguments)
        assert (said.status, words in said.err) == (2, True), said.err
    assert [path.name for path in Path.cwd().iterdir()] == ["s.toml"]


def test_the_help_lists_the_named_sweeps_with_their_sizes(trs) -> None:
    said = trs("sweep", "--help").out
    assert "table1: the methods of the paper's Table 1, under its attacks (10 trainings)" in said
    assert "[grid]                        # every combination" in said


def test_without_ray_it_says_how_to_get_it(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    describe()
    said = trs("sweep", "s.toml", "--out", "o", "--ray", "auto")
    assert (said.status, said.err) == (2, "trs: --ray needs Ray: pip install 'trs-explorer[cluster]'\n")
    assert not Path("o").exists()


def test_of_several_trials_one_trains_the_start_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one trial holds the lock of the start training, another does not begin with it."""
    import threading

    order = []
    with sweep_trial._locked(tmp_path / "a" / "x.lock"):

        def second() -> None:
            with sweep_trial._locked(tmp_path / "a" / "x.lock"):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_flags_of_a_measurement() -> None:
    options = {"attacks": "pgd", "step_size": 0.1, "trust": True, "targeted": False}
    assert sweep_trial.command_flags(options) == ["--attacks", "pgd", "--step-size", "0.1", "--trust"]


def test_the_estimate_of_several_at_a_time() -> None:
    assert makespan([3, 3, 2, 1], 1) == 9
    assert makespan([3, 3, 2, 1], 2) == 5  # 3 + 2, 3 + 1
    assert makespan([5, 1, 1, 1], 2) == 5
    assert makespan([], 2) == 0


def test_the_time_left_counts_no_time_in_which_nothing_is_trained() -> None:
    """5 steps a second, of 100: it begins after a minute, is paused for an hour, and goes on from a checkpoint a day later."""
    clock = Clock()

    def left(step: int, now: float, state: str = "training") -> float | None:
        return clock.left(TrialState(state, step=step, steps=100), now)

    assert [left(10, 0.0, "starting"), left(10, 60.0), left(10, 65.0)] == [None, None, None]
    assert left(20, 70.0) is None  # the first steps take longer
    assert left(30, 72.0) == pytest.approx(14.0)
    assert left(40, 74.0) == pytest.approx(12.0)
    assert [left(40, 75.0, "paused"), left(40, 3675.0), left(45, 3676.0)] == [None, None, None]
    assert left(50, 3677.0) == pytest.approx(10.0)
    assert [left(20, 90_000.0), left(25, 90_009.0)] == [None, None]  # its process was killed: it goes on from its checkpoint
    assert left(25, 90_009.5) is None
    assert left(30, 90_010.0) == pytest.approx(14.0)
    assert left(100, 90_024.0) == 0


# --- processes -----------------------------------------------------------------------------------------------------------

LONG = '[fixed]\ndata = "bars"\nepochs = 4000\nlimit = 60\nsave_every = 1000\nprobe_every = 4000\nlog_every = 1\ndevice = "cpu"\n'


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-P", "-m", "trs_explorer", "sweep", "s.toml", "--out", "o", "--plain", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def training() -> list[tuple[str, int]]:
    """Name and process of the trials in training."""
    found = []
    for run in runs.find_runs("o") if Path("o").is_dir() else []:
        status = run.status()
        if status.get("state") == "running" and status.get("step", 0) > 2:
            found.append((run.name, status["pid"]))
    return found


def steps(name: str) -> list[int]:
    return [one["step"] for one in runs.read_events(runs.open_run(Path("o") / name)).events if one["kind"] == "step"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_whatever_ends_the_sweep_its_trials_save_and_end_and_the_same_command_continues(trs, how: str) -> None:
    describe(measured="", fixed=LONG)
    process = start("--jobs", "2")
    wait_until(lambda: len(training()) == 2)
    process.send_signal(signal.SIGINT if how == "ctrl-c" else signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode == (130 if how == "ctrl-c" else -signal.SIGKILL)
    names = ("standard", "smooth-only")
    wait_until(lambda: all(runs.open_run(Path("o") / name).status()["state"] == "stopped" for name in names))
    reached = {name: steps(name) for name in names}
    assert all(seen == list(range(1, len(seen) + 1)) for seen in reached.values())
    process = start("--jobs", "2")
    wait_until(lambda: len(training()) == 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    for name in names:
        assert len(steps(name)) > len(reached[name])
        assert steps(name) == list(range(1, len(steps(name)) + 1))  # none twice, none missing


@pytest.mark.slow
@pytest.mark.campaign
def test_a_killed_trial_is_named_and_continues_from_its_checkpoint() -> None:
    describe('[grid]\nmethod = ["standard"]\n', measured="", fixed=LONG.replace("1000", "50").replace("4000", "1500"))
    process = start()
    wait_until(lambda: training() and any(runs.open_run("o/standard").checkpoints()))
    os.kill(training()[0][1], signal.SIGKILL)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert "failed: standard: its process was killed by signal 9; the same command continues it" in said
    process = start()
    process.communicate(timeout=600)
    assert process.returncode == 0
    reached = steps("standard")
    assert (reached[-1], sorted(set(reached))) == (1500, list(range(1, 1501)))
    started = [one for one in runs.read_events(runs.open_run("o/standard")).events if one["kind"] == "start"]
    assert [one["resumed"] for one in started] == [False, True]
    assert started[1]["step"] > 0


@pytest.mark.slow
@pytest.mark.campaign
def test_the_estimate_of_a_dry_run_is_about_the_time_and_it_leaves_nothing(trs) -> None:
    fixed = '[fixed]\ndata = "mnist"\nepochs = 2\nlimit = 6000\nlog_every = 1\ndevice = "cpu"\n'
    describe('[grid]\nmethod = ["trs"]\n', measured="", fixed=fixed)
    said = trs("sweep", "s.toml", "--out", "o", "--dry-run", "--json", "--threads", "1", "--jobs", "1")
    assert said.status == 0
    trial, total = (json.loads(line) for line in said.out.splitlines())
    assert (trial["name"], trial["steps"]) == ("trs", 2 * (6000 // 128))
    assert [path.name for path in Path.cwd().iterdir()] == ["s.toml"]
    began = time.monotonic()
    process = start("--threads", "1")
    process.communicate(timeout=600)
    assert process.returncode == 0
    took = time.monotonic() - began
    assert total["seconds"] / 2 < took < 2 * total["seconds"] + 20, (took, total)  # and the sweep's own start
