"""`trs bench attacks`: what it counts, what it calls weaker, and once (slow) the whole; never how fast it is."""

import json
import math
import sys

import pytest
import torch
from torch import nn

pytest.importorskip("foolbox")

from trs_explorer.bench import attacks, report
from trs_explorer.options import UsageError

EPS = 0.05  # fools some of the images below, and not all


@pytest.fixture
def problem():
    """A linear model that is right on all images; the radius fools some of them, but not all."""
    g = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 16, generator=g))
    x = torch.rand(30, 1, 4, 4, generator=g)
    return model, x, model(x).argmax(-1)


def run(**changed):
    return report.run("attacks", **{"rounds": 3, "model": "patch", "json_file": None, **changed})


@pytest.mark.parametrize("attack", [attacks.our_pgd, attacks.foolboxs_pgd])
def test_both_get_the_same_budget_and_start_elsewhere_every_time(attack, problem):
    options = {"early_stop": False} if attack is attacks.our_pgd else {}
    called = attacks.Called(attack, *problem, eps=0.3, **options)
    with torch.random.fork_rng():
        called()
        called()
    assert called.passes() == attacks.STEPS
    assert not torch.equal(*called.images)


def test_who_has_left_takes_part_in_no_pass_and_counts_as_wrong(problem):
    model, x, y = problem
    called = attacks.Called(attacks.our_pgd, model, x, y, eps=EPS)
    called()
    right = (model(called.images[0]).argmax(-1) == y).sum().item()
    assert 5 < right < 25
    assert called.right() == pytest.approx(100 * right / 30)
    assert right * attacks.STEPS <= called.seen < 30 * attacks.STEPS


def test_every_image_of_every_round_counts(problem):
    model, x, y = problem
    called = attacks.Called(lambda model, x, y, seed: (x, 1 - x)[seed], model, x, y)
    called()
    called()
    flipped = (model(1 - x).argmax(-1) == y).double().mean().item()
    assert called.right() == pytest.approx(100 * (1 + flipped) / 2)


@pytest.mark.parametrize(
    ("made", "met"),
    [
        (attacks.time_row("x", 1.0, 0.8), "yes"),
        (attacks.time_row("x", 1.0, 0.81), "NO"),
        (attacks.rate_row("x", 100.0, 90.0, least=0.9), "yes"),
        (attacks.rate_row("x", 100.0, 89.9, least=0.9), "NO"),
        (attacks.rate_row("x", 100.0, 1.0), ""),
        (attacks.right_row("x", 50.0, 51.0), "yes"),
        (attacks.right_row("x", 50.0, 51.1), "WEAKER"),
    ],
)
def test_a_target_is_met_or_not_or_there_is_none(made, met):
    assert made["met"] == met


@pytest.mark.slow
def test_an_attack_that_does_nothing_is_weaker_and_slowness_is_no_failure(problem, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(attacks, "bench_attacks", lambda rounds, say: ([], attacks.figures("mnist-standard", *problem, rounds=1)))
    monkeypatch.setattr(attacks, "LEAST_RATE", 1e9)
    assert run() == 0
    said = capsys.readouterr().out
    assert "mnist-standard, eps 0.15: ms, frozen" in said  # in one line
    assert "WEAKER" not in said
    assert any("none leaves" in line and "NO" in line for line in said.splitlines())
    monkeypatch.setattr(attacks, "pgd", lambda model, x, y, **_: x)
    assert run() == 1
    assert any("right" in line and "100.0" in line and "WEAKER" in line for line in capsys.readouterr().out.splitlines())


def test_the_lines_beside_the_table_fit_100_columns():
    assert max(map(len, [*attacks.BESIDE, f"trs bench attacks: {attacks.TITLE}"])) <= 100


def test_without_foolbox_one_line_names_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    monkeypatch.delitem(sys.modules, "trs_explorer.bench.attacks")
    with pytest.raises(UsageError, match=r"bench attacks needs foolbox.*pip install 'trs-explorer\[test\]'"):
        run()


def test_another_module_that_is_missing_is_not_called_foolbox(monkeypatch):
    monkeypatch.setitem(sys.modules, "trs_explorer.evaluation.accuracy", None)
    monkeypatch.delitem(sys.modules, "trs_explorer.bench.attacks")
    with pytest.raises(ModuleNotFoundError, match=r"evaluation\.accuracy"):
        run()


@pytest.mark.campaign
@pytest.mark.slow
def test_every_figure_is_there(tmp_path, monkeypatch, capsys):
    from trs_explorer.cli import main

    monkeypatch.setattr(sys, "argv", ["trs", "bench", "attacks", "--rounds", "3", "--json", str(tmp_path / "figures.json")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "foolbox 3" in capsys.readouterr().out
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert len(rows) == 2 * (2 * 4 + 1)
    assert all(math.isfinite(row["against"]) and math.isfinite(row["ours"]) for row in rows)
    right = {row["what"]: row["ours"] for row in rows if row["what"].endswith("right")}
    assert right["mnist-trs, eps 0.1: right"] > right["mnist-trs, eps 0.15: right"] > 85  # the paper's Table 1: 85.1
    assert 85 > right["mnist-standard, eps 0.1: right"] > right["mnist-standard, eps 0.15: right"]
