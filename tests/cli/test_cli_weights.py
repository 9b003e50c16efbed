"""Weights that are not what the run says: `trs` refuses them in one line, and runs nothing that is hidden in them."""

import os
import pickle
import re
from pathlib import Path

import pytest

from trs_explorer import runs


class Trap:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("sprung",)


def _refused(trs, run: Path, *words: str) -> None:
    for command in ("evaluate", "transfer"):
        result = trs(command, run, "--limit", 2, "--steps", 1)
        assert result.status == 1
        assert result.err.startswith("trs: ")
        assert result.err.count("\n") == 1
        assert "Traceback" not in result.err
        for word in words:
            assert word in result.err
    assert not (run / "results").exists()


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated(trs, fresh: runs.Run, keep: int) -> None:
    weights = fresh.checkpoints()[0].weights
    weights.write_bytes(weights.read_bytes()[:keep])
    _refused(trs, fresh.path, "epoch-0001.safetensors is missing or damaged")


def test_one_bit_of_a_weight_flipped_is_found_by_the_hash_in_the_log(trs, trained: Path) -> None:
    weights = runs.open_run(trained).checkpoints()[-1].weights
    content = bytearray(weights.read_bytes())
    content[-4] ^= 1  # the last bit of a float: the file is as well-formed as before
    weights.write_bytes(content)
    _refused(trs, trained, weights.name, "SHA-256", "damaged or replaced")


@pytest.mark.parametrize("place", [0, 7, 8, 9, 40])
def test_one_bit_of_the_header_flipped(trs, fresh: runs.Run, place: int) -> None:
    weights = fresh.checkpoints()[0].weights
    content = bytearray(weights.read_bytes())
    content[place] ^= 0x40
    weights.write_bytes(content)
    _refused(trs, fresh.path, "epoch-0001.safetensors")


def test_a_pickle_in_disguise_is_not_opened(trs, fresh: runs.Run, tmp_path: Path) -> None:
    fresh.checkpoints()[0].weights.write_bytes(pickle.dumps(Trap()))
    _refused(trs, fresh.path, "epoch-0001.safetensors is a pickle (.pth)")
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap()))
    assert (tmp_path / "sprung").exists()  # the trap works


def test_a_pickle_in_the_training_state_is_not_opened_either(trs, fresh: runs.Run, tmp_path: Path) -> None:
    state = fresh.checkpoints()[0].state
    assert state is not None
    state.write_bytes(pickle.dumps(Trap(), protocol=2))  # the one torch writes
    result = trs("train", "--resume", fresh.path, "--plain")
    assert result.status == 1
    assert re.search(r"no checkpoint can be used.*state-0001\.pt is damaged", result.err)
    assert not (tmp_path / "sprung").exists()


def test_another_architecture_and_another_number_of_members(trs, fresh: runs.Run) -> None:
    from trs_explorer.models import build
    from trs_explorer.training import checkpoints

    for model, data, members in (("patch", "mnist", 2), ("mlp", "bars", 3)):
        checkpoints.save(fresh, build(model, data, members, seed=0), {}, epoch=1, step_in_epoch=0)
        _refused(trs, fresh.path, "holds other weights than config.json says: another model or number of members")


def test_weights_that_are_not_finite(trs, fresh: runs.Run) -> None:
    import torch

    from trs_explorer.models import build
    from trs_explorer.training import checkpoints

    ensemble = build("mlp", "bars", 2, seed=0)
    with torch.no_grad():
        next(ensemble.parameters()).view(-1)[0] = torch.nan
    checkpoints.save(fresh, ensemble, {}, epoch=1, step_in_epoch=0)
    _refused(trs, fresh.path, "is not finite")
