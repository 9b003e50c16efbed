"""`trs compare`: what it prints and exports is what was stored, whatever the terminal; what is missing is measured once."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from made_results import digest, made, result, same, table

from trs_explorer import runs
from trs_explorer.evaluation.table1.columns import CLEAN, Column, measured_columns
from trs_explorer.results import write_result

PGD = Column("pgd", 0.1)


@pytest.fixture(autouse=True)
def _no_measuring(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """But for the tests that are about it."""
    if "measured" not in request.node.name:
        monkeypatch.setattr("trs_explorer.cli.compare._measure", lambda *_, **__: pytest.fail("it was measured"))


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A folder of three runs on MNIST whose figures are all different, and one in the plane."""
    for number, (method, warned) in enumerate({"standard": (2, 8, 15), "trs": (), "cos-l2": (8,)}.items()):
        counts = {column: 930 - 50 * place - 7 * number for place, column in enumerate(measured_columns("mnist"))}
        made(tmp_path / "runs" / f"mnist-{method}", counts, warned=warned, method=method)
    made(tmp_path / "runs" / "bars-trs", same(300, "bars"), n=400, data="bars")
    return tmp_path / "runs"


@pytest.mark.parametrize("width", [30, *(pytest.param(width, marks=pytest.mark.slow) for width in (60, 120)), 80, 200])
def test_no_figure_is_cut_or_hidden(trs, three: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = trs("compare", three, "--json", "o.json")
    assert said.status == 0
    assert all(len(line.rstrip()) <= width for line in said.out.splitlines())
    assert "…" not in said.out
    blocks, notes = said.out.split("MASKED: ")
    words = blocks.split()
    [shown] = json.loads(Path("o.json").read_text())
    assert [one["label"] for one in shown["rows"]] == ["cos-l2", "trs", "standard"]
    for one in shown["rows"]:
        assert len(one["rates"]) == 21
        for rate in one["rates"]:
            assert f"{100 * rate['correct'] / rate['n']:.1f}" in words
            assert f"{100 * rate['low']:.1f}-{100 * rate['high']:.1f}" in words
            if rate["paper"] is not None:
                assert re.search(rf"paper {rate['paper']:.1f}\b", blocks)
    assert len(re.findall(r"paper \d+\.\d\b", blocks)) == 2 * 16
    for label in ("cos-l2", "standard"):
        rows = [line for line in blocks.splitlines() if line.strip().startswith(f"{label} ")]
        assert len(rows) == sum("──" in line for line in blocks.splitlines())
    assert len(notes) > 1000


def test_without_a_terminal_or_columns_it_is_120_wide(trs, three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = trs("compare", three).out
    monkeypatch.delenv("COLUMNS")
    assert trs("compare", three).out == wide
    assert "\x1b" not in wide


def test_every_row_says_what_warned_and_the_words_are_below(trs, three: Path) -> None:
    said = trs("compare", three).out
    assert "MASKED: attacks miss adversarial images of cos-l2, standard:" in said
    assert "2, 8, 15" in said
    assert "no warnings" in said
    assert " 15: random noise does no better than the attack." in " ".join(said.split())
    assert "12 of 17 sanity checks run" in said
    assert "Order under pgd ε 0.1: Paper (PGD): trs > cos-l2; ours: " in said
    assert "cos-l2, ead c 10: 31.6 %, in the paper 0.8;" in " ".join(said.split())


def test_the_fewest_and_the_most_checks_of_a_row_are_told() -> None:
    from trs_explorer.cli.compare_report import _trust
    from trs_explorer.config import resolve
    from trs_explorer.evaluation.table1.rows import Row

    def row(checks: int) -> Row:
        return Row("run", "trs", [], resolve({}), "w", {}, dict.fromkeys(range(1, checks + 1), False))

    assert _trust([row(15), row(12), row(13)])[-1].startswith("12-15 of 17 sanity checks run per row;")
    assert _trust([row(12), row(12)])[-1].startswith("12 of 17 sanity checks run per row;")


def test_a_csv_row_is_a_run_an_attack_and_a_parameter(trs, three: Path) -> None:
    trs("compare", three, "--csv", "o.csv", "--json", "o.json")
    rates = [(one, rate) for one in json.loads(Path("o.json").read_text())[0]["rows"] for rate in one["rates"]]
    with Path("o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(rates) == 3 * 21
    for line, (one, rate) in zip(rows, rates, strict=True):
        assert (line["run"], line["weights_sha256"], line["seed"]) == (one["run"], one["weights"], "0")
        assert (int(line["correct"]), int(line["n"]), float(line["low"])) == (rate["correct"], rate["n"], rate["low"])
        assert line["paper"] == ("" if rate["paper"] is None else str(rate["paper"]))


def test_markdown_has_attacks_as_rows(trs, three: Path) -> None:
    said = trs("compare", three, "--markdown").out.splitlines()
    assert said[0] == "| attack | cos-l2 | *paper* | trs | *paper* | standard |"
    assert len(said) == 2 + 21
    assert {line.count("|") for line in said} == {7}
    assert said[2] == "| clean | 91.6 (89.7-93.2) |  | 92.3 (90.5-93.8) |  | 93.0 (91.2-94.4) |"
    assert said[7].startswith("| pgd, ε .1 | 66.6 (")
    assert said[7].split("|")[3].strip() == "*73.4*"
    assert said[11].startswith("| cw, c .1 |")


def test_the_best_of_a_column_is_marked_and_long_names_are_folded(trs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for name, right in ((70 * "Q", 900), ("short", 500)):
        made(tmp_path / "runs" / name, same(right), method="smooth-only")
    said = trs("compare", tmp_path / "runs").out
    assert max(map(len, said.splitlines())) <= 60
    assert said.count("*90.0") == 21
    assert "*50.0" not in said
    assert said.split("short")[0].count("Q") == 70
    assert trs("compare", tmp_path / "runs", "--markdown").out.count("| **90.0** (") == 21


def test_the_plane_has_a_table_of_its_own_when_it_is_named_or_alone(trs, three: Path) -> None:
    said = trs("compare", three)
    assert "bars:" not in said.out
    assert (
        said.err
        == f"left out: 1 on bars, for which the paper has no figures; to include them, name them: trs compare {three}/bars-trs\n"
    )
    both = trs("compare", three, three / "bars-trs")
    assert both.err == ""
    assert both.out.index("mnist:") < both.out.index("bars:")
    assert "75.0" in both.out.split("bars:")[1]
    assert "apgd-dlr" not in both.out.split("bars:")[1]
    for run in three.glob("mnist-*"):
        shutil.rmtree(run)
    alone = trs("compare", three)
    assert (alone.err, alone.out.count("bars:")) == ("", 1)


def test_surrogates_and_runs_without_weights_are_left_out_unless_named(trs, three: Path) -> None:
    made(three / "surrogate-mnist-patch-5", same(1), method="standard", members=5)
    runs.create(three / "new", runs.open_run(three / "mnist-trs").config)
    said = trs("compare", three, "--json", "o.json")
    assert said.status == 0
    assert "left out: 1 trained for another command; to include them, name them: trs compare" in said.err
    assert f"left out: 1 without a checkpoint yet; {three}/new\n" in said.err
    named = trs("compare", three, three / "surrogate-mnist-patch-5", "--json", "o.json")
    assert named.status == 0
    labels = [one["label"] for one in json.loads(Path("o.json").read_text())[0]["rows"]]
    assert labels == ["cos-l2", "trs", "mnist-standard", "surrogate-mnist-patch-5"]
    refused = trs("compare", three / "new")
    assert (refused.status, refused.out) == (1, "")
    assert "has no checkpoint yet" in refused.err


def test_figures_of_other_weights_are_not_taken(trs, three: Path) -> None:
    (three / "mnist-trs" / "epoch-0036.safetensors").write_text("trained on")
    said = trs("compare", three, "--stored", "--json", "o.json")
    assert said.status == 0
    found = {one["label"]: len(one["rates"]) for one in json.loads(Path("o.json").read_text())[0]["rows"]}
    assert found == {"cos-l2": 21, "trs": 0, "standard": 21}
    assert said.out.count("missing") == 21 + 1
    assert "not checked" in said.out
    assert list(three.glob("*/results/table1.json")) == []


def test_a_table_is_stored_from_an_evaluation_and_read_from_then_on(trs, three: Path) -> None:
    first = trs("compare", three)
    stored = table(runs.open_run(three / "mnist-trs"))
    assert (stored["command"], stored["seed"], stored["device"]) == ("trs compare mnist-trs --again", 0, "cpu")
    assert stored["weights"] == digest(runs.open_run(three / "mnist-trs"))
    for file in three.glob("*/results/evaluate-*"):
        file.unlink()
    assert trs("compare", three).out == first.out
    file = three / "mnist-trs" / "results" / "table1.json"
    assert file.stat().st_size < 30e3
    file.write_text(file.read_text()[:-100])
    torn = trs("compare", three, "--stored")
    assert torn.status == 0
    assert "missing" in torn.out
    assert "Traceback" not in torn.err


def test_stored_measures_and_writes_nothing_and_pieces_are_put_together(trs, tmp_path: Path) -> None:
    run = made(tmp_path / "run", {CLEAN: 900, PGD: 500}, method="trs")
    write_result(run, "evaluate", result({PGD: 400, Column("fgsm", 0.1): 600}, n=1000, weights=digest(run), warned=(8,)))
    before = sorted(path.name for path in (run.path / "results").iterdir())
    said = trs("compare", run.path, "--stored", "--json", "o.json")
    assert said.status == 0
    [one] = json.loads(Path("o.json").read_text())[0]["rows"]
    assert {rate["name"]: rate["correct"] for rate in one["rates"]} == {"clean": 900, "fgsm": 600, "pgd": 400}
    assert one["warned"] == [8]
    assert sorted(path.name for path in (run.path / "results").iterdir()) == before


def test_fewer_images_are_the_first_of_those_stored(trs, three: Path) -> None:
    trs("compare", three / "mnist-trs", "--limit", 900, "--json", "o.json")
    [one] = json.loads(Path("o.json").read_text())[0]["rows"]
    assert (one["rates"][0]["correct"], one["rates"][0]["n"]) == (900, 900)
    stored = table(runs.open_run(three / "mnist-trs"))
    assert (stored["rates"][0]["n"], stored["command"]) == (1000, "trs compare mnist-trs --again")


def test_wrong_usage_and_what_cannot_be_compared(trs, three: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for line, status, words in (
        (("--stored", "--again"), 2, "choose one of --stored"),
        ((three, "--csv", "no/such/file.csv"), 2, "no/such/file.csv"),
        ((tmp_path / "empty",), 1, "there is no run in this folder"),
        (("nowhere",), 1, "nowhere: no such run"),
    ):
        said = trs("compare", *line)
        assert (said.status, said.out) == (status, "")
        assert words in said.err
        assert said.err.count("\n") == 1


def test_a_run_is_measured_once_and_read_back(trs, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trs("compare", trained, "--limit", 8, "--json", "one.json")
    assert first.status == 0
    assert first.err == "trained: measuring 9 of 9 figures; Ctrl-C saves the results so far\n"
    stored = table(runs.open_run(trained))
    assert [path.name for path in (trained / "results").iterdir()] == ["table1.json"]
    assert stored["command"] == "trs compare trained --again --limit 8"
    assert {"run", "checkpoint", "device", "versions", "options", "trust", "stored"} <= set(stored)

    monkeypatch.setattr("trs_explorer.cli.compare._measure", lambda *_, **__: pytest.fail("it was measured again"))
    second = trs("compare", trained, "--limit", 8, "--json", "two.json")
    assert (second.status, second.err, second.out) == (0, "", first.out)
    assert Path("one.json").read_text() == Path("two.json").read_text()

    evaluated = trs("evaluate", trained, "--attacks", "fgsm,mim", "--limit", 8, "--json", "e.json")
    assert evaluated.status == 0
    theirs = {rate["name"].removesuffix("-50"): rate for rate in json.loads(Path("e.json").read_text())[0]["rates"]}
    ours = {rate["name"]: rate for rate in json.loads(Path("one.json").read_text())[0]["rows"][0]["rates"]}
    assert {name: ours[name]["correct"] for name in theirs} == {name: rate["correct"] for name, rate in theirs.items()}


@pytest.fixture
def two_attacks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The table is fgsm and pgd; the attacks of every batch that is measured."""
    from trs_explorer.evaluation import accuracy
    from trs_explorer.evaluation.table1 import columns

    monkeypatch.setattr(columns, "MEASURED_ATTACKS", ("fgsm", "pgd"))
    true, seen = accuracy.add_batch, []

    def counted(rate, *rest):
        seen.append(rate.name)
        return true(rate, *rest)

    monkeypatch.setattr(accuracy, "add_batch", counted)
    return seen


def test_a_kill_after_all_was_measured_and_stored_leaves_nothing_behind(
    trs, trained: Path, two_attacks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained / "results"
    with monkeypatch.context() as patch:
        patch.setattr("trs_explorer.results.PartialResult.delete", lambda _: None)
        trs("compare", trained, "--limit", 5)
    [partial] = folder.glob("unfinished-*")
    other = folder / "unfinished-evaluate-0.json"
    other.write_text(partial.read_text().replace('"seed": 0', '"seed": 1'))
    (folder / ".table1.json.4194999.tmp").touch()  # of a process that is gone
    assert trs("compare", trained, "--limit", 5).status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["table1.json", other.name]


def test_only_what_is_missing_is_measured(trs, trained: Path, two_attacks: list[str]) -> None:
    trs("evaluate", trained, "--attacks", "fgsm", "--limit", 5)
    two_attacks.clear()
    said = trs("compare", trained, "--limit", 5)
    assert "measuring 1 of 3 figures" in said.err
    assert two_attacks == ["pgd-50"]


def test_a_run_that_cannot_be_measured_is_left_out_and_not_announced(trs, trained: Path, two_attacks: list[str]) -> None:
    weights = next(trained.parent.joinpath(shutil.copytree(trained, "broken")).glob("*.safetensors"))
    weights.write_bytes(b"x")
    said = trs("compare", ".", "--limit", 5)
    assert said.status == 0
    first, second = said.err.splitlines()
    assert first.startswith("left out: ")
    assert weights.name in first
    assert second.startswith("trained: measuring 3 of 3 figures")


def test_what_is_known_of_weights_that_a_training_has_just_replaced_is_measured_anew(
    trs, trained: Path, two_attacks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trs_explorer.evaluation.table1 import stored
    from trs_explorer.models import build
    from trs_explorer.training import checkpoints

    trs("evaluate", trained, "--attacks", "fgsm", "--limit", 5)
    two_attacks.clear()
    run, true = runs.open_run(trained), stored.read_results

    def replaced(*asked):
        found = true(*asked)
        checkpoints.save(run, build("mlp", "bars", 2, seed=9), {}, epoch=31, step_in_epoch=0)
        return found

    monkeypatch.setattr(stored, "read_results", replaced)
    assert trs("compare", trained, "--limit", 5).status == 0
    assert two_attacks == ["clean", "fgsm", "pgd-50"]
    assert table(run)["weights"] == digest(run)


@pytest.mark.slow
def test_interrupted_it_goes_on_and_what_was_measured_stays(
    trs, trained: Path, tmp_path: Path, two_attacks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trs_explorer.evaluation import accuracy

    shutil.copytree(trained, tmp_path / "second")
    counted = accuracy.add_batch

    def stopping(rate, *rest):
        if len(two_attacks) == 5:
            raise KeyboardInterrupt
        return counted(rate, *rest)

    monkeypatch.setattr(accuracy, "add_batch", stopping)
    command = ("compare", trained, tmp_path / "second", "--limit", 5, "--again")
    stopped = trs(*command)
    assert stopped.status == 130
    assert "the same command continues from there" in stopped.err
    monkeypatch.setattr(accuracy, "add_batch", counted)
    assert trs(*command).status == 0
    assert two_attacks == ["clean", "fgsm", "pgd-50", "clean", "fgsm", "pgd-50"]
    for folder in (trained, tmp_path / "second"):
        assert [path.name for path in (folder / "results").iterdir()] == ["table1.json"]


def test_a_broken_run_is_named_and_the_others_are_measured_all_the_same(
    trs, trained: Path, three: Path, two_attacks: list[str]
) -> None:
    folder = trained.parent / "both"
    folder.mkdir()
    shutil.move(trained, folder / "whole")
    made(folder / "broken", None, data="bars")
    said = trs("compare", folder, "--limit", 5)
    assert said.status == 0
    assert "left out: " in said.err
    assert "broken" in said.err
    assert "Traceback" not in said.err
    assert "100.0" in said.out or "pgd" in said.out
    named = trs("compare", folder / "broken", folder / "whole", "--limit", 5)
    assert (named.status, named.out) == (1, "")


def test_a_read_only_run_is_still_measured(trs, trained: Path, two_attacks: list[str]) -> None:
    (trained / "results").write_text("in the way")
    said = trs("compare", trained, "--limit", 5)
    assert said.status == 0
    assert "not stored with the run: cannot write" in said.err
    assert "pgd" in said.out
