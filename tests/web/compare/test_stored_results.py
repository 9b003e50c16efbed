"""What is stored of all runs: the last probe's counts, curves over eps, charts that plotly takes, and the table."""

import json
import re
import shutil
from pathlib import Path

import pytest

from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.table1.columns import CLEAN, Column, Figure
from trs_explorer.evaluation.table1.rows import Row
from trs_explorer.explore.library import Library
from trs_explorer.figures.runs import RunPoint
from trs_explorer.results import write_result
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder
from trs_explorer.web.compare import charts, stored_results
from trs_explorer.web.compare.stored_results import Probe, last_probe, stored_rows
from trs_explorer.web.markup import markup

SIDES = {"a": "one", "b": "two"}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    for name in ("mnist-trs", "mnist-dverge", "bars-trs"):
        shutil.copytree(folder("checkpoints") / name, tmp_path / name, ignore=shutil.ignore_patterns("table1.json"))
    return Library([tmp_path])


def row(name: str, right: dict[Column, str], checks: dict[int, bool] | None = None) -> Row:
    config = open_run(folder("checkpoints") / "mnist-trs").config
    return Row(name, name, [], config, "", {column: Figure(text) for column, text in right.items()}, checks or {})


TWO = [
    row(
        "one",
        {CLEAN: "1111", Column("pgd", 0.1): "1110", Column("pgd", 0.15): "1000", Column("cw", None, 1.0): "1100"},
        {8: True},
    ),
    row("two", {CLEAN: "1110", Column("pgd", 0.1): "1100", Column("worst of 3", 0.1): "0000"}),
]


def test_the_last_probe_is_summed_over_pairs_of_different_members(library: Library) -> None:
    probe = last_probe(library, "mnist-dverge")
    lines = (folder("checkpoints") / "mnist-dverge" / "events.jsonl").read_text().splitlines()
    event = [e for e in map(json.loads, lines) if e["kind"] == "matrix"][-1]
    off = [(i, j) for i in range(3) for j in range(3) if i != j]
    assert (probe.fooled, probe.eligible) == tuple(sum(event[k][i][j] for i, j in off) for k in ("fooled", "eligible"))
    stored = json.loads((folder("checkpoints") / "mnist-dverge" / "results" / "probe.json").read_text())
    assert probe.cosine == pytest.approx(sum(stored["log_odds_cosine"][i][j] for i, j in off) / 6)
    assert probe.vanishing == pytest.approx(sum(stored["zero_gradients"]) / 3)
    assert probe.interval == tuple(100 * end for end in stored["transfer_interval"])
    assert probe.interval[0] < probe.percent < probe.interval[1]


@pytest.mark.parametrize(
    "damage",
    [
        {"fooled": [[1]]},
        {"eligible": None},
        {"log_odds_cosine": "x"},
        {"transfer_interval": 3},
        {"eps": "?"},
        {"zero_gradients": [None]},
    ],
)
def test_a_damaged_probe_is_none(library: Library, damage: dict) -> None:
    log = library.run("mnist-trs").path / "events.jsonl"
    event = [e for e in map(json.loads, log.read_text().splitlines()) if e["kind"] == "matrix"][-1]
    stored = log.parent / "results" / "probe.json"
    event |= {name: value for name, value in json.loads(stored.read_text()).items() if name != "kind"}
    stored.unlink()
    with log.open("a") as file:
        file.write(json.dumps({**event, **damage}) + "\n")
    assert last_probe(library, "mnist-trs") is None


def test_runs_on_other_data_and_unreadable_ones_are_left_out(library: Library) -> None:
    assert [one.run for one in stored_rows(library, library.run("mnist-dverge").config)] == ["mnist-dverge", "mnist-trs"]
    for weights in (library.run("mnist-trs").path).glob("epoch-*.safetensors"):
        weights.unlink()
    assert [one.run for one in stored_rows(library, library.run("mnist-dverge").config)] == ["mnist-dverge"]


def test_curves_begin_clean_and_go_over_eps() -> None:
    curves = charts.robust_curves(TWO)
    assert list(curves) == ["pgd", "worst of several"]  # cw has no eps
    assert [point[:2] for point in curves["pgd"]["one"]] == [(0.0, 100.0), (0.1, 75.0), (0.15, 25.0)]
    assert curves["worst of several"] == {
        "two": [(0.0, 75.0, *Figure("1110").interval, 4), (0.1, 0.0, *Figure("0000").interval, 4)]
    }


