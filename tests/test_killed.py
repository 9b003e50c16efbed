"""200 kills at random moments: what is resumed ends in the bytes and figures of what was never interrupted."""

import json
import random
import shutil
from pathlib import Path

import pytest
from killing import run_killed

from trs_explorer.files import parse_lines, read_json

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

TRAIN = ["train", "--data", "bars", "--method", "standard", "--plain"]
TRAIN += ["--epochs", "6", "--batch-size", "100", "--log-every", "1", "--probe-every", "2", "--save-every", "1"]
KILLS = 10  # of one training or measurement; there are 20
VOLATILE = {"t", "seconds", "rate", "stored", "created"}


def _steps(run: Path) -> dict[int, dict]:
    """The loss terms by step; of a step that was taken twice the last ones."""
    events = parse_lines((run / "events.jsonl").read_bytes().splitlines())
    return {event["step"]: event["terms"] for event in events if event["kind"] == "step"}


def _checkpoints(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.glob("*.safetensors"))}


def _named(run: Path) -> set[str]:
    events = parse_lines((run / "events.jsonl").read_bytes().splitlines())
    return {event["name"] for event in events if event["kind"] == "checkpoint"}


def _temporaries(folder: Path) -> list[Path]:
    return list(folder.rglob(".*.tmp"))


def _finished(run: Path) -> bool:
    return (read_json(run / "status.json") or {}).get("state") == "finished"


def _train(folder: Path) -> list[str] | None:
    """What a user does next: begin, or resume what is there."""
    if _finished(folder / "run"):
        return None
    return ["train", "--resume", "run", "--plain"] if (folder / "run" / "config.json").exists() else [*TRAIN, "--out", "run"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a training that nothing has interrupted, and another one."""
    folder = tmp_path_factory.mktemp("whole")
    run_killed(lambda: _train(folder), folder, random.Random(0), kills=0, seconds=0)
    other = [*TRAIN, "--seed", "1", "--out", "other"]
    run_killed(lambda: other, folder, random.Random(0), kills=0, seconds=0)
    return folder


@pytest.mark.parametrize("seed", range(10))
def test_a_training_that_is_killed_ends_in_the_same_bytes(tmp_path, whole, seed):
    rng, killed = random.Random(seed), 0
    while killed < KILLS:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        killed += run_killed(lambda: _train(tmp_path), tmp_path, rng, kills=KILLS - killed, seconds=1)
        assert _finished(tmp_path / "run")
        assert _checkpoints(tmp_path / "run") == _checkpoints(whole / "run")
        assert _steps(tmp_path / "run") == _steps(whole / "run")
        assert _named(tmp_path / "run") == _named(whole / "run")
        assert not _temporaries(tmp_path)


MEASUREMENTS = {
    "evaluate": "evaluate run --limit 100 --attacks fgsm,pgd,mora --steps 20 --csv rates.csv",
    "blackbox": "blackbox run --surrogates other --limit 50 --eps 0.3 --csv rates.csv",
    "compare": "compare run --limit 10 --csv rates.csv",
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("what", MEASUREMENTS)
def test_a_measurement_that_is_killed_ends_in_the_same_figures(tmp_path, whole, what, seed):
    arguments = MEASUREMENTS[what].split()
    rng, killed, figures = random.Random(seed), 0, []
    while killed < KILLS:
        folder = tmp_path / str(len(figures))
        shutil.copytree(whole, folder)
        killed += run_killed(lambda: arguments, folder, rng, kills=(KILLS - killed) * bool(figures), seconds=1)
        figures.append(((folder / "rates.csv").read_bytes(), _stored(folder / "run", what)))
        assert figures[-1] == figures[0]  # which nothing has interrupted
        assert not _temporaries(folder)
        assert not list(folder.rglob("unfinished-*"))


def _stored(run: Path, what: str) -> dict:
    """The newest stored result; a kill between storing it and forgetting the partial one leaves two of the same."""
    name = "table1.json" if what == "compare" else f"{what}-*.json"
    newest = json.loads(max((run / "results").glob(name)).read_text())
    return {key: value for key, value in newest.items() if key not in VOLATILE}
