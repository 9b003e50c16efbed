"""The plan of a sweep: its trials, counted by hand; names that every file system takes; the file in its folder."""

import json
import re
from pathlib import Path

import pytest

from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.sweep_plan import Measure, Sweep, difference, expand, read, store, value_text


def names(*args: object, **kwargs: object) -> list[str]:
    return [one.name for one in expand(*args, **kwargs)]


def test_a_grid_is_every_combination_in_order_with_every_seed() -> None:
    trials = expand({"data": "bars", "method": "trs"}, {"lambda_a": [0.5, 8.0], "members": [2, 3]}, seeds=[0, 1, 5])
    assert [(one.values["lambda_a"], one.values["members"], one.seed) for one in trials] == [
        (a, m, s) for a in (0.5, 8.0) for m in (2, 3) for s in (0, 1, 5)
    ]
    assert all(one.values["data"] == "bars" for one in trials)
    assert trials[7].name == "trs-lambda_a=8-members=2-seed-1"
    assert trials[7].varying == {"lambda_a": 8.0, "members": 2}


def test_a_list_is_its_trials_and_a_grid_multiplies_them() -> None:
    listed = [{"method": "adp", "epochs": 4}, {"method": "trs"}]
    assert names({"data": "mnist"}, {}, listed) == ["adp", "trs"]  # the method tells them apart
    assert names({"data": "mnist"}, {}, [*listed, {"method": "adp"}]) == ["adp-epochs=4", "trs", "adp"]
    assert names({"data": "mnist"}, {"members": [3, 5]}, listed, [1]) == [
        "adp-members=3",
        "adp-members=5",
        "trs-members=3",
        "trs-members=5",
    ]
    assert names({}, {}) == ["trs"]


def test_one_seed_is_in_no_name_but_in_the_values() -> None:
    (trial,) = expand({"data": "bars"}, {}, seeds=[7])
    assert (trial.name, trial.seed) == ("trs", 7)
    assert expand({"data": "bars", "seed": 4}, {})[0].seed == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (({"members": 2}, {"members": [2, 3]}), "members is in [fixed] and in [grid]"),
        (({}, {"members": [2]}, [{"members": 3}]), "members is in [grid] and in [[trial]]"),
        (({"seed": 1}, {}, (), [0, 1]), "a seed in [fixed]"),
        (({}, {"seed": [0, 1]}), 'write seeds = "0-2"'),
        (({"data": "bars"}, {"members": [2, 2]}), "trs-members=2 and trs-members=2-"),
        (({"method": "cos-only"}, {"lambda_b": [0.0, 0.5]}), "trial cos-only-lambda_b=0.5: cos-only fixes --lambda-b at 0"),
        (({"method": "gal"}, {"lambda_a": [1.0]}), "gal has no --lambda-a"),
        (({}, {"lambda_z": [1.0]}), "there is no 'lambda_z'"),
        (({}, {"members": list(range(2, 64)), "epochs": list(range(1, 200))}), "12,338 trials"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        expand(*arguments)


def test_equal_trainings_by_two_ways_are_found() -> None:
    with pytest.raises(UsageError, match="trs-delta=0-lambda_a=1 and trs-delta=0 are the same training"):
        expand({"data": "mnist"}, {}, [{"method": "trs", "delta": 0.0, "lambda_a": 1.0}, {"method": "trs", "delta": 0.0}])


def test_names_are_valid_on_every_file_system() -> None:
    folder = "C:\\pictures/with a * and a very long name " + "x" * 300
    trials = expand({"data": "mnist"}, {"data_dir": [folder, folder + "y"]}, seeds=[0, 1])
    for trial in trials:
        assert re.fullmatch(r"[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*", trial.name)
        assert len(trial.name) <= 100
        assert trial.name.endswith(f"-seed-{trial.seed}")
    assert len({one.name.casefold() for one in trials}) == 4


def test_names_of_code_have_no_folders_and_are_never_a_device_or_a_hidden_training(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def con(ensemble, x, y):\n    return {}\n\n\nstart_x = logs = con\n")
    methods = [f"{tmp_path}/mine.py:{name}" for name in ("con", "start_x", "logs")]
    trials = expand({"data": "bars"}, {"method": methods})
    assert [one.name for one in trials] == ["run-con", "start_x", "run-logs"]
    assert trials[0].code_of_others == [("method", f"{tmp_path}/mine.py:con")]


def test_values_as_text() -> None:
    assert [value_text(one) for one in (8.0, 0.1, 1e-4, 1234567.25, True, 3, "a/b.npz")] == [
        "8",
        "0.1",
        "0.0001",
        "1234567.25",
        "true",
        "3",
        "b.npz",
    ]


# --- the file in a sweep's folder --------------------------------------------------------------------------------------


def sweep(members: int = 2, *, measures: tuple[Measure, ...] = (Measure("evaluate", {"eps": "0.1"}),)) -> Sweep:
    return Sweep(expand({"data": "bars", "members": members}, {"lambda_a": [1.0, 2.0]}), measures)


def test_what_is_stored_is_read_and_the_same_sweep_continues(tmp_path: Path) -> None:
    store(sweep(), tmp_path / "o")
    before = (tmp_path / "o" / "sweep.json").stat().st_mtime_ns
    assert read(tmp_path / "o").to_json() == sweep().to_json()
    store(sweep(), tmp_path / "o")
    assert (tmp_path / "o" / "sweep.json").stat().st_mtime_ns == before


def test_another_sweep_is_refused_with_what_differs(tmp_path: Path) -> None:
    store(sweep(), tmp_path)
    with pytest.raises(RunError, match="trs-lambda_a=1 has members 2 there, 3 here"):
        store(sweep(3), tmp_path)
    with pytest.raises(RunError, match=r"measured there: evaluate eps=0\.1; here: nothing"):
        store(sweep(measures=()), tmp_path)
    more = Sweep(expand({"data": "bars", "members": 2}, {"lambda_a": [1.0, 4.0]}), sweep().measures)
    assert difference(sweep(), more) == "only there: trs-lambda_a=2; only here: trs-lambda_a=4"
    assert difference(sweep(), sweep()) == ""


def test_a_folder_with_other_runs_is_no_sweep(tmp_path: Path) -> None:
    (tmp_path / "trs-lambda_a=2").mkdir()
    with pytest.raises(RunError, match="is no sweep: choose another --out"):
        store(sweep(), tmp_path)
    assert not (tmp_path / "sweep.json").exists()


def test_a_run_is_no_place_for_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match="is a run, not a sweep"):
        store(sweep(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99, "trials": [], "measure": []}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(RunError, match=r"sweep\.json"):
        read(tmp_path)


def test_a_name_in_the_file_never_leads_elsewhere(tmp_path: Path) -> None:
    store(sweep(), tmp_path)
    stored = json.loads((tmp_path / "sweep.json").read_text())
    for name in ("../x", "/etc", ".hidden", "a/b", ""):
        stored["trials"][0]["name"] = name
        (tmp_path / "sweep.json").write_text(json.dumps(stored))
        with pytest.raises(RunError, match="no name of a trial"):
            read(tmp_path)
