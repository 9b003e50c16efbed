"""Tables that are wider than the terminal: everything is there, in blocks, and nothing is shortened."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from trs_explorer.cli import evaluate_report, transfer
from trs_explorer.cli.blocks import Column, print_table


@pytest.mark.parametrize("width", [20, 30, 40, 80, 200])
def test_every_cell_is_printed_whole_in_lines_that_fit(capsys, width: int) -> None:
    first = [Column("attack", ["apgd-dlr-50", "pgd-50 x5"], "left"), Column("eps", ["0.0313725", "0.3"])]
    columns = [Column(f"column {k}", [f"{k}.25", f"{k}{k}.5"]) for k in range(9)]
    print_table(Console(width=width), first, columns)
    said = capsys.readouterr().out
    assert "…" not in said
    words = re.split(r"[\s│┃]+", said)
    for column in (*first, *columns):
        assert all(cell in words or cell in said for cell in column.cells)
        assert said.count(column.heading) >= 1
    for k in range(9):
        assert {f"{k}.25", f"{k}{k}.5"} <= set(words)
    if width >= 22:
        assert max(map(len, said.splitlines())) <= width


def _matrix(members: int) -> dict:
    cells = range(members)
    rates_ = [[(31 * i + 7 * j) % 101 / 100 for j in range(members + 1)] for i in cells]
    known = {"run": "m", "attack": "pgd-50", "eps": 0.3, "c": None, "norm": "linf", "confidence": None, "targeted": False}
    return {
        **known,
        "protocol": "def6",
        "rates": rates_,
        "intervals": [[[0.0, 1.0] for _ in row] for row in rates_],
        "fooled": [[round(100 * rate) for rate in row] for row in rates_],
        "eligible": [[100 for _ in row] for row in rates_],
        "pooled": [1, 2],
        "pooled_interval": [0.0, 1.0],
        "warnings": [],
    }


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("members", [3, 16])
def test_a_matrix_of_many_members_has_all_its_cells(capsys, monkeypatch, width: int, members: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = _matrix(members)
    transfer._show(result)
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= width
    shown: dict[str, list[str]] = {}
    for line in said.splitlines():
        found = re.match(r"│ (F\d+) +│(.*)│", line)
        if found:
            shown.setdefault(found[1], []).extend(re.findall(r"(\d+)(?= \(| *│)", found[2] + "│"))
    assert shown == {f"F{i + 1}": [f"{100 * rate:.0f}" for rate in row] for i, row in enumerate(result["rates"])}


@pytest.mark.parametrize("width", [40, 80, 120])
def test_an_evaluation_names_every_attack_and_figure(capsys, monkeypatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = ("clean", "apgd-dlr-50", "apgd-ce-50 x5", "worst of 6")
    rate = {"eps": 0.15, "c": None, "n": 1000, "low": 0.1, "high": 0.987, "paper": 82.8}
    listed = [{**rate, "name": name, "correct": 990 - k} for k, name in enumerate(names)]
    evaluate_report.show({"run": "r", "options": {}, "rates": listed, "warnings": [], "trust": []}, checks=False)
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(len(line.rstrip()) for line in said.splitlines()) <= width
    for one in listed:
        assert one["name"] in said
        assert f"{one['correct']} / 1000" in said
        assert f"{one['correct'] / 10:.1f} (10.0 - 98.7)" in said
    assert said.count("82.8") == len(names)


def test_a_black_box_fits_too(trs, trained: Path, fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = trs("blackbox", trained, "--surrogates", fresh.path, "--eps", "0.1", "--limit", 10, "--norm", "l2", "--json", "b.json")
    assert said.status == 0
    assert "…" not in said.out
    assert max(len(line.rstrip()) for line in said.out.splitlines()) <= 40
    [row] = json.loads(Path("b.json").read_text())[0]["rows"]
    assert (
        f"{row['robust']['correct'] * 10:.1f} ({100 * row['robust']['low']:.1f} - {100 * row['robust']['high']:.1f})" in said.out
    )
    assert f"{row['white_box']['correct'] * 10:.1f}" in said.out
    assert {row["robust"]["norm"], row["white_box"]["norm"], *(rate["norm"] for rate in row["each"])} == {"l2"}
    assert all(rate["perturbation"] <= 0.1 * (1 + 1e-5) for rate in (row["white_box"], *row["each"]))
