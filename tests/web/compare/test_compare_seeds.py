"""The Compare page with several seeds of a method: a point with bars, a row with mean and range. Single runs stay as they are."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from trs_explorer.config import resolve
from trs_explorer.evaluation.table1.columns import CLEAN, Column, Figure
from trs_explorer.evaluation.table1.groups import group_seeds
from trs_explorer.evaluation.table1.rows import Row, sort_rows
from trs_explorer.explore.library import Library
from trs_explorer.figures.runs import RunPoint, scatter_spec
from trs_explorer.shipped import folder
from trs_explorer.web.compare import charts, stored_results
from trs_explorer.web.compare.pair import parse_pair
from trs_explorer.web.compare.sections import OF_SEEDS, stored_sections
from trs_explorer.web.compare.stored_results import Probe
from trs_explorer.web.markup import markup

WORST = Column("worst of 7", 0.1)


def row(name: str, seed: int, right: int, method: str = "trs") -> Row:
    figures = {column: Figure("1" * right + "0" * (10 - right)) for column in (CLEAN, WORST)}
    return Row(name, method, [], replace(resolve({"method": method}), seed=seed), name, figures, {}, "images", "0036")


ROWS = [row("t", 0, 8), row("t-seed-1", 1, 6), row("t-seed-2", 2, 7), row("s", 0, 2, "standard")]
PROBES = {
    "t": Probe(0.1, 3, 60, 6, 0.3, 10, (0.01, 0.2)),
    "t-seed-1": Probe(0.3, 9, 60, 6, 0.3, 10, (0.05, 0.3), 0.9),
    "s": Probe(0.5, 30, 60, 6, 0.3, 10, (0.3, 0.7)),
}
APART, WITHIN = {"a": "t-seed-1", "b": "s"}, {"a": "t", "b": "t-seed-1"}


def test_a_point_is_the_mean_with_bars_from_the_smallest_to_the_largest() -> None:
    points, under = charts.robust_points(charts.drawn_rows(ROWS, APART), PROBES, {}, APART)
    assert under == "worst of 7 ε 0.1"
    assert points == {
        "t-seed-1": RunPoint(10.0, 70.0, 60.0, 80.0, 21, 30, "t-seed-1 (3 seeds)", 3, (5.0, 15.0)),  # no probe of seed 2
        "s": RunPoint(50.0, 20.0, *Figure("1100000000").interval, 2, 10, "s"),
    }
    cosines = charts.cosine_points(PROBES, {"t": "trs"}, {"t": ["t", "t-seed-1", "t-seed-2"]})
    assert cosines["t"] == RunPoint(0.2, 10.0, 5.0, 15.0, 12, 120, "trs (2 seeds) †", 2, (0.1, 0.3))
    assert cosines["s"] == charts.cosine_points(PROBES, {})["s"]
    assert list(cosines) == ["t", "s"]
    table = markup(charts.robust_table(points, APART))
    assert "t-seed-1 (A) and 2 other seeds</th><td>10.0</td><td>70.0</td><td>60.0..80.0</td><td>21/30</td>" in table


def test_the_figure_has_both_bars_for_several_seeds_and_one_for_a_run() -> None:
    points = {
        "t": RunPoint(10.0, 70.0, 65.0, 90.0, 21, 30, "t", 3, (8.0, 20.0)),
        "s": RunPoint(50.0, 20.0, 5.0, 40.0, 2, 10, "s"),
    }
    spec = scatter_spec(points, {"a": "t"}, x_title="transfer, %", y_title="accuracy, %")
    group, single = sorted(spec["data"], key=lambda trace: -trace["y"][0])
    assert (group["error_y"]["array"], group["error_y"]["arrayminus"]) == ([20.0], [5.0])
    assert (group["error_x"]["array"], group["error_x"]["arrayminus"]) == ([10.0], [2.0])
    assert "(65.0-90.0), smallest-largest of 3 seeds" in group["hovertemplate"]
    assert "error_x" not in single
    assert "2 of 10" in single["hovertemplate"]
    assert group["marker"]["color"] != single["marker"]["color"]


def test_two_seeds_of_one_method_beside_one_another_are_two_points() -> None:
    drawn = charts.drawn_rows(ROWS, WITHIN)
    assert [one.run for one in drawn] == ["t", "t-seed-1", "t-seed-2", "s"]
    points, _ = charts.robust_points(drawn, PROBES, {}, WITHIN)
    assert {name: point.seeds for name, point in points.items()} == {"t": 1, "t-seed-1": 1, "s": 1}
    assert points["t"].low == Figure("1" * 8 + "00").interval[0]


def test_the_table_has_one_row_a_group_with_mean_range_and_both_intervals() -> None:
    html = markup(stored_results.table1(sort_rows(group_seeds(ROWS)), APART))
    assert "<b>A </b>trs<br><small>3 seeds: 0-2</small>" in html
    figure = group_seeds(ROWS)[0].figures[WORST]
    between, over = figure.between, figure.interval
    assert 'title="seed 0: 8 of 10; seed 1: 6 of 10; seed 2: 7 of 10"' in html
    assert "70.0<br><small>60.0..80.0</small>" in html
    assert f"<small>t {between[0]:.1f}-{between[1]:.1f}</small><br><small>i {over[0]:.1f}-{over[1]:.1f}</small>" in html
    assert "t-seed-2" not in html
    assert "Rows of several seeds" in html
    assert "One seed, so nothing is called between trainings: standard." in html
    alone = markup(stored_results.table1(sort_rows(ROWS[2:]), APART))
    assert "Rows of several seeds" not in alone
    assert "One seed each" in alone


@pytest.mark.slow
def test_the_sections_of_runs_that_are_kept_as_their_table(tmp_path: Path) -> None:
    """Seeds 1 and 2 are a config and a table: their accuracies count, and their transfer is not known."""
    for name in ("mnist-trs", "mnist-standard"):
        shutil.copytree(folder("checkpoints") / name, tmp_path / name)
    for seed in (1, 2):
        path = tmp_path / f"mnist-trs-seed-{seed}"
        (path / "results").mkdir(parents=True)
        config = json.loads((tmp_path / "mnist-trs" / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"seed": seed}))
        table = json.loads((tmp_path / "mnist-trs" / "results" / "table1.json").read_text())
        (path / "results" / "table1.json").write_text(json.dumps(table | {"weights": f"of seed {seed}"}))
    library = Library([tmp_path])
    pair = parse_pair(library, {"a": "mnist-trs", "b": "mnist-standard"})
    sections = stored_sections(library, pair, look="light")
    assert [trace["name"] for trace in sections["robust"].figure["data"]].count("mnist-trs") == 1
    assert {trace["name"] for trace in sections["robust"].figure["data"]} == {"mnist-trs", "mnist-standard"}
    labels = {note["text"] for note in sections["robust"].figure["layout"]["annotations"]}
    assert labels == {"trs (3 seeds)", "standard ‡"}
    assert OF_SEEDS in sections["robust"].words
    assert "n 1000, with 95 % intervals" in sections["robust"].words
    assert "<b>A </b>trs<br><small>3 seeds: 0-2</small>" in markup(sections["table1"].table)
    assert "Without a probe, so not drawn: mnist-trs-seed-1, mnist-trs-seed-2." in sections["cosine"].words
