"""What a task of Ray does, without Ray: with --fetch it sends how far its trial is, and what was trained comes back."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.measure.sweep import on_ray
from trs_explorer.measure.sweep.bundle import unpack
from trs_explorer.measure.sweep.on_ray import Cluster, attempt, task_of
from trs_explorer.measure.sweep.state import write_outcome
from trs_explorer.sweep_plan import Sweep, Trial, read

TRIAL = Trial("a", {"data": "bars", "epochs": 4}, {})


def trains(monkeypatch: pytest.MonkeyPatch, *, interrupted: bool) -> list[Path]:
    """Let a trial's process be one that is half trained, then at its end, or stopped. Returns where it was started."""
    folders: list[Path] = []

    class Child:
        def __init__(self, module: str, folder: Path, name: str, **_: object) -> None:
            folders.append(folder)
            path = folder / name
            self.run = runs.open_run(path) if path.exists() else runs.create(path, resolve(read(folder).trial(name).values))
            self.lock = runs.trainer_lock(self.run)
            self.run.write_status(state="running", step=3, steps=4, epoch=3, epochs=4)
            (folder / "logs").mkdir()
            self.waits = 0

        def wait(self, timeout: float) -> int | None:
            del timeout
            self.waits += 1
            if self.waits == 1:
                return None
            if self.waits == 2 and interrupted:
                raise KeyboardInterrupt  # ray.cancel
            self.stop("finished")
            return 0

        def stop(self, state: str = "stopped") -> None:
            if self.lock.is_locked:
                self.run.write_status(state=state, step=3, steps=4)
                write_outcome(folders[-1], self.run.name, state)
                self.lock.release()

    monkeypatch.setattr(on_ray, "Child", Child)
    return folders


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_was_trained_comes_back_from_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    out = tmp_path / "o"
    out.mkdir()
    folders = trains(monkeypatch, interrupted=interrupted)
    sent: list[tuple] = []
    progress = SimpleNamespace(set=SimpleNamespace(remote=lambda *about: sent.append(about)))
    for sends in (b"", b"its run so far"):
        task = task_of(TRIAL, (), out, "module", "token", Cluster("local", fetch=True))
        assert bool(task.run) == bool(sends)
        state, packed = attempt(task, progress)
        assert state.state == ("stopped" if interrupted else "finished")
        unpack(packed, out / "a")
        assert runs.open_run(out / "a").status()["step"] == 3
    assert {(name, state.state, state.step) for name, state in sent} == {("a", "training", 3)}
    assert not any(folder.exists() or folder == out for folder in folders)


def test_a_folder_that_is_not_shared_is_named(tmp_path: Path) -> None:
    task = task_of(TRIAL, (), tmp_path, "module", "token", Cluster("local"))
    assert "is not shared with" in attempt(task)[0].error
    assert Sweep([TRIAL]).trial("a") == task.trial
