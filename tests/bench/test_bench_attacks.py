"""The benchmark of attacks: what it counts, what it calls weaker, and once (slow) the whole; never how fast it is."""

import json
import math

import pytest
import torch
from torch import nn

pytest.importorskip("foolbox")

import attacks
from bench_script import main

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


@pytest.mark.parametrize("attack", [attacks.our_pgd, attacks.foolbox_pgd])
def test_both_get_the_same_budget_and_start_elsewhere_every_time(attack, problem):
    options = {"early_stop": False} if attack is attacks.our_pgd else {}
    repeated = attacks.RepeatedAttack(attack, *problem, eps=0.3, **options)
    with torch.random.fork_rng():
        repeated()
        repeated()
    assert repeated.passes() == attacks.STEPS
    assert not torch.equal(*repeated.images)


def test_who_has_left_takes_part_in_no_pass_and_counts_as_wrong(problem):
    model, x, y = problem
    repeated = attacks.RepeatedAttack(attacks.our_pgd, model, x, y, eps=EPS)
    repeated()
    right = (model(repeated.images[0]).argmax(-1) == y).sum().item()
    assert 5 < right < 25
    assert repeated.accuracy() == pytest.approx(100 * right / 30)
    assert right * attacks.STEPS <= repeated.passed < 30 * attacks.STEPS


def test_every_image_of_every_round_counts(problem):
    model, x, y = problem
    repeated = attacks.RepeatedAttack(lambda model, x, y, seed: (x, 1 - x)[seed], model, x, y)
    repeated()
    repeated()
    flipped = (model(1 - x).argmax(-1) == y).double().mean().item()
    assert repeated.accuracy() == pytest.approx(100 * (1 + flipped) / 2)


@pytest.mark.parametrize(
    ("made", "met"),
    [
        (attacks.time_row("x", 1.0, 0.8), "yes"),
        (attacks.time_row("x", 1.0, 0.81), "NO"),
        (attacks.rate_row("x", 100.0, 90.0, least=0.9), "yes"),
        (attacks.rate_row("x", 100.0, 89.9, least=0.9), "NO"),
        (attacks.rate_row("x", 100.0, 1.0), ""),
        (attacks.accuracy_row("x", 50.0, 51.0), "yes"),
        (attacks.accuracy_row("x", 50.0, 51.1), "WEAKER"),
    ],
)
def test_a_target_is_met_or_not_or_there_is_none(made, met):
    assert made["met"] == met


@pytest.mark.slow
def test_an_attack_that_does_nothing_is_weaker_and_slowness_is_no_failure(problem, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")

    def run() -> int:
        return main("attacks", "", lambda rounds, show: ("", [], attacks.figures("mnist-standard", *problem, rounds=1)), [])

    monkeypatch.setattr(attacks, "LEAST_RATE", 1e9)
    assert run() == 0
    output = capsys.readouterr().out
    assert "mnist-standard, eps 0.15: ms, frozen" in output  # in one line
    assert "WEAKER" not in output
    assert any("no early stop" in line and "NO" in line for line in output.splitlines())
    monkeypatch.setattr(attacks, "pgd", lambda model, x, y, **_: x)
    assert run() == 1
    assert any("correct" in line and "100.0" in line and "WEAKER" in line for line in capsys.readouterr().out.splitlines())


def test_the_lines_beside_the_table_fit_100_columns():
    assert max(map(len, [*attacks.NOTES, attacks.TITLE])) <= 100


@pytest.mark.campaign
@pytest.mark.slow
def test_every_figure_is_there(tmp_path, capsys):
    arguments = ["--rounds", "3", "--json", str(tmp_path / "figures.json")]
    assert main("attacks", "", attacks.bench_attacks, arguments) == 0
    assert "foolbox 3" in capsys.readouterr().out
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert len(rows) == 2 * (2 * 4 + 1)
    assert all(math.isfinite(row["against"]) and math.isfinite(row["ours"]) for row in rows)
    right = {row["what"]: row["ours"] for row in rows if row["what"].endswith("correct")}
    assert right["mnist-trs, eps 0.1: correct"] > right["mnist-trs, eps 0.15: correct"] > 85  # the paper's Table 1: 85.1
    assert 85 > right["mnist-standard, eps 0.1: correct"] > right["mnist-standard, eps 0.15: correct"]
