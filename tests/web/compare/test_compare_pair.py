"""Which two runs are compared: defaults, wishes that cannot be had, and the plane that both share."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity
from web_explorer import Explorer

from trs_explorer.explore.library import Library
from trs_explorer.explore.planes import loss_directions
from trs_explorer.shipped import folder
from trs_explorer.web.compare.pair import default_opponent, parse_pair
from trs_explorer.web.compare.slices import common_plane
from trs_explorer.web.compare.stored_results import runs_on_same_data

PLAIN = {"a": "mnist-trs", "b": "mnist-standard", "image": "3"}


def test_it_opens_on_trs_and_a_run_on_the_same_data(explorer: Explorer) -> None:
    pair = parse_pair(explorer.library, {})
    assert (pair.a.loaded.name, pair.b.loaded.name, pair.along, pair.warnings) == ("mnist-trs", "mnist-standard", "both", [])
    assert default_opponent(explorer.library, "mnist-standard") == "mnist-trs"
    assert default_opponent(explorer.library, "bars-cos-only") == "bars-cos-only"  # there is no other on the plane
    assert parse_pair(explorer.library, {"a": "bars-cos-only", "along": "b"}).along == "a"  # which has one plane


def test_the_baseline_is_dverges_run(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trs_explorer.web.compare.pair.BASELINE", "trs")
    assert default_opponent(explorer.library, "mnist-standard") == "mnist-trs"
    monkeypatch.setattr("trs_explorer.web.compare.pair.BASELINE", "cos-only")  # on other data: no baseline here
    assert default_opponent(explorer.library, "mnist-trs") == "mnist-standard"


def test_it_does_not_open_on_a_run_that_has_saved_nothing(tmp_path: Path) -> None:
    for name in ("mnist-trs", "mnist-dverge", "mnist-adp", "mnist-gal"):
        shutil.copytree(folder("checkpoints") / name, tmp_path / name, ignore=shutil.ignore_patterns("results"))
    for name in ("mnist-trs", "mnist-dverge"):
        for weights in (tmp_path / name).glob("epoch-*"):
            weights.unlink()
    assert parse_pair(Library([tmp_path]), {}).names == {"a": "mnist-adp", "b": "mnist-gal"}


@pytest.mark.parametrize(
    ("wrong", "side", "names"), [("a", "A", ("mnist-trs", "mnist-standard")), ("b", "B", ("mnist-standard", "mnist-trs"))]
)
def test_a_run_that_is_not_there_is_replaced_in_words(explorer: Explorer, wrong: str, side: str, names: tuple[str, str]) -> None:
    pair = parse_pair(
        explorer.library, {"b": "mnist-standard", "a": "mnist-standard"} | {wrong: "nope"} | ({} if wrong == "b" else {"b": ""})
    )
    assert (pair.a.loaded.name, pair.b.loaded.name) == names
    assert len(pair.warnings) == 1
    assert "nope" in pair.warnings[0]
    assert pair.warnings[0].endswith(f": {side} is {names['AB'.index(side)]}")


def test_both_sides_are_attacked_with_the_options_of_the_form(explorer: Explorer) -> None:
    pair = parse_pair(explorer.library, {**PLAIN, "attack": "pgd", "loss": "margin", "restarts": "3", "step_size": ".05"})
    for side in (pair.a, pair.b):
        assert (side.state.loss, side.state.restarts, side.state.step_size) == ("margin", 3, 0.05)
    assert {"loss": "margin", "restarts": 3, "step_size": 0.05}.items() <= pair.to_json().items()


def test_what_cannot_be_had_is_said(explorer: Explorer) -> None:
    pair = parse_pair(explorer.library, {"a": "mnist-trs", "b": "bars-cos-only", "eps": "much", "along": "up"})
    assert pair.b.loaded.name == "mnist-standard"
    assert [line.split(":")[0].split(" ")[0] for line in pair.warnings] == ["bars-cos-only", "along", "eps"]
    assert pair.a.state.eps == pair.b.state.eps == 0.3


@pytest.mark.parametrize("along", ["both", "a", "b"])
def test_the_plane_goes_along_the_ensembles_gradients(explorer: Explorer, along: str) -> None:
    runs = [explorer.library.load(PLAIN[side]) for side in "ab"]
    for image in range(100):  # one at which neither gradient vanishes
        x, y = runs[0].data.images(torch.tensor([image])), runs[0].data.y[image : image + 1]
        of_a, of_b = (loss_directions(loaded.ensemble, x, y)[-1].flatten() for loaded in runs)
        if min(of_a.norm(), of_b.norm()) > 1e-3:
            break
    plane = common_plane(parse_pair(explorer.library, {**PLAIN, "image": image, "along": along}))
    u, v = plane.u.flatten(), plane.v.flatten()
    assert torch.equal(plane.origin, x[0])
    assert cosine_similarity(u, of_b if along == "b" else of_a, dim=0).item() == pytest.approx(1, abs=1e-4)
    assert (u @ v).item() == pytest.approx(0, abs=1e-5)
    rest = of_b / of_b.norm() - (of_b / of_b.norm() @ u) * u
    assert (cosine_similarity(v, rest, dim=0).item() > 0.999) == (along == "both")


def test_runs_on_other_images_of_one_name_are_no_pair(tmp_path: Path) -> None:
    for name in ("mnist-trs", "mnist-adp", "mnist-gal"):
        shutil.copytree(folder("checkpoints") / name, tmp_path / name, ignore=shutil.ignore_patterns("results"))
    config = tmp_path / "mnist-adp" / "config.json"
    stored = json.loads(config.read_text())
    config.write_text(json.dumps(stored | {"data_dir": "/elsewhere", "data_fingerprint": {"test": "1"}}))
    library = Library([tmp_path])
    assert runs_on_same_data(library, library.run("mnist-trs").config) == ["mnist-gal", "mnist-trs"]
    assert default_opponent(library, "mnist-adp") == "mnist-adp"
    pair = parse_pair(library, {"a": "mnist-trs", "b": "mnist-adp"})
    assert pair.names["b"] == "mnist-gal"
    assert pair.warnings == ["mnist-adp is on other mnist images than mnist-trs: B is mnist-gal"]
