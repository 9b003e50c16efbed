"""`trs.load` and `trs.load_data`: shipped runs by name, folders, own data; and code of others only if allowed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from custom_code import forgotten, write_mine

import trs_explorer as trs
from trs_explorer import data, runs
from trs_explorer.models.stored import load_ensemble
from trs_explorer.shipped import folder

MNIST_TRS = folder("checkpoints") / "mnist-trs"


@pytest.mark.parametrize("name", ["mnist-trs", "checkpoints/mnist-trs", str(MNIST_TRS), MNIST_TRS])
def test_a_run_is_loaded_by_name_or_folder_in_eval_mode(name):
    ensemble = trs.load(name)
    expected, _ = load_ensemble(runs.open_run(MNIST_TRS))
    assert not any(module.training for module in ensemble.modules())
    for ours, theirs in zip(ensemble.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_is_an_epoch_or_a_name():
    newest, older = trs.load("mnist-trs"), trs.load("mnist-trs", checkpoint=18)
    weights = [next(one.parameters()) for one in (newest, trs.load("mnist-trs", checkpoint="0036"), older)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    with pytest.raises(trs.RunError, match="has no checkpoint 0003; it has 0018, 0036"):
        trs.load("mnist-trs", checkpoint=3)
    with pytest.raises(trs.RunError, match=r"no such run. Shipped runs: bars-cos-l2, .*mnist-trs"):
        trs.load("mnist-tsr")


def test_data_is_that_of_the_run_the_set_or_the_file(tmp_path):
    test = data.load("mnist", train=False)
    for source in ("mnist", "mnist-trs", MNIST_TRS):
        x, y = trs.load_data(source, limit=5)
        assert torch.equal(x, test.x[:5].float() / 255)
        assert torch.equal(y, test.y[:5])
    assert len(trs.load_data("bars", train=True)[0]) == 300
    arrays = {
        "x_train": test.x[:20].numpy(),
        "y_train": np.arange(20) % 3,
        "x_test": test.x[20:24].numpy(),
        "y_test": [0, 1, 2, 0],
    }
    np.savez(tmp_path / "mine.npz", **arrays)
    x, y = trs.load_data("mine.npz")
    assert torch.equal(x, test.images(slice(20, 24)))
    assert y.tolist() == [0, 1, 2, 0]
    assert trs.load_data(tmp_path / "mine.npz", train=True)[1].tolist() == arrays["y_train"].tolist()
    with pytest.raises(trs.RunError, match="no such run"):
        trs.load_data("nothing")
    with pytest.raises(trs.UsageError, match="limit must be >= 0"):
        trs.load_data("mnist", limit=-1)


def test_a_run_of_code_of_others_is_loaded_only_if_allowed(tmp_path):
    path = write_mine(tmp_path)
    training = trs.train(
        f"{path}:spread", data=f"{path}:points", model=f"{path}:Net", members=2, epochs=1, device="cpu", out="run"
    )
    assert list(training)[-1]["state"] == "finished"
    expected = trs.load("run").state_dict()
    with forgotten():
        for refused in (lambda: trs.load("run"), lambda: trs.load_data("run")):
            with pytest.raises(trs.UsageError, match="is code of others, which runs only with --allow-code"):
                refused()
        found = trs.load("run", allow_code=True)
        assert all(torch.equal(ours, expected[name]) for name, ours in found.state_dict().items())
        shutil.copytree("run", "other")
        config = Path("run/config.json").read_text()
        Path("theirs.py").write_text("raise SystemExit('it ran')\n")
        Path("other/config.json").write_text(config.replace(str(path), str(Path("theirs.py").resolve())))
        with pytest.raises(trs.UsageError, match=r"theirs.py:\w+ is code of others, which runs only with --allow-code"):
            trs.load("other")  # to allow one run's code allows no other's
