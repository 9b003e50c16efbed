"""`trs bounds`: what it prints, stores and exports is one and the same; it works on imported members of several architectures."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from custom_code import forgotten, write_mine

from trs_explorer.evaluation.bounds.of_pairs import Bounds, PairBounds
from trs_explorer.evaluation.bounds.theorems import Quantities, lower_bound, upper_bound

DIFFERENT = '''
import torch
from torch import nn


class Wide(nn.Module):
    """A network whose layers are functions of torch."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(2, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x.flatten(1))))


def make_ensemble():
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Flatten(), nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2))
    convolution = nn.Sequential(nn.Conv2d(1, 4, (1, 2)), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    return [Wide(), deep, convolution]


def points(train):
    x = torch.rand(40 if train else 20, 1, 1, 2, generator=torch.Generator().manual_seed(int(train)))
    return x, (x[:, 0, 0, 0] > 0.5).long(), ["left", "right"]
'''


@pytest.fixture
def _code() -> Iterator[None]:
    with forgotten():
        yield


def test_what_is_printed_stored_and_exported_is_the_same(trs, trained: Path) -> None:
    arguments = ("--eps", "0.3,0.02", "--steps", 4, "--limit", 40, "--samples", 1)
    result = trs("bounds", trained, *arguments, "--json", "out.json", "--csv", "out.csv")
    assert (result.status, result.err) == (0, "")
    [stored] = [json.loads(path.read_text()) for path in (trained / "results").iterdir()]
    assert json.loads(Path("out.json").read_text()) == [stored]
    assert (stored["kind"], stored["eps"], stored["n"], stored["attack"]) == ("bounds", [0.02, 0.3], 40, "pgd-4")
    assert [(pair["eps"], pair["surrogate"], pair["target"]) for pair in stored["pairs"]] == [
        (0.02, 0, 1), (0.02, 1, 0), (0.3, 0, 1), (0.3, 1, 0)
    ]  # fmt: skip
    text = " ".join(result.out.split())
    assert "untargeted pgd-4 in L2, 40 test images; gradients of all 2 classes" in text
    for sentence in stored["sentences"]:
        assert sentence in text
    for pooled in stored["pooled"]:
        low, high = pooled["interval"]
        assert f"{pooled['transferred']} / 80" in text
        assert f"{100 * pooled['rate']:.1f} ({100 * low:.1f} - {100 * high:.1f})" in text
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, pair in zip(rows, stored["pairs"], strict=True):
        assert (row["surrogate"], row["target"]) == (f"F{pair['surrogate'] + 1}", f"F{pair['target'] + 1}")
        for name in ("eps", "beta", "lowest", "highest", "steepest", "c_f", "c_g", "rate", "loss_f", "loss_g"):
            assert float(row[name]) == pair[name], name
        for side in ("lower", "upper"):
            bound, why = pair[f"{side}_bound"], pair[f"{side}_vacuous"]
            assert row[f"{side}_bound"] == ("" if bound is None else str(bound))
            assert row[f"{side}_vacuous_by"] == ("" if why is None else why["quantity"])


def test_the_strongest_bounds_of_all_pairs_are_printed_under_their_names(capsys) -> None:
    from trs_explorer.cli.bounds_report import show

    strong = Quantities(
        n=10, eps=0.5, beta=0.1, lowest=0.99, highest=0.2, steepest=0.5, least=3.0, risk_f=0.02, risk_g=0.03, loss_f=0.1,
        loss_g=0.2, alpha=0.05, c_f=-0.49, c_g=0.5, transferred=7, shortest_f=1.0, shortest_g=1.0,
    )  # fmt: skip
    weak = replace(strong, lowest=0.9, loss_f=0.3, transferred=6)
    pairs = tuple(PairBounds(i, 1 - i, q, ("1" * q.transferred).ljust(10, "-")) for i, q in enumerate((strong, weak)))
    bounds = Bounds(10, (0.5,), 2, False, (2, 2), (3,), False, pairs)
    about = {"run": "made", "checkpoint": "0007", "attack": "pgd-4", "seed": 0, "warnings": []}
    show([{**about, **bounds.to_json()}], pairs=False)
    [row] = [line for line in capsys.readouterr().out.splitlines() if "13 / 20" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[1] == f"at least {100 * lower_bound(strong):.1f}" != f"at least {100 * lower_bound(weak):.1f}"
    assert cells[4] == f"at most {100 * upper_bound(strong):.1f}" != f"at most {100 * upper_bound(weak):.1f}"


def test_the_transfer_beside_the_bounds_is_that_of_trs_transfer(trs, trained: Path) -> None:
    trs("bounds", trained, "--eps", "0.3", "--steps", 4, "--samples", 0, "--json", "bounds.json", "--limit", 50)
    trs("transfer", trained, "--eps", "0.3", "--norm", "l2", "--steps", 4, "--json", "transfer.json", "--limit", 50)
    [bounds], matrix = (json.loads(Path(f"{name}.json").read_text()) for name in ("bounds", "transfer"))
    for pair in bounds["pairs"]:
        i, j = pair["surrogate"], pair["target"]
        assert (pair["transferred"], pair["eligible"]) == (matrix["fooled"][i][j], matrix["eligible"][i][j])
        assert pair["outcomes"] == matrix["outcomes"][i][j]
        assert pair["rate"] == pair["transferred"] / 50


def test_every_pair_and_epoch_has_a_row(trs, trained: Path) -> None:
    [weights] = trained.glob("epoch-*.safetensors")
    shutil.copy(weights, trained / "epoch-0007.safetensors")
    arguments = ("--eps", "0.1", "--steps", 1, "--limit", 10, "--samples", 0)
    result = trs("bounds", trained, *arguments, "--epochs", "all", "--pairs", "--targeted", "--json", "out.json")
    assert result.status == 0
    rows = [line.split() for line in result.out.splitlines() if "→" in line and "│" in line]
    assert [(row[1], row[5:8]) for row in rows[:4]] == [
        (epoch, pair.split()) for epoch in ("7", "30") for pair in ("F1 → F2", "F2 → F1")
    ]
    seven, last = json.loads(Path("out.json").read_text())
    assert (seven["checkpoint"], last["checkpoint"]) == ("0007", "0030")
    assert seven["pairs"] == last["pairs"]
    assert seven["targeted"] is True
    assert len(list((trained / "results").iterdir())) == 2


@pytest.mark.usefixtures("_code")
def test_an_imported_ensemble_of_three_architectures(trs, tmp_path: Path) -> None:
    write_mine(tmp_path, DIFFERENT)
    assert trs("import", "mine.py:make_ensemble", "--data", "mine.py:points", "--out", "run").status == 0
    with forgotten():
        assert trs("bounds", "run").status == 2  # code of others runs only where it is allowed
    result = trs("bounds", "run", "--allow-code", "--eps", "0.02,0.2", "--steps", 3, "--json", "out.json")
    assert (result.status, result.err.replace("imported\n", "")) == (0, "")
    [stored] = json.loads(Path("out.json").read_text())
    assert [(pair["surrogate"], pair["target"]) for pair in stored["pairs"][:6]] == [
        (i, j) for i in range(3) for j in range(3) if i != j
    ]
    assert stored["kinks"] is True
    assert stored["n"] == 20
    assert all(pair["beta"] > 0 for pair in stored["pairs"])
    own = trs("bounds", "run", "--allow-code", "--eps", "0.2", "--attack", "mine.py:right", "--limit", 3)
    assert own.status == 2
    (tmp_path / "step.py").write_text("def right(model, x, y, *, eps):\n    return (x + x.new_tensor([eps, 0])).clamp(0, 1)\n")
    own = trs("bounds", "run", "--allow-code", "--eps", "0.2", "--attack", "step.py:right", "--limit", 3)
    assert own.status == 0
    assert "untargeted step.py:right in L2" in " ".join(own.out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attack", "cw"), "--attack: cw has no radius: the theorems bound attacks within one; take pgd"),
        (("--attack", "apgd-dlr"), "apgd-dlr needs 3 classes"),
        (("--attack", "pgdd"), "Did you mean pgd?"),
        (("--eps", "0"), "--eps: the bounds are of attacks with a radius above 0, got 0"),
        (("--eps", "9"), "no two images of bars are further apart than 1.414 in l2"),
        (("--eps", "x"), "--eps takes numbers"),
        (("--samples", -1), "--samples must lie in [0, 10,000], got -1"),
        (("--classes", 1), "--classes must lie in [2, 100,000], got 1"),
        (("--epochs", "3"), "--epochs: no checkpoint of epoch 3: stored are 30; or all"),
        (("--json", "no/such.json"), "there is no folder no"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(trs, trained: Path, arguments: tuple, words: str) -> None:
    result = trs("bounds", trained, *arguments)
    assert (result.status, result.out) == (2, "")
    assert words in result.err
    assert not (trained / "results").exists()
