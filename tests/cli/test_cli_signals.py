"""Signals, by real processes: nohup, jobs in the background of a script, and a Ctrl-C that is pressed again and again."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import trs_explorer
from trs_explorer import runs

pytestmark = [pytest.mark.slow, pytest.mark.campaign]
ROOT = Path(trs_explorer.__file__).parents[1]
TRAIN = [sys.executable, "-m", "trs_explorer", "train", "--data", "bars", "--log-every", "1", "--device", "cpu", "--plain"]


def _until(trainer: subprocess.Popen[str], beginning: str) -> None:
    """Wait until a training has printed a line that begins so."""
    assert trainer.stdout is not None
    while not (line := trainer.stdout.readline()).startswith(beginning):
        assert line, trainer.communicate()[1]


def _started(folder: Path, ignored: signal.Signals | None = None, *more: str) -> subprocess.Popen[str]:
    def inherit() -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # whatever the tests themselves were started with
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

    line = [*TRAIN, "--out", str(folder), *more]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=inherit)


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_that_was_ignored_from_the_start_stays_ignored(tmp_path: Path, ignored: signal.Signals) -> None:
    with _started(tmp_path / "run", ignored, "--epochs", "40") as trainer:
        _until(trainer, "step")
        trainer.send_signal(ignored)
        assert trainer.communicate()[1] == ""
    assert trainer.returncode == 0
    assert runs.open_run(tmp_path / "run").status()["state"] == "finished"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=lambda number: number.name)
def test_others_save_and_end_it(tmp_path: Path, number: signal.Signals) -> None:
    with _started(tmp_path / "run", None, "--epochs", "100000") as trainer:
        _until(trainer, "step")
        trainer.send_signal(number)
        assert trainer.communicate()[1] == ""
    assert trainer.returncode == 130
    run = runs.open_run(tmp_path / "run")
    assert run.status()["state"] == "stopped"
    assert run.checkpoints()[-1].state is not None


@pytest.mark.parametrize("moment", ["trs:", "step"])
def test_the_exit_status_of_many_fast_ctrl_cs_says_whether_anything_was_saved(tmp_path: Path, moment: str) -> None:
    """With steps so long that the second Ctrl-C comes before the save that the first has asked for."""
    slow = ("--method", "trs", "--batch-size", "300", "--inner-steps", "100", "--members", "16", "--epochs", "1000")
    with _started(tmp_path / "run", None, *slow) as trainer:
        _until(trainer, moment)
        for _ in range(5):
            trainer.send_signal(signal.SIGINT)
        error = trainer.communicate()[1]
    begun = (tmp_path / "run").exists()
    saved = begun and runs.open_run(tmp_path / "run").checkpoints()
    assert trainer.returncode in ((130,) if saved else (1,) if begun else (130, 1)), error  # 130 too before the first handler
    assert error.count("\n") == (trainer.returncode == 1)
    if error:
        assert error.startswith("trs: interrupted")
    if "--resume" in error:
        run = runs.open_run(tmp_path / "run")
        assert run.status()["state"] == "failed"
    assert ("--resume" in error) == begun or saved
