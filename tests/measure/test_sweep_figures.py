"""The figures of a sweep: rates of stored results, those of several seeds together, and what the chart says of them."""

import json
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.figures.sweep_figure import sweep_spec
from trs_explorer.measure.sweep.figures import Rate, mean_rate, sweep_rows
from trs_explorer.measure.sweep.state import missing, record
from trs_explorer.sweep_plan import Measure, Sweep, expand

MEASURES = [Measure("evaluate", {"eps": "0.1"}), Measure("transfer")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two lambdas with seeds 0 and 1: 10 to 40 of 100 right, 1 to 4 of 10 transferred."""
    for place, trial in enumerate(sweep().trials, 1):
        run = runs.create(tmp_path / trial.name, resolve(trial.values))
        (run.path / "results").mkdir()
        rate = {"name": "pgd-50", "eps": 0.1, "c": None, "correct": 10 * place, "n": 100, "low": 0.05, "high": 0.5}
        content = {"evaluate": {"rates": [rate, {"name": "damaged"}, 3]}}
        content["transfer"] = {"pooled": [place, 10], "pooled_interval": [0.0, 0.9], "eps": 0.3}
        for measure in MEASURES:
            (run.path / "results" / f"{measure.what}-1.json").write_text(json.dumps(content[measure.what]))
            record(run, measure, f"{measure.what}-1.json")
    return tmp_path


def sweep() -> Sweep:
    return Sweep(expand({"data": "bars"}, {"lambda_a": [1.0, 2.0], "method": ["trs"]}, seeds=[0, 1]), MEASURES)


def test_the_mean_of_two_seeds_has_the_t_interval_between_trainings() -> None:
    # 95 % of t with 1 degree of freedom lie within 12.706; of 40 and 42 the standard error of the mean is 1.
    rate = mean_rate([Rate(40.0, 30.0, 50.0, 100), Rate(42.0, 32.0, 52.0, 100)])
    assert (rate.percent, rate.n, rate.seeds) == (41, 100, 2)
    assert (rate.low, rate.high) == pytest.approx((41 - 12.706, 41 + 12.706), abs=1e-3)
    alone = Rate(40, 30, 50, 100)
    assert mean_rate([alone]) is alone
    assert mean_rate([Rate(0.0, 0.0, 1.0, 9), Rate(100.0, 99.0, 100.0, 9)]).low == 0


def test_a_row_is_a_setting_and_a_column_what_was_measured(folder: Path) -> None:
    first, second = sweep_rows(sweep(), folder)
    assert (first.name, second.name) == ("trs-lambda_a=1", "trs-lambda_a=2")  # of both seeds
    assert (first.varying, second.varying) == ({"lambda_a": 1.0, "method": "trs"}, {"lambda_a": 2.0, "method": "trs"})
    assert {label: rate.percent for label, rate in first.rates.items()} == {"pgd-50 ε 0.1": 15.0, "transfer ε 0.3": 15.0}
    assert {label: (rate.percent, rate.n) for label, rate in second.rates.items()} == {
        "pgd-50 ε 0.1": (35.0, 100),
        "transfer ε 0.3": (35.0, 10),
    }


def test_what_was_not_measured_by_this_sweep_is_missing(folder: Path) -> None:
    run = runs.open_run(folder / sweep().trials[0].name)
    assert missing(run, MEASURES) == []
    other = Measure("evaluate", {"eps": "0.2"})
    assert missing(run, [other, *MEASURES]) == [other]
    (run.path / "results" / "transfer-1.json").unlink()
    assert missing(run, MEASURES) == [MEASURES[1]]
    assert sweep_rows(sweep(), folder)[0].rates["transfer ε 0.3"] == Rate(20.0, 0.0, 90.0, 10)
    (run.path / "results" / "sweep.json").write_text("damaged")
    assert missing(run, MEASURES) == MEASURES


def test_the_chart_shows_each_rate_at_its_setting_with_its_interval(folder: Path) -> None:
    rows = sweep_rows(sweep(), folder)
    spec = sweep_spec(rows)
    titles = [one["text"] for one in spec["layout"]["annotations"]]
    assert titles == ["<b>pgd-50 ε 0.1</b>", "<b>transfer ε 0.3</b>"]
    pgd, transfer = spec["data"]
    assert (pgd["x"], pgd["y"], pgd["mode"]) == ([1.0, 2.0], [15.0, 35.0], "lines+markers")
    assert (transfer["xaxis"], transfer["y"]) == ("x2", [15.0, 35.0])
    rate = rows[0].rates["pgd-50 ε 0.1"]
    assert (pgd["error_y"]["array"][0], pgd["error_y"]["arrayminus"][0]) == (rate.high - 15.0, 15.0 - rate.low)
    assert spec["layout"]["xaxis"]["title"]["text"] == "lambda_a"
    assert "2 seeds" in pgd["customdata"][0]


def test_lines_are_the_other_settings_and_methods_are_categories(folder: Path) -> None:
    trials = expand({"data": "bars"}, {"method": ["trs", "standard"], "members": [2, 3, 5]})
    rows = sweep_rows(Sweep(trials), folder)
    rates = {"clean": Rate(90, 80, 95, 10)}
    rows = [type(row)(row.varying, row.trials, rates) for row in rows]
    assert [(one["name"], one["x"]) for one in sweep_spec(rows)["data"]] == [("trs", [2, 3, 5]), ("standard", [2, 3, 5])]
    methods = [row for row in rows if row.varying["members"] == 2]
    (only,) = sweep_spec(methods)["data"]
    assert (only["x"], only["mode"]) == (["trs, members 2", "standard, members 2"], "markers")
    assert sweep_spec([])["data"] == []
