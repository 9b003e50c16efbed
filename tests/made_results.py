"""Runs and evaluations made by hand: no network behind them, so any figures."""

import json
from collections.abc import Mapping
from pathlib import Path

from trs_explorer import __version__, runs
from trs_explorer.config import resolve
from trs_explorer.evaluation.table1.columns import Column, measured_columns
from trs_explorer.results import write_result

CHEAP = (1, 2, 3, 5, 8, 9, 10, 11, 12, 14, 15, 17)  # the checks that every evaluation makes


def rate(column: Column, correct: int, n: int) -> dict:
    """The first `correct` of n images are right."""
    name = column.attack if column.attack in ("clean", "fgsm", "cw", "ead") else f"{column.attack}-50"
    outcomes = [place < correct for place in range(n)]
    about = {"name": name, "eps": column.eps, "c": column.c, "correct": correct, "n": n}
    return {**about, "outcomes": outcomes, "norm": "linf", "perturbation": 0.0, "moved": 0}


def result(
    correct: Mapping[Column, int],
    *,
    n: int,
    data: str = "mnist",
    weights: str = "w",
    warned: tuple[int, ...] = (),
    **other: object,
) -> dict:
    """An evaluation as `trs evaluate --attacks table1` stores it."""
    return {
        "kind": "evaluate",
        "run": "made",
        "weights": weights,
        "data": f"{data}, first {n} test images",
        "seed": 0,
        "device": "cpu",
        "versions": {"trs_explorer": __version__, "torch": "0", "python": "0"},
        "options": {"limit": n, "steps": 50, "restarts": 1},
        "rates": [rate(column, count, n) for column, count in correct.items()],
        "trust": [{"check": number, "name": "", "warnings": ["!"] * (number in warned)} for number in CHEAP],
        "warnings": ["!" for _ in warned],
        **other,
    }


def same(correct: int, data: str = "mnist") -> dict[Column, int]:
    """As many right under every attack."""
    return dict.fromkeys(measured_columns(data), correct)


def made(
    path: Path, correct: Mapping[Column, int] | None, *, n: int = 1000, warned: tuple[int, ...] = (), **settings: object
) -> runs.Run:
    """A run with weights that are none, and an evaluation of them unless there is nothing right."""
    run = runs.create(path, resolve(settings))
    (path / f"epoch-{run.config.epochs:04d}.safetensors").write_text(path.name)
    if correct is not None:
        about = {"data": run.config.data, "weights": digest(run), "warned": warned}
        write_result(run, "evaluate", result(correct, n=n, options={"limit": 1000, "steps": 50, "restarts": 1}, **about))
    return run


def digest(run: runs.Run) -> str:
    """The SHA-256 of the run's weights."""
    return run.checkpoints()[-1].digest()


def table(run: runs.Run) -> dict:
    """The stored table."""
    return json.loads((run.path / "results" / "table1.json").read_text())
