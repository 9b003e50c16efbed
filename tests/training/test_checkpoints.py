"""Which checkpoints a training keeps."""

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.training import checkpoints, train

TINY = {"method": "standard", "data": "bars", "batch_size": 300, "probe_every": 100}


def _made(run: runs.Run, *names: str) -> None:
    for name in names:
        (run.path / f"epoch-{name}.safetensors").write_bytes(b"")
        (run.path / f"state-{name}.pt").write_bytes(b"")


def _left(run: runs.Run) -> tuple[list[str], list[str]]:
    """Names of the checkpoints with weights, and of those with a training state besides."""
    checkpoints = run.checkpoints()
    return [c.name for c in checkpoints], [c.name for c in checkpoints if c.state]


@pytest.mark.parametrize(
    ("every", "weights"),
    [
        (1, ["0001", "0002", "0003", "0004", "0005", "0006", "0007"]),
        (2, ["0002", "0004", "0006", "0007"]),
        (3, ["0003", "0006", "0007"]),
        (100, ["0006", "0007"]),
    ],
)
def test_prune_keeps_the_epochs_to_be_kept_and_the_two_newest_states(tmp_path, every, weights):
    run = runs.create(tmp_path / "run", resolve(TINY))
    _made(run, *(f"{epoch:04d}" for epoch in range(1, 8)))
    checkpoints.prune(run, every)
    assert _left(run) == (weights, ["0006", "0007"])


def test_prune_keeps_the_weights_that_were_saved_by_hand_within_an_epoch(tmp_path):
    run = runs.create(tmp_path / "run", resolve(TINY))
    _made(run, "0001", "0001-000005", "0002", "0003")
    checkpoints.prune(run, 2)
    assert _left(run) == (["0001-000005", "0002", "0003"], ["0002", "0003"])


def test_a_training_keeps_what_prune_keeps(tmp_path):
    run = runs.create(tmp_path / "run", resolve({**TINY, "epochs": 7, "save_every": 3}))
    list(train(run))
    assert _left(run) == (["0003", "0006", "0007"], ["0006", "0007"])
