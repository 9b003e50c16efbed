"""Files of images: the same tensors in every format, and what a measurement puts into them."""

import errno
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from trs_explorer import runs
from trs_explorer.cli.exports import IMAGES_SUFFIXES
from trs_explorer.config import resolve
from trs_explorer.measure import EvaluatePlan, Reporting, TransferPlan, evaluate_run, transfer_run
from trs_explorer.measure.saved_images import SUFFIXES, SavedImages, check_images_path, save_images
from trs_explorer.measure.session import INTERRUPTED, RESUMED
from trs_explorer.measure.sharding import ProcessGroup
from trs_explorer.models import build
from trs_explorer.models.stored import load_ensemble
from trs_explorer.options import UsageError
from trs_explorer.training import checkpoints

EVALUATION = EvaluatePlan([("fgsm", 0.2), ("pgd", 0.1)], limit=40, steps=3)


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    run = runs.create(tmp_path / "run", resolve({"data": "bars", "device": "cpu"}))
    checkpoints.save(run, build("mlp", "bars", 2, seed=0), {}, epoch=1, step_in_epoch=0)
    return run


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """A file's tensors and options, read without any code of the project, and without unpickling."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            named = {name: arrays[name] for name in arrays.files}
        return {name: torch.from_numpy(one) for name, one in named.items() if name != "options"}, json.loads(
            named["options"].item()
        )
    if path.suffix == ".pt":
        stored = torch.load(path, weights_only=True)
        return {name: one for name, one in stored.items() if name != "options"}, json.loads(stored["options"])
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["options"])  # noqa: SIM118


def _images() -> SavedImages:
    clean = torch.rand(3, 1, 2, 2)
    moved = torch.rand(3, 2, 1, 2, 2).transpose(0, 1)  # not contiguous
    outcomes = {"correct": torch.tensor([[True, False, True], [False] * 3])}
    return SavedImages(clean, torch.tensor([2, 0, 1]), moved, outcomes, {"run": "ε", "eps": 0.1})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_holds_the_same(suffix: str, tmp_path: Path) -> None:
    path, images = tmp_path / f"images{suffix}", _images()
    path.write_text("before")
    save_images(path, images)
    tensors, options = read(path)
    assert options == images.options
    assert set(tensors) == {"clean", "labels", "adversarial", "correct"}
    for name, value in images.tensors().items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_file_that_was_there(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"images{suffix}"
    path.write_text("before")
    monkeypatch.setattr("trs_explorer.files._fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        save_images(path, _images())
    assert (path.read_text(), [file.name for file in tmp_path.iterdir()]) == ("before", [path.name])


def _full(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_path_is_refused_before_the_measurement(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    for name, message in (("images.png", "must end in"), ("no/images.pt", "there is no folder"), ("folder.npz", "is a folder")):
        with pytest.raises(UsageError, match=message):
            check_images_path(tmp_path / name)
    check_images_path(tmp_path / "images.npz")
    assert SUFFIXES == IMAGES_SUFFIXES


def test_an_evaluations_images_have_the_outcomes_of_its_rates(run: runs.Run) -> None:
    measurement = evaluate_run(run, EVALUATION, images=True)
    images, rates = measurement.images, measurement.result["rates"]
    assert images.adversarial.shape == (2, 40, 1, 1, 2)
    assert evaluate_run(run, EVALUATION).result == measurement.result
    ensemble, _ = load_ensemble(run)
    with torch.no_grad():
        assert ((ensemble(images.clean).argmax(-1) == images.labels) == images.outcomes["clean_correct"]).all()
        for row, (rate, eps) in enumerate(zip(rates[1:], (0.2, 0.1), strict=True)):
            x_adv = images.adversarial[row]
            assert (ensemble(x_adv).argmax(-1) == images.labels).tolist() == rate["outcomes"]
            assert images.outcomes["correct"][row].tolist() == rate["outcomes"]
            assert (x_adv - images.clean).abs().max().item() == pytest.approx(eps, rel=1e-5)
            assert images.options["attacks"][row] == {key: rate[key] for key in ("name", "eps", "c", "norm")}
    assert images.outcomes["clean_correct"].tolist() == rates[0]["outcomes"]
    assert images.options["weights"] == measurement.result["weights"]


def test_without_an_attack_there_are_the_clean_images(run: runs.Run) -> None:
    images = evaluate_run(run, EvaluatePlan([], limit=5), images=True).images
    assert images.adversarial.shape == (0, 5, 1, 1, 2)
    assert (images.outcomes["clean_correct"].shape, images.outcomes["correct"].shape) == ((5,), (0, 5))


@pytest.mark.parametrize("targeted", [False, True])
def test_a_transfer_matrixs_images_have_its_outcomes(run: runs.Run, targeted: bool) -> None:
    plan = TransferPlan("pgd", 0.3, steps=3, limit=300, targeted=targeted)  # two batches
    measurement = transfer_run(run, plan, images=True)
    images, result = measurement.images, measurement.result
    assert transfer_run(run, plan).result == result
    ensemble, _ = load_ensemble(run)
    aim = images.outcomes["wanted"] if targeted else images.labels
    assert (aim == images.labels).any() != targeted

    def answers(x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([*(member(x).argmax(-1) for member in ensemble.members), ensemble(x).argmax(-1)])

    clean = answers(images.clean) == images.labels
    for i, x_adv in enumerate(images.adversarial):
        fooled = (answers(x_adv) == aim) if targeted else (answers(x_adv) != aim)
        eligible = clean & clean[i] & fooled[i]
        eligible[i] = clean[i]
        assert torch.equal(images.outcomes["eligible"][i], eligible)
        assert torch.equal(images.outcomes["fooled"][i], eligible & fooled)
    assert images.outcomes["fooled"].sum(-1).tolist() == result["fooled"]
    assert images.outcomes["eligible"].sum(-1).tolist() == result["eligible"]


def test_several_images_of_each_are_refused(run: runs.Run) -> None:
    with pytest.raises(UsageError, match=r"images cannot be saved with protocol all-right.*take def6"):
        transfer_run(run, TransferPlan(protocol="all-right"), images=True)


@pytest.mark.parametrize("kind", ["evaluate", "transfer"])
def test_the_images_of_several_processes_are_put_together(run: runs.Run, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measure: Callable = evaluate_run if kind == "evaluate" else transfer_run
    measure = partial(
        measure, run, EVALUATION if kind == "evaluate" else TransferPlan("pgd", 0.3, steps=2, limit=41), images=True
    )
    whole = measure()
    parts: list = []
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: parts.append(value) or [])
    assert measure(group=ProcessGroup(1, 2)).images is None
    monkeypatch.setattr(ProcessGroup, "gather", lambda group, about, value: [value, *parts])
    joined = measure(group=ProcessGroup(0, 2))
    assert joined.result == whole.result
    for name, value in whole.images.tensors().items():
        assert torch.equal(joined.images.tensors()[name], value), name


@pytest.mark.parametrize("kind", ["evaluate", "transfer"])
def test_with_images_an_interrupted_measurement_starts_anew(run: runs.Run, kind: str) -> None:
    measure: Callable = evaluate_run if kind == "evaluate" else transfer_run
    plan = EvaluatePlan([("fgsm", 0.2)], limit=300) if kind == "evaluate" else TransferPlan("fgsm", 0.3, limit=300)
    said: list[str] = []

    def interrupt(done: float, total: float | None, now: str = "") -> None:
        if done:
            raise KeyboardInterrupt

    def begin(images: bool) -> list[Path]:
        with pytest.raises(KeyboardInterrupt):
            measure(run, plan, images=images, reporting=Reporting(interrupt, said.append))
        return list(run.path.glob("results/unfinished-*"))

    assert (begin(images=True), said) == ([], [])  # no promise that it will continue
    assert (len(begin(images=False)), said.pop()) == (1, INTERRUPTED)
    assert (len(begin(images=True)), said) == (1, [])  # what another command left stays, and is not used
    whole = measure(run, plan, images=True, reporting=Reporting(notify=said.append))
    assert not whole.images.adversarial.isnan().any()
    assert said == []
    measure(run, plan, reporting=Reporting(notify=said.append))
    assert said == [RESUMED]