def test_other_evaluations_of_the_same_weights_add_points(library: Library) -> None:
    known = stored_rows(library, library.run("mnist-dverge").config)
    weights = next(one.weights for one in known if one.run == "mnist-trs")
    rate = {"name": "pgd-50", "eps": 0.2, "correct": 8, "n": 10, "norm": "linf"}
    rates = [
        rate,
        {**rate, "correct": 1, "n": 4},
        {**rate, "eps": 0.3, "name": "pgd-7"},
        {**rate, "norm": "l2"},
        {"name": 3},
        None,
    ]
    results = [
        {"weights": weights, "options": {}, "rates": rates},
        {"weights": "others", "options": {}, "rates": [{**rate, "eps": 0.4}]},
        {"weights": weights, "options": {"restarts": 5}, "rates": [rate]},
        {"weights": weights, "rates": 7},
    ]
    for result in results:
        write_result(library.run("mnist-trs"), "evaluate", result)
    low, high = wilson(8, 10)
    point = (0.2, 80.0, 100 * low, 100 * high, 10)
    expected = {"pgd": [point], "pgd-7": [(0.3, *point[1:])], "pgd, 5 starts": [point]}
    assert stored_results.other_points(library, known) == {"mnist-trs": expected}
    curves = charts.robust_curves(TWO, {"one": {"pgd": [point, (0.1, 0.0, 0.0, 9.0, 99)]}})  # .1 is the table's
    assert [p[:2] for p in curves["pgd"]["one"]] == [(0.0, 100.0), (0.1, 75.0), (0.15, 25.0), (0.2, 80.0)]


def test_points_of_runs_are_their_own_and_marked() -> None:
    probes = {
        "one": Probe(0.1, 3, 60, 6, 0.3, 10, (0.01, 0.2)),
        "two": Probe(0.0, 30, 60, 6, 0.3, 10, (0.3, 0.7), 0.9),
        "three": Probe(0.5, 0, 6, 6, 0.3, 10, (0.0, 0.3)),
    }
    assert charts.cosine_points(probes, {"three": "3"}) == {
        "one": RunPoint(0.1, 5.0, 1.0, 20.0, 3, 60, "one"),
        "two": RunPoint(0.0, 50.0, 30.0, 70.0, 30, 60, "two †"),
        "three": RunPoint(0.5, 0.0, 0.0, 30.0, 0, 6, "3"),
    }
    points, under = charts.robust_points(TWO, probes, {})
    assert under == "worst of 3 ε 0.1"
    assert points == {"two": RunPoint(50.0, 0.0, *Figure("0000").interval, 0, 4, "two")}
    low, high = Figure("0000").interval
    assert f"two (B)</th><td>50.0</td><td>0.0</td><td>{low:.1f}-{high:.1f}</td><td>0/4</td>" in markup(
        charts.robust_table(points, SIDES)
    )
    assert charts.robust_points([], probes, {}) == ({}, "")


def test_what_is_not_stored_is_said_with_the_way_to_it() -> None:
    curves = charts.robust_curves(TWO)
    assert charts.curves_caption(curves, TWO, {"a": "one", "b": "nobody"}).endswith(
        "Nothing is stored for nobody: trs compare measures it. Masked, so too high: one."
    )
    assert "Nothing is stored for" not in charts.curves_caption(curves, TWO, SIDES)
    assert charts.curves_caption({}, [], SIDES) == (
        "No accuracy under attack is stored for these runs yet. Measure it with: trs compare"
    )


def test_the_table_names_sides_intervals_and_masking() -> None:
    html = markup(stored_results.table1(TWO, SIDES))
    assert "<b>A </b>one" in html
    assert "check 8 warns, MASKED" in html
    assert re.search(r'<div (?=[^>]*tabIndex="0")(?=[^>]*role="region")[^>]*class="scrolling"[^>]*><table', html)
    assert "attacks miss adversarial examples of one" in html
    low, high = Figure("1110").interval
    assert f'<td title="3 of 4">75.0<br><small>{low:.1f}-{high:.1f}</small>' in html
    assert "run trs compare to measure them" in markup(stored_results.table1([row("none", {})], SIDES))


def test_the_probes_table_has_every_count() -> None:
    html = markup(stored_results.probe_table({"one": Probe(0.125, 3, 60, 6, 0.3, 10, (0.01, 0.2), 0.4)}, SIDES))
    assert '<th scope="row">one (A)</th><td>0.125</td><td>40</td><td>5.0</td>' in html
    assert "3/60" in html


def test_accuracy_that_rises_with_eps_is_said_to_be_too_high() -> None:
    fine = [(0.0, 99.0, 98, 100, 100), (0.1, 50.0, 40, 60, 100), (0.2, 51.0, 41, 61, 100)]
    stuck = [(0.0, 99.0, 98, 100, 100), (0.1, 35.0, 25, 45, 100), (0.2, 34.0, 25, 45, 100), (0.3, 42.5, 33, 53, 100)]
    assert charts.rising_words({"a": fine}) == ""
    words = charts.rising_words({"a": fine, "b": stuck})
    assert words.startswith(" b has 34.0 % at ε 0.2 and 42.5 % at 0.3: the attack gets stuck there")
