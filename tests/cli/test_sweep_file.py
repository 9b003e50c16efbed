"""The TOML file of `trs sweep`: what it means, and errors that name file, key and value."""

from pathlib import Path

import pytest

from trs_explorer.cli.sweep_file import EXAMPLE, named, read_sweep, summaries
from trs_explorer.options import UsageError
from trs_explorer.sweep_plan import Measure


def read(text: str, *overrides: str, seeds: str | None = None):
    Path("s.toml").write_text(text)
    return read_sweep("s.toml", overrides, seeds)


def test_the_example_in_the_help_is_a_sweep() -> None:
    sweep = read(EXAMPLE)
    assert len(sweep.trials) == 2 * 3 * 3
    assert sweep.measures == [Measure("evaluate", {"attacks": "pgd,mora", "eps": "0.1,0.15"})]
    assert sweep.trials[1].name == "trs-lambda_b=0.05-seed-1"


def test_the_named_sweeps_are_the_papers() -> None:
    assert named() == ("ablation-delta", "ablation-lambda", "members", "surrogates", "table1")
    sizes = {name: len(read_sweep(name).trials) for name in named()}
    assert sizes == {"ablation-delta": 5 * 3, "ablation-lambda": 4 * 4 * 3, "members": 2 * 4 * 3, "surrogates": 6, "table1": 10}
    methods = {one.values["method"] for one in read_sweep("table1").trials}
    assert methods == {
        *("adaboost", "gradient-boost", "ckae", "adp", "gal", "dverge", "cos-only", "cos-l2", "trs"),
        "standard",
    }
    assert {one.values["members"] for one in read_sweep("members").trials} == {2, 3, 5, 8}
    assert [one.what for one in read_sweep("surrogates").measures] == ["blackbox"]
    assert len(summaries()) == 5
    assert "(48 trainings)" in summaries()[1]


def test_seeds_and_settings_of_flags_replace_those_of_the_file() -> None:
    text = 'seeds = [3, 4]\n[fixed]\ndata = "bars"\n[[trial]]\nmethod = "trs"\nepochs = 9\n[[trial]]\nmembers = 3\n'
    trials = read(text, "epochs=2", "adv-eps=8/255", "adversarial=true", seeds="0").trials
    assert [one.values["epochs"] for one in trials] == [2, 2]
    assert trials[0].values["adv_eps"] == 8 / 255
    assert [one.name for one in trials] == ["trs", "trs-members=3"]
    assert [one.seed for one in read(text).trials] == [3, 4, 3, 4]


def test_files_are_found_beside_the_description(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.py").write_text("def net(shape, classes):\n    return None\n")
    (tmp_path / "there" / "s.toml").write_text('[grid]\nmodel = ["mine.py:net", "patch"]\n')
    first, second = read_sweep("there/s.toml").trials
    assert first.values["model"] == f"{tmp_path}/there/mine.py:net"
    assert (first.name, second.name) == ("trs-model=net", "trs-model=patch")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["s.toml: nothing says what to train", "[fixed]"]),
        ('seeds = "0-2"\n', ["s.toml: nothing says what to train"]),
        ('[grid]\nmethod = ["standard", "trs"]\nlambda_b = [1]\n', ["trial standard-lambda_b=1", "--lambda-b", "[[trial]]"]),
        ("x = ", ["s.toml is not TOML"]),
        ("lambda_a = 1\n", ["s.toml", "'lambda_a'", "fixed, grid"]),
        ("fixed = 3\n", ["s.toml", "[fixed]", "3"]),
        ("[fixed]\nmembers = 1\n", ["s.toml: [fixed]", "--members", "got 1"]),
        ("[grid]\nmembers = [3, 1]\n", ["s.toml: [grid] members", "--members", "got 1"]),
        ("[grid]\nmembers = 3\n", ["s.toml: [grid] members", "list", "3"]),
        ("[grid]\nmembers = []\n", ["s.toml: [grid] members", "[]"]),
        ("[grid]\nlambda-a = [1]\nlambda_a = [2]\n", ["s.toml: [grid]", "twice"]),
        ("trial = 3\n", ["s.toml: trial"]),
        ("[[trial]]\n", ["s.toml: trial"]),
        ('[[trial]]\nmembers = 3\n[[trial]]\nlr = "x"\n', ["s.toml: [[trial]] 2", "--lr", "'x'"]),
        ('seeds = "4-1"\n', ["s.toml: seeds 4-1"]),
        ("seeds = true\n", ["s.toml: seeds", "True"]),
        ('measure = "table1"\n', ["s.toml: measure", "'table1'"]),
        ('measure = ["table2"]\n', ["s.toml: measure", "'table2'", "table1"]),
        ('measure = ["transfer", "transfer"]\n', ["s.toml: measure", "once"]),
        ("[evaluate]\nlimit = 3\n", ["s.toml: [evaluate]", "measure"]),
        ('measure = ["evaluate"]\n[evaluate]\nlimits = 3\n', ["s.toml: [evaluate]", "'limits'", "Did you mean limit"]),
        ('measure = ["evaluate"]\n[evaluate]\nlimit = 0\n', ["s.toml: [evaluate]", "--limit", "got 0"]),
        ('measure = ["evaluate"]\n[evaluate]\neps = 3\n', ["s.toml: [evaluate]", "--eps", "3"]),
        ('measure = ["evaluate"]\n[evaluate]\nattacks = "pgx"\n', ["s.toml: [evaluate]", "'pgx'"]),
        ('measure = ["evaluate"]\n[evaluate]\ntrust = 1\n', ["s.toml: [evaluate]", "got 1"]),
    ],
)
def test_errors_name_the_file_the_key_and_the_value(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        read(text)
    for word in words:
        assert word in str(error.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Did you mean table1"):
        read_sweep("table2")
    with pytest.raises(UsageError, match=r"no\.toml"):
        read_sweep("no.toml")
    with pytest.raises(UsageError, match="such as epochs=5"):
        read("", "epochs")
