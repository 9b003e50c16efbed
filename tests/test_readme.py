"""The README's examples of what a user brings: an ensemble, a method, an attack, a model and data, each in a file of its own."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from custom_code import forgotten
from torch import nn

from trs_explorer import plugins, runs
from trs_explorer.cli import main
from trs_explorer.evaluation.accuracy import evaluate, measure
from trs_explorer.measure.session import attack_function

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
COMMANDS = [line for block in re.findall(r"^```\n(.*?)^```$", README, re.M | re.S) for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the README shows."""
    for name in ("nets.py", "mine.py"):
        text = "\n".join(block for block in BLOCKS if block.startswith(f"# {name}\n"))
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    with forgotten():
        yield tmp_path


@pytest.fixture
def trs(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    def call(line: str) -> int:
        monkeypatch.setattr(sys, "argv", line.split())
        with pytest.raises(SystemExit) as end, forgotten():
            main()
        return int(end.value.code or 0)

    return call


def commands(*words: str) -> list[str]:
    """The README's commands that contain all the words."""
    return [line.partition("#")[0].strip() for line in COMMANDS if all(word in line for word in words)]


@pytest.mark.slow
def test_an_ensemble_of_one_s_own_is_brought_in_by_the_commands_shown(folder: Path, trs) -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, 120)
    x = generator.random((120, 32, 32, 3)) * 0.2
    for k in range(4):
        x[y == k, 8 * k : 8 * k + 8] += 0.7
    np.savez("images.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    for number, width in enumerate((16, 32, 64)):
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, width), nn.ReLU(), nn.Linear(width, 4))
        torch.save(net.state_dict(), f"net{number}.pt")
    importing, *measuring = commands("checkpoints/mine")
    assert trs(importing) == 0
    assert [line.split()[1] for line in measuring] == ["evaluate", "transfer", "explore"]
    for line in measuring[:2]:
        assert trs(line) == 0
    run = runs.open_run("checkpoints/mine")
    assert {path.name.partition("-")[0] for path in (run.path / "results").iterdir()} == {"evaluate", "transfer"}


@pytest.mark.slow
def test_a_method_an_attack_a_model_and_data_of_one_s_own_by_the_commands_shown(folder: Path, trs) -> None:
    training, evaluation = commands("checkpoints/stripes")
    assert trs(f"{training} --plain --epochs 2 --batch-size 50 --log-every 1 --device cpu") == 0
    assert trs(f"{evaluation} --eps 0.05,1 --limit 50 --json rates.json --device cpu") == 0
    steps = [event for event in runs.read_events(runs.open_run("checkpoints/stripes")).events if event["kind"] == "step"]
    assert set(steps[-1]["terms"]) == {"total", "ce", "similarity"}
    assert steps[-1]["terms"]["ce"] < steps[0]["terms"]["ce"]
    [result] = json.loads(Path("rates.json").read_text())
    rates = {(rate["name"], rate["eps"]): rate["correct"] for rate in result["rates"]}
    assert rates["clean", 0] == 50
    assert 50 >= rates["mine.py:random_corners", 0.05] > rates["mine.py:random_corners", 1]
    assert result["options"]["tries"] == 50
    for line in (
        "trs transfer checkpoints/stripes --attack mine.py:random_corners --eps 1 --limit 50 --json matrix.json --device cpu",
        "trs train --method standard --model mine.py:two_layers --data mine.py:stripes --epochs 1 --out surrogate --plain",
        "trs blackbox checkpoints/stripes --surrogates surrogate --attacks mine.py:random_corners --eps 1 --limit 50 "
        "--json blackbox.json --device cpu",
    ):
        assert trs(line + " --allow-code" * ("train" not in line)) == 0
    matrix, [blackbox] = (json.loads(Path(f"{name}.json").read_text()) for name in ("matrix", "blackbox"))
    assert sum(matrix["pooled"]) > 0
    assert [(row["attack"], row["attempts"]) for row in blackbox["rows"]] == [("mine.py:random_corners", 1)]
    assert blackbox["rows"][0]["robust"]["correct"] < 50


def test_the_attack_draws_the_same_noise_for_an_image_whatever_the_batches_and_the_interruptions(folder: Path) -> None:
    plugins.allow("attack", "mine.py:random_corners")
    attack, generator = attack_function("mine.py:random_corners"), torch.Generator().manual_seed(0)
    x, y = torch.rand(60, 1, 4, 4, generator=generator), torch.arange(60) % 2
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.normal_(linear[1].weight, generator=generator)
    attacks = [("corners", attack, {"eps": 0.1, "tries": 3})]
    clean, whole = evaluate(linear, x, y, attacks=attacks)
    assert clean.correct > whole.correct
    assert evaluate(linear, x, y, attacks=attacks, batch_size=7) == [clean, whole]
    *_, (_, interrupted) = measure(linear, x[:20], y[:20], attacks=attacks)
    *_, (_, resumed) = measure(linear, x, y, attacks=attacks, done={0: clean, 1: interrupted})
    assert resumed == whole
    *_, (_, shard) = measure(linear, x[20:], y[20:], attacks=attacks, first=20)
    assert shard.outcomes == whole.outcomes[20:]


@pytest.mark.parametrize("command", ["evaluate {run} --attacks", "blackbox {run} --attacks", "transfer {run} --attack"])
def test_an_attack_without_a_norm_is_refused_in_l2(
    folder: Path, trs, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(ROOT / "checkpoints" / "mnist-trs", folder / "run")  # a result would be stored with it
    attack = "mine.py:random_corners"
    names = attack if command.startswith("transfer") else f"pgd,{attack}"
    monkeypatch.setattr("trs_explorer.training.surrogates.standard_surrogates", None)  # it is refused before any is trained
    assert trs(f"trs {command.format(run=run)} {names} --norm l2 --eps 1 --limit 1") == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"--norm l2: {attack} has no --norm: it searches the max norm")


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 12 * 1024
    for block in BLOCKS:
        assert len(list(filter(str.strip, block.splitlines()))) <= 12
