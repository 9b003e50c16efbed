"""`trs` called in this process, and two runs on the bars: one trained, one with fresh weights."""

import functools
import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from trs_explorer import runs
from trs_explorer.cli import main
from trs_explorer.config import resolve


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


Trs = Callable[..., Result]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="session", autouse=True)
def _cheaper() -> Iterator[None]:
    """Typer reads the commands' signatures once in a process, not for every `trs`; trainings probe few images."""
    from trs_explorer.evaluation import probe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "IMAGES", 16)
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture
def trs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trs:
    monkeypatch.setattr("trs_explorer.cli.progress.LINE_INTERVAL_S", float("inf"))  # a slow machine would show its progress

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["trs", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Result(int(end.value.code or 0), out, err)

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from trs_explorer.training import train

    settings = {"data": "bars", "epochs": 30, "save_every": 30, "device": "cpu"}
    run = runs.create(tmp_path_factory.mktemp("cli") / "trained", resolve(settings))
    for _ in train(run):
        pass
    return run.path


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks with numbers of steps of their own in few: here it is about what the commands do with figures."""
    cw, ead = (importlib.import_module(f"trs_explorer.attacks.{name}") for name in ("cw", "ead"))
    from trs_explorer.evaluation import blackbox
    from trs_explorer.evaluation.trust import from_attacks
    from trs_explorer.measure import blackbox_session

    for module, name, steps in ((cw, "cw", 30), (ead, "ead", 30), (from_attacks, "pgd", 10), (from_attacks, "mora", 10)):
        monkeypatch.setattr(module, name, functools.partial(getattr(module, name), steps=steps))
    monkeypatch.setattr(blackbox, "STEPS", 5)
    monkeypatch.setattr(blackbox_session, "WHITE_BOX_STEPS", 10)


@pytest.fixture
def trained(finished: Path, few_steps: None, tmp_path: Path) -> Path:
    """A copy of a finished run on the bars."""
    return Path(shutil.copytree(finished, tmp_path / "trained"))


@pytest.fixture
def fresh(tmp_path: Path) -> runs.Run:
    """A run with a checkpoint of weights as they are before training, which its log does not name."""
    from trs_explorer.models import build
    from trs_explorer.training import checkpoints

    run = runs.create(tmp_path / "fresh", resolve({"data": "bars", "device": "cpu"}))
    checkpoints.save(run, build("mlp", "bars", 2, seed=0), {}, epoch=1, step_in_epoch=0)
    return run
