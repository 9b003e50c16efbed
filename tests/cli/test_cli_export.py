"""`trs export`: what it writes, what it prints, and what it refuses before the work."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from custom_code import write_mine

from trs_explorer.models.stored import load_ensemble
from trs_explorer.runs import open_run


def test_all_three_are_written_and_named(trs, finished: Path, tmp_path: Path) -> None:
    result = trs("export", finished, "--csv", "log.csv", "--weights", "w.pt", "--tensorboard", "logs")
    assert (result.status, result.err) == (0, "")
    with Path("log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["event"] for row in rows} == {"step", "probe", "epoch"}
    assert f"log.csv: {len(rows)} rows" in result.out
    assert Path("logs/trained/events.out.tfevents.trs").stat().st_size > 1000
    assert "tensorboard --logdir logs" in result.out
    ensemble, _ = load_ensemble(open_run(finished))
    names: dict = {}
    exec(result.out.partition("without trs by\n")[2], names)
    x = torch.rand(5, 1, 1, 2)
    with torch.no_grad():
        assert torch.equal(names["log_probabilities"](x), ensemble(x))


def test_weights_of_a_named_checkpoint(trs, finished: Path) -> None:
    assert trs("export", finished, "--weights", "w.safetensors", "--checkpoint", "0030").status == 0
    from safetensors import safe_open

    with safe_open("w.safetensors", "pt") as file:
        assert file.metadata()["checkpoint"] == "0030"
    result = trs("export", finished, "--weights", "w.pt", "--checkpoint", "0031")
    assert (result.status, result.err) == (2, "trs: --checkpoint: there is no '0031'. Did you mean 0030? Choose from 0030\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "say what to write: --tensorboard FOLDER, --csv FILE or --weights FILE"),
        ("--csv out.csv --checkpoint 0030", "--checkpoint chooses the weights: give --weights FILE too"),
        ("--weights w.pth", "--weights w.pth: the name must end in .pt or .safetensors"),
        ("--csv no/out.csv", "no/out.csv: there is no folder no to write to"),
        ("--tensorboard file", "--tensorboard file: that is a file: name a folder"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_written(trs, finished: Path, arguments: str, message: str) -> None:
    Path("file").touch()
    result = trs("export", finished, *arguments.split())
    assert (result.status, result.err) == (2, f"trs: {message}\n")
    assert [path.name for path in Path().iterdir() if path.name != "trained"] == ["file"]


def test_without_tensorboardx_it_says_how_to_get_it(trs, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    result = trs("export", finished, "--tensorboard", "logs")
    assert result.status == 2
    assert "pip install 'trs-explorer[tensorboard]'" in result.err


def test_images_of_an_evaluation_and_of_a_matrix_are_written_before_anything_is_printed(trs, trained: Path) -> None:
    few = ("--limit", 20, "--steps", 2, "--device", "cpu")
    result = trs("evaluate", trained, *few, "--eps", 0.1, "--save-images", "e.npz", "--json", "e.json")
    assert (result.status, result.err) == (0, "")
    [stored] = json.loads(Path("e.json").read_text())
    with np.load("e.npz", allow_pickle=False) as arrays:
        assert arrays["correct"].tolist() == [rate["outcomes"] for rate in stored["rates"][1:]]
    result = trs("transfer", trained, *few, "--save-images", "t.pt")
    assert result.status == 0
    images = torch.load("t.pt", weights_only=True)
    assert images["fooled"].shape == images["eligible"].shape == (2, 3, 20)
    assert json.loads(images["options"])["kind"] == "transfer"
    for command, what in (("evaluate", "e"), ("transfer", "t")):
        Path(f"{what}.safetensors").symlink_to("nowhere/else")
        failed = trs(command, trained, *few, "--save-images", f"{what}.safetensors")
        assert failed.status in (1, 2)
        assert "safetensors" in failed.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate {run} --save-images i.png", "--save-images i.png: the name must end in .npz, .pt or .safetensors"),
        ("evaluate {run} {other} --save-images i.pt", "--save-images takes the images of one run, got 2 runs"),
        ("evaluate {run} --save-images no/i.pt", "no/i.pt: there is no folder no to write to"),
        ("transfer {run} --save-images i", "--save-images i: the name must end in .npz, .pt or .safetensors"),
        (
            "transfer {run} --protocol all-right --save-images i.pt",
            "--save-images: --protocol all-right makes several images of each: take def6",
        ),
    ],
)
def test_images_that_cannot_be_saved_are_refused_before_the_measurement(trs, finished, fresh, command, message) -> None:
    result = trs(*command.format(run=finished, other=fresh.path).split())
    assert (result.status, result.err) == (2, f"trs: {message}\n")


def test_of_an_imported_run_only_the_weights_are_exported(trs, tmp_path: Path) -> None:
    write_mine(tmp_path)
    assert trs("import", "mine.py:make_ensemble", "--data", "mine.py:points", "--out", "run").status == 0
    result = trs("export", "run", "--csv", "log.csv")
    message = "trs: run was imported, its log has no training: there is nothing for --csv or --tensorboard\n"
    assert (result.status, result.err, Path("log.csv").exists()) == (2, message, False)
    assert trs("export", "run", "--weights", "w.pt").status == 0
