"""The attacks' hyper-parameters as flags: what reaches the attack, what is stored, what is refused."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.evaluation.table1.stored import parse_evaluation
from trs_explorer.results import read_results


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def pgd_calls(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What PGD was called with."""
    pgd_file = importlib.import_module("trs_explorer.attacks.pgd")
    calls, true = [], pgd_file.pgd

    def recorded(model, x, y, **options):
        calls.append(options)
        return true(model, x, y, **options)

    monkeypatch.setattr(pgd_file, "pgd", recorded)
    return calls


def stored(run: Path, kind: str) -> dict:
    return read_results(runs.open_run(run), kind)[0]


@pytest.mark.usefixtures("few_steps")
def test_evaluate_hands_its_options_to_the_attacks_and_stores_them(trs, run: Path, pgd_calls: list[dict]) -> None:
    flags = ("--loss", "margin", "--step-size", "2/255", "--restarts", 3, "--eps", "8/255", "--steps", 4, "--limit", 10)
    shown = trs("evaluate", run, "--attacks", "fgsm,pgd", *flags)
    assert (shown.status, shown.err) == (0, "")
    call = pgd_calls[0]  # a check with eps 0 follows
    del call["generator"]
    assert call == {"eps": 8 / 255, "steps": 4, "restarts": 3, "loss": "margin", "step_size": 2 / 255}
    result = stored(run, "evaluate")
    assert [rate["name"] for rate in result["rates"]] == ["clean", "fgsm", "pgd-margin-4 x3"]
    assert result["options"] == {"limit": 10, "steps": 4, "restarts": 3, "loss": "margin", "step_size": 2 / 255}
    assert "pgd-margin-4 x3" in shown.out
    assert "step size 0.00784314" in shown.out


@pytest.mark.usefixtures("few_steps")
def test_only_what_is_not_usual_is_stored_and_the_table_takes_no_figures_of_other_options(trs, run: Path) -> None:
    flags = ("evaluate", run, "--attacks", "pgd", "--eps", 0.1, "--limit", 10)
    for more, options in (
        (("--loss", "ce"), {}),
        (("--loss", "dlr", "--attacks", "fgsm,mora"), None),
        (("--loss", "margin"), {"loss": "margin"}),
        (("--step-size", "0.01"), {"step_size": 0.01}),
    ):
        if options is None:
            assert trs(*flags, *more).status == 2
            continue
        assert trs(*flags, *more).status == 0
        result = stored(run, "evaluate")
        assert result["options"] == {"limit": 10, "steps": 50, "restarts": 1, **options}
        parsed = parse_evaluation(result, weights=result["weights"], data="bars", limit=10)
        assert (parsed is None) == bool(options)


def test_transfer_hands_its_options_to_the_attack_and_says_them(trs, run: Path, pgd_calls: list[dict]) -> None:
    flags = ("--loss", "margin", "--step-size", "0.05", "--restarts", 2, "--steps", 3, "--limit", 10, "--eps", "8/255")
    shown = trs("transfer", run, *flags, "--json", "o.json")
    assert (shown.status, shown.err) == (0, "")
    assert {(call["loss"], call["step_size"], call["restarts"], call["steps"]) for call in pgd_calls} == {("margin", 0.05, 2, 3)}
    result = json.loads(Path("o.json").read_text())
    assert result["attack"] == "pgd-margin-3 x2"
    assert result["options"] == {"steps": 3, "loss": "margin", "step_size": 0.05, "restarts": 2}
    assert "transfer of pgd-margin-3 x2, ε 0.0313725, step size 0.05" in " ".join(shown.out.split())


@pytest.mark.usefixtures("few_steps")
def test_a_loss_takes_the_place_of_both_losses_of_the_black_box_protocol(trs, run: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert trs("train", "--data", "bars", "--epochs", 1, "--seed", 5, "--out", first, "--device", "cpu", "--plain").status == 0
    flags = ("blackbox", run, "--surrogates", first, "--eps", "8/255", "--limit", 10, "--json", "o.json")
    assert trs(*flags).status == 0
    usual = json.loads(Path("o.json").read_text())[0]
    shown = trs(*flags, "--loss", "margin", "--step-size", "0.01", "--restarts", 2)
    assert shown.status == 0
    changed = json.loads(Path("o.json").read_text())[0]
    assert [rate["name"] for rate in usual["rows"][0]["each"]] == [
        f"first, pgd {loss}, start {start}" for loss in ("ce", "margin") for start in (1, 2, 3)
    ]
    assert [rate["name"] for rate in changed["rows"][0]["each"]] == [f"first, pgd margin, start {start}" for start in (1, 2, 3)]
    assert "options" not in usual
    assert changed["options"] == {"step_size": 0.01, "restarts": 2, "loss": "margin"}
    assert "; loss margin; step size 0.01; restarts 2" in " ".join(shown.out.split())
