"""`trs evaluate --smallest-eps`: what it prints, stores and exports, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest

from trs_explorer.cli import smallest_eps
from trs_explorer.evaluation.smallest_eps import MOST_STEPS


def test_it_prints_stores_and_exports_the_same(trs, trained: Path) -> None:
    few = ("--attacks", "fgsm,pgd", "--steps", 2, "--limit", 30, "--device", "cpu")
    result = trs(
        "evaluate", trained, "--smallest-eps", "--eps", "8/25", "--tolerance", 0.02, *few, "--json", "s.json", "--csv", "s.csv"
    )
    assert (result.status, result.err) == (0, "")
    [stored] = [json.loads(path.read_text()) for path in (trained / "results").iterdir()]
    assert json.loads(Path("s.json").read_text()) == [stored]
    assert (stored["attacks"], stored["high"], stored["tolerance"]) == (["fgsm", "pgd-2"], 0.32, 0.02)
    with Path("s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["smallest_eps"]) if row["smallest_eps"] else None) for row in rows] == stored["smallest_eps"]
    assert [int(row["fooled"]) for row in rows] == [eps is not None for eps in stored["smallest_eps"]]
    assert [int(row["image"]) for row in rows] == list(range(30))
    shown = [stored["curve"][i] for i in (0, 2, 4, 6, 8, 10, 12, 14, 16)]
    for point in shown:
        row = next(line for line in result.out.splitlines() if f" {point['eps']:.4g} " in line and "correct" not in line)
        assert f" {point['correct']} / 30 " in row
        assert f"{100 * point['low']:.1f} - {100 * point['high']:.1f}" in row
    assert f"median smallest ε {stored['median']:.4g}" in result.out


@pytest.mark.slow
def test_the_defaults_are_the_data_sets_radius_in_64_steps_by_attacks_with_a_radius(trs, trained: Path) -> None:
    result = trs("evaluate", trained, "--smallest-eps", "--attacks", "table1", "--steps", 1, "--limit", 2, "--json", "s.json")
    assert result.status == 0
    [stored] = json.loads(Path("s.json").read_text())
    assert (stored["high"], stored["tolerance"]) == (0.325, 0.325 / 64)
    assert {"fgsm", "pgd-1"} <= set(stored["attacks"])
    assert not {"cw", "ead"} & set(stored["attacks"])
    assert smallest_eps.MOST_STEPS == MOST_STEPS


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--smallest-eps --eps 0.1,0.2", "--smallest-eps takes one --eps, the largest radius, got 2"),
        ("--smallest-eps --eps 0", "--smallest-eps: --eps must be above 0, got 0"),
        ("--smallest-eps --eps 0.2 --tolerance 0.3", "--tolerance must lie between --eps / 10,000 and --eps (0.2), got 0.3"),
        ("--smallest-eps --tolerance x", "--tolerance takes a number such as 0.005 or 1/255, got 'x'"),
        ("--smallest-eps --tolerance nan", "--tolerance must lie between --eps / 10,000 and --eps (0.325), got nan"),
        ("--smallest-eps --attacks cw", "--smallest-eps: cw has no radius"),
        ("--smallest-eps --trust", "--trust has no meaning with --smallest-eps"),
        ("--smallest-eps --save-images i.pt", "--save-images has no meaning with --smallest-eps"),
        ("--tolerance 0.1", "--tolerance is of --smallest-eps: give that too"),
        ("--smallest-eps --attacks apgd-dlr", "--smallest-eps needs an attack with a radius, such as pgd"),
    ],
)
def test_wrong_usage_is_said(trs, finished: Path, flags: str, message: str) -> None:
    result = trs("evaluate", finished, *flags.split())
    assert (result.status, result.err) == (2, f"trs: {message}\n")
