"""`trs evaluate` and `trs transfer` on a small trained run: what they print, store and export is one and the same."""

import csv
import importlib
import json
import shutil
from math import sqrt
from pathlib import Path

import pytest

from trs_explorer import runs


def _wilson(k: int, n: int) -> tuple[float, float]:
    """The roots of (p - k/n)^2 = z^2 p (1 - p) / n."""
    z2, share = 1.959963984540054**2, k / n
    a, b, c = 1 + z2 / n, -2 * share - z2 / n, share * share
    root = sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def _truth(run: Path) -> tuple[list[bool], list[list[bool]]]:
    """Right or wrong per clean test image: the ensemble's, and each member's."""
    from trs_explorer import data
    from trs_explorer.models.stored import load_ensemble

    ensemble, _ = load_ensemble(runs.open_run(run))
    test = data.load("bars", train=False)
    x, y = test.images(slice(None)), test.y
    members = [(member(x).argmax(-1) == y).tolist() for member in ensemble.members]
    probabilities = sum(member(x).softmax(-1) for member in ensemble.members)
    return (probabilities.argmax(-1) == y).tolist(), members


def test_evaluate_prints_stores_and_exports_the_same_counts(trs, trained: Path, tmp_path: Path) -> None:
    result = trs("evaluate", trained, "--eps", "0.05,0.325", "--steps", 4, "--json", "out.json", "--csv", "out.csv")
    assert (result.status, result.err) == (0, "")
    [stored] = [json.loads(path.read_text()) for path in (trained / "results").iterdir()]
    assert json.loads((tmp_path / "out.json").read_text()) == [stored]

    rates = stored["rates"]
    plan = [("clean", 0.0), ("fgsm", 0.05), ("fgsm", 0.325), ("pgd-4", 0.05), ("pgd-4", 0.325)]
    assert [(rate["name"], rate["eps"]) for rate in rates] == plan
    assert rates[0]["outcomes"] == _truth(trained)[0]
    assert rates[0]["correct"] > rates[-1]["correct"]
    for rate in rates:
        assert rate["n"] == len(rate["outcomes"]) == 400
        assert rate["correct"] == sum(rate["outcomes"])
        assert (rate["low"], rate["high"]) == pytest.approx(_wilson(rate["correct"], 400), abs=1e-12)
        row = next(line for line in result.out.splitlines() if f" {rate['name']} " in line and f" {rate['eps']:g} " in line)
        assert f"{rate['correct']} / 400" in row
        assert f"{rate['correct'] / 4:.1f}" in row
        assert f"{100 * rate['low']:.1f} - {100 * rate['high']:.1f}" in row

    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(rates)
    for row, rate in zip(rows, rates, strict=True):
        assert (row["run"], row["seed"], row["attack"]) == ("trained", "0", rate["name"])
        assert row["weights_sha256"] == stored["weights"]
        assert (int(row["correct"]), int(row["n"])) == (rate["correct"], rate["n"])
        assert (float(row["eps"]), float(row["low"]), float(row["high"])) == (rate["eps"], rate["low"], rate["high"])


def test_the_stored_weights_are_those_that_the_log_names(trs, trained: Path) -> None:
    trs("evaluate", trained, "--attacks", "fgsm", "--limit", 10)
    [stored] = [json.loads(path.read_text()) for path in (trained / "results").iterdir()]
    run = runs.open_run(trained)
    assert stored["weights"] == run.recorded(run.checkpoints()[-1])["sha256"]
    assert stored["data"] == "bars, first 10 test images"


def test_limit_takes_the_first_images_and_the_seed_repeats(trs, trained: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", trained, "--attacks", "pgd", "--steps", 3, "--limit", 7)
    for name in ("one.json", "two.json"):
        trs(*arguments, "--seed", 5, "--json", name)
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one == two
    assert one[0]["rates"][0]["outcomes"] == _truth(trained)[0][:7]


def test_several_runs_have_a_table_and_each_keeps_its_result(trs, trained: Path, fresh: runs.Run) -> None:
    result = trs("evaluate", trained, fresh.path, "--attacks", "fgsm", "--limit", 20, "--json", "all.json")
    assert result.status == 0
    assert [one["run"] for one in json.loads(Path("all.json").read_text())] == ["trained", "fresh"]
    for path, name in ((trained, "trained"), (fresh.path, "fresh")):
        assert f"{name}: accuracy in %" in result.out
        assert len(list((path / "results").iterdir())) == 1


def test_transfer_prints_stores_and_exports_the_same_counts(trs, trained: Path, tmp_path: Path) -> None:
    result = trs("transfer", trained, "--steps", 4, "--json", "out.json", "--csv", "out.csv")
    assert (result.status, result.err) == (0, "")
    [stored] = [json.loads(path.read_text()) for path in (trained / "results").iterdir()]
    assert json.loads((tmp_path / "out.json").read_text()) == stored
    fooled, eligible = stored["fooled"], stored["eligible"]
    assert (stored["n"], stored["eps"], stored["attack"], stored["rows"]) == (400, 0.325, "pgd-4", "surrogate")
    assert [len(row) for row in fooled] == [3, 3]  # two members and the ensemble
    members = _truth(trained)[1]
    for i in range(2):
        assert eligible[i][i] == sum(members[i])
        assert eligible[i][1 - i] <= fooled[i][i]
        for j in range(3):
            assert 0 <= fooled[i][j] <= eligible[i][j]
            assert f"{fooled[i][j]} / {eligible[i][j]}" in result.out
            if eligible[i][j]:
                assert stored["intervals"][i][j] == pytest.approx(_wilson(fooled[i][j], eligible[i][j]), abs=1e-12)
                low, high = stored["intervals"][i][j]
                assert f"{100 * fooled[i][j] / eligible[i][j]:.0f} ({100 * low:.0f} - {100 * high:.0f})" in result.out
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = {(row["surrogate"], row["target"]): row for row in csv.DictReader(file)}
    for i, j, name in ((0, 0, "F1"), (0, 1, "F2"), (1, 0, "F1"), (1, 2, "ensemble")):
        row = rows[f"F{i + 1}", name]
        assert (int(row["fooled"]), int(row["eligible"])) == (fooled[i][j], eligible[i][j])
        assert [float(row["low"]), float(row["high"])] == stored["intervals"][i][j]
    together = fooled[0][1] + fooled[1][0], eligible[0][1] + eligible[1][0]
    assert tuple(stored["pooled"]) == together
    assert f"{together[0]} / {together[1]} = {100 * together[0] / together[1]:.1f} %" in result.out
    for i in range(2):
        for j in range(3):
            letters = stored["outcomes"][i][j]
            assert (len(letters), letters.count("1")) == (stored["n"], fooled[i][j])
            assert stored["n"] - letters.count("-") == eligible[i][j]


def test_the_probe_of_a_training_is_measured_again(trs, trained: Path) -> None:
    """On the same machine to the last bit; a viewer then finds it beside the run."""
    events = [json.loads(line) for line in (trained / "events.jsonl").read_text().splitlines()]
    last = [event for event in events if event["kind"] == "matrix"][-1]
    result = trs("transfer", trained, "--probe", "--json", "out.json")
    assert (result.status, result.err) == (0, "")
    stored = json.loads((trained / "results" / "probe.json").read_text())
    assert json.loads(Path("out.json").read_text()) == stored
    assert {name: stored[name] for name in last if name not in ("v", "t", "kind")} == {
        name: value for name, value in last.items() if name not in ("v", "t", "kind")
    }
    assert stored["weights"] == [event["sha256"] for event in events if event["kind"] == "checkpoint"][-1]
    assert f"trained: epoch {last['epoch']:3}  |cos| " in result.out


def test_an_attack_of_radius_0_fools_nobody_and_transfer_says_so(trs, trained: Path) -> None:
    result = trs("transfer", trained, "--eps", 0, "--attack", "fgsm", "--limit", 50)
    assert result.status == 0
    assert "none eligible" in result.out
    assert "pairs of different members: -" in result.out
    [stored] = [json.loads(path.read_text()) for path in (trained / "results").iterdir()]
    assert stored["pooled"] == [0, 0]
    assert all(count == 0 for row in stored["fooled"] for count in row)


@pytest.mark.parametrize("name", ["[bold]x", "[blue]", "a b", "ünï"])
def test_a_runs_name_is_printed_as_it_is(trs, trained: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.move(trained, folder)
    for command in ("evaluate", "transfer"):
        result = trs(command, folder, "--limit", 5, "--steps", 1)
        assert result.status == 0
        assert name in next(line for line in result.out.splitlines() if "accuracy in %" in line or "transfer of" in line)


def test_a_run_that_cannot_take_results_is_still_measured(trs, trained: Path) -> None:
    (trained / "results").write_text("in the way")
    for command in ("evaluate", "transfer"):
        result = trs(command, trained, "--limit", 5, "--steps", 1, "--json", f"{command}.json")
        assert result.status == 0
        assert "not stored with the run: cannot write" in result.err
        assert Path(f"{command}.json").exists()


def test_an_export_that_cannot_be_written_is_said_before_the_work(trs, trained: Path) -> None:
    result = trs("evaluate", trained, "--limit", 5, "--steps", 1, "--csv", "no/such/folder.csv")
    assert result.status == 2
    assert "no/such/folder.csv" in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not (trained / "results").exists()


def test_all_attacks_and_the_worst_of_those_with_one_radius(trs, trained: Path) -> None:
    result = trs("evaluate", trained, "--attacks", "all", "--limit", 20, "--steps", 5, "--effort", 0.01, "--json", "all.json")
    assert result.status == 0
    assert "without apgd-dlr, which needs 3 classes" in result.err
    rates = json.loads(Path("all.json").read_text())[0]["rates"]
    named = {rate["name"]: rate for rate in rates}
    first, second = ["clean", "fgsm", "bim-5", "pgd-5", "mim-5", "apgd-ce-5", "mora-5"], ["square", "strong", "cw", "ead"]
    assert list(named) == [*first, "apgd-t-5", "fab-t-5", "pgd-members-5", *second, "worst of 11"]
    balls = [rate["outcomes"] for name, rate in named.items() if rate["eps"] and not name.startswith("worst")]
    assert named["worst of 11"]["outcomes"] == [all(each) for each in zip(*balls, strict=True)]
    assert named["worst of 11"]["correct"] <= min(map(sum, balls))
    assert (named["cw"]["eps"], named["cw"]["c"]) == (None, 1.0)
    assert all(rate["paper"] is None for rate in rates)
    parts = named["strong"]["parts"]
    assert [part["attack"] for part in parts][:2] == ["mora-ce 0.5", "mora-ce 0.2"]
    assert parts[0]["attacked"] == named["clean"]["correct"]
    assert named["clean"]["correct"] - sum(part["fooled"] for part in parts) == named["strong"]["correct"]
    assert f"by each part in turn: mora-ce 0.5 {parts[0]['fooled']} of {parts[0]['attacked']}, " in " ".join(result.out.split())


def test_constants_are_those_asked_for_and_bad_ones_are_refused(trs, trained: Path) -> None:
    trs("evaluate", trained, "--attacks", "cw", "--c", "0.5,2", "--limit", 5, "--json", "c.json")
    assert [rate["c"] for rate in json.loads(Path("c.json").read_text())[0]["rates"]] == [None, 0.5, 2.0]
    for bad, words in (("0", "--c must be finite and above 0, got 0"), ("x", "--c takes numbers")):
        result = trs("evaluate", trained, "--attacks", "cw", "--c", bad)
        assert result.status == 2
        assert words in result.err
    refused = trs("evaluate", trained, "--attacks", "apgd-dlr")
    assert refused.status == 2
    assert "apgd-dlr needs 3 classes" in refused.err


@pytest.mark.slow
def test_an_interrupted_evaluation_goes_on_where_it_stopped(trs, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.evaluation import accuracy

    command = ("evaluate", trained, "--attacks", "fgsm,pgd", "--eps", "0.1,0.3", "--steps", 4, "--limit", 300)
    trs(*command, "--json", "whole.json")
    [whole] = json.loads(Path("whole.json").read_text())
    shutil.rmtree(trained / "results")
    true, seen = accuracy.add_batch, []

    def counted(rate, *rest):
        seen.append(rate.name)
        if len(seen) == 8:  # two batches each: clean, fgsm twice, and the second one of pgd
            raise KeyboardInterrupt
        return true(rate, *rest)

    monkeypatch.setattr(accuracy, "add_batch", counted)
    stopped = trs(*command)
    assert stopped.status == 130
    assert "the same command continues from there" in stopped.err
    [unfinished] = (trained / "results").iterdir()
    assert unfinished.name.startswith("unfinished-evaluate-")
    other = trs(*command, "--seed", 1, "--attacks", "fgsm")  # another evaluation is not touched by it
    assert other.status == 0
    assert "continuing" not in other.err
    first = len(seen)
    done = trs(*command, "--json", "again.json")
    assert done.status == 0
    assert "continuing an interrupted measurement" in done.err
    assert seen[first:] == ["pgd-4"] * 3  # the second batch of eps .1, both of .3
    [again] = json.loads(Path("again.json").read_text())
    assert [rate["outcomes"] for rate in again["rates"]] == [rate["outcomes"] for rate in whole["rates"]]
    assert again["trust"] == whole["trust"]
    assert not unfinished.exists()


def test_a_run_that_was_done_before_the_interruption_is_not_measured_again(
    trs, trained: Path, fresh: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trs_explorer.evaluation import accuracy

    command = ("evaluate", trained, fresh.path, "--attacks", "fgsm", "--eps", "0.1", "--limit", 50)
    true, seen = accuracy.add_batch, []

    def counted(rate, *rest):
        seen.append(rate.name)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return true(rate, *rest)

    monkeypatch.setattr(accuracy, "add_batch", counted)
    assert trs(*command).status == 130
    assert trs(*command).status == 0
    assert seen == ["clean", "fgsm", "clean", "fgsm", "fgsm"]
    for path in (trained, fresh.path):
        assert [file.name.split("-")[0] for file in (path / "results").iterdir()] == ["evaluate"]


def test_trust_makes_every_check_that_can_be_made_and_stores_it(trs, trained: Path) -> None:
    plain = trs("evaluate", trained, "--limit", 20, "--steps", 12)
    thorough = trs("evaluate", trained, "--limit", 20, "--steps", 12, "--trust")
    assert "sanity checks run" in plain.out
    assert "(--trust runs all)" in plain.out
    few, all_of_them = (json.loads(path.read_text())["trust"] for path in sorted((trained / "results").iterdir()))
    assert [check["check"] for check in few] == list(range(1, 18))
    made = [{check["check"] for check in checks if check["warnings"] is not None} for checks in (few, all_of_them)]
    assert made[0] == {1, 2, 3, 5, 8, 9, 10, 11, 12, 14, 15, 17}
    assert made[1] == made[0] | {4, 6, 7, 13, 16}
    for check in all_of_them:
        line = next(line for line in thorough.out.splitlines() if check["name"][:60] in line)
        assert f"{check['check']} " in line
        assert ("WARNS" in line, "passed" in line) == (bool(check["warnings"]), check["warnings"] == [])


@pytest.mark.slow
def test_an_attack_made_for_others_may_be_weak_here(trs, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    di2 = importlib.import_module("trs_explorer.attacks.di2")

    trained = Path(shutil.copytree(finished, tmp_path / "trained"))  # attacked with all steps: the checks compare strong attacks

    monkeypatch.setattr(di2, "di2", lambda model, x, y, *, eps, steps, generator: x.clone())
    command = ("evaluate", trained, "--attacks", "pgd,di2", "--eps", "0.325", "--restarts", 9, "--limit", 50, "--json", "o.json")
    trs(*command)
    [result] = json.loads(Path("o.json").read_text())
    assert result["rates"][2]["correct"] > result["rates"][1]["correct"] + 5
    assert not result["trust"][7]["warnings"]
    monkeypatch.setattr(di2, "di2", lambda model, x, y, *, eps, steps, generator: (x + 2 * eps).clamp(0, 1))
    trs(*command, "--seed", 1)
    [result] = json.loads(Path("o.json").read_text())
    warned = {check["check"] for check in result["trust"] if check["warnings"]}
    assert warned & {8, 11, 17} == {11, 17}


@pytest.mark.slow
def test_targeted_matrices_and_those_of_images_that_all_have_right(trs, trained: Path) -> None:
    trs("transfer", trained, "--steps", 5, "--targeted", "--json", "targeted.json")
    targeted = json.loads(Path("targeted.json").read_text())
    assert (targeted["targeted"], targeted["protocol"], targeted["starts"]) == (True, "def6", 1)
    result = trs("transfer", trained, "--steps", 5, "--protocol", "all-right", "--limit", 150, "--json", "right.json")
    right = json.loads(Path("right.json").read_text())
    members = _truth(trained)[1]
    assert sum(map(all, zip(*members, strict=True))) >= 150
    assert right["eligible"] == [[150] * 3] * 2
    assert right["data"] == "bars, first 150 test images that all members have right"
    assert right["starts"] == 5
    assert "any of 5 starts" in result.out
    cw = trs("transfer", trained, "--attack", "cw", "--c", 2, "--limit", 20, "--json", "cw.json")
    assert cw.status == 0
    assert "transfer of cw, c 2" in cw.out
    assert json.loads(Path("cw.json").read_text())["eps"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attack", "cw", "--eps", "0.1"), "--eps: cw has no radius, but a constant, --c"),
        (("--c", "1"), "--c: pgd has a radius, --eps"),
        (("--protocol", "x"), "did you mean"),
        (("--attack", "apgd-dlr"), "apgd-dlr needs 3 classes"),
        (("--eps", "0.1,0.2"), "a matrix has one value, got 0.1,0.2"),
    ],
)
def test_what_a_matrix_cannot_be_made_of_is_refused(trs, trained: Path, arguments: tuple, words: str) -> None:
    result = trs("transfer", trained, *arguments)
    assert result.status == 2
    assert words in result.err or words == "did you mean"
    assert not (trained / "results").exists()


def test_what_cannot_be_stored_is_not_forgotten(trs, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.measure import session

    def full(run, what, result):
        raise runs.RunError("cannot write results: no space left")

    monkeypatch.setattr(session, "write_result", full)
    for command in (("evaluate", "--attacks", "fgsm"), ("transfer", "--steps", 2)):
        result = trs(command[0], trained, *command[1:], "--limit", 20)
        assert result.status == 0
        assert "not stored with the run: cannot write results: no space left" in result.err
    kept = sorted(path.name.split("-")[1] for path in (trained / "results").iterdir())
    assert kept[0] == "evaluate"


def test_a_run_that_cannot_be_measured_is_refused_before_the_others_are(trs, trained: Path, tmp_path: Path) -> None:
    empty = runs.create(tmp_path / "empty", runs.open_run(trained).config)
    for command in (
        ("evaluate", trained, empty.path),
        ("evaluate", trained, "--attacks", "pgd,apgd-dlr"),
        ("transfer", empty.path),
    ):
        result = trs(*command, "--limit", 5)
        assert result.status in (1, 2)
        assert result.out == ""
        assert "has no checkpoint yet" in result.err or "apgd-dlr needs 3 classes" in result.err
    assert not (trained / "results").exists()


def test_one_run_given_twice_and_one_radius_given_twice_count_once(trs, trained: Path) -> None:
    trs("evaluate", trained, trained, "--attacks", "fgsm,pgd", "--eps", "0.1,0.1", "--limit", 5, "--steps", 2, "--json", "o.json")
    [result] = json.loads(Path("o.json").read_text())
    assert [rate["name"] for rate in result["rates"]] == ["clean", "fgsm", "pgd-2"]


def test_a_shipped_run_that_nobody_named_may_be_damaged(trs, trained: Path, fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer import shipped

    empty = runs.create(fresh.path.parent / "bars-new", fresh.config)
    monkeypatch.setattr(shipped, "shipped_runs", lambda: [empty, fresh])
    trs("evaluate", trained, "--limit", 8, "--steps", 12, "--trust", "--json", "o.json")
    [result] = json.loads(Path("o.json").read_text())
    assert result["trust"][3]["warnings"] is not None


@pytest.mark.slow
def test_the_papers_figures_stand_beside_what_the_paper_did_only(trs, tmp_path: Path) -> None:
    for options, shown in (((), True), (("--restarts", 2, "--steps", 50), False)):
        trs("evaluate", "mnist-trs", "--attacks", "fgsm,pgd", "--eps", "0.1", "--limit", 1, *options, "--json", "o.json")
        [result] = json.loads(Path("o.json").read_text())
        assert [rate["paper"] for rate in result["rates"][1:]] == ([95.6, 93.0] if shown else [None, None])


def test_an_interrupted_matrix_goes_on_where_it_stopped(trs, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pgd = importlib.import_module("trs_explorer.attacks.pgd")

    command = ("transfer", trained, "--steps", 2, "--limit", 300, "--json", "t.json")
    trs(*command)
    whole = json.loads(Path("t.json").read_text())
    shutil.rmtree(trained / "results")
    true, seen = pgd.pgd, []

    def counted(model, x, y, *, steps, for_transfer=False, **more):
        seen.append(len(x))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return true(model, x, y, steps=steps, for_transfer=for_transfer, **more)

    monkeypatch.setattr(pgd, "pgd", counted)
    stopped = trs(*command)
    assert stopped.status == 130
    assert "continues from there" in stopped.err
    [unfinished] = (trained / "results").iterdir()
    done = trs(*command)
    assert "continuing an interrupted measurement" in done.err
    assert seen == [256, 256, 44, 44, 44, 44]  # both members on the first batch; one on the second, twice
    assert json.loads(Path("t.json").read_text()) == whole
    assert not unfinished.exists()


def test_a_radius_is_of_the_norm_that_was_asked_for_and_a_fraction_is_its_exact_value(trs, trained: Path) -> None:
    """An L2 ball of .15 lies in the square of .3, and does not hold its corners."""
    found = {}
    for norm in ("linf", "l2"):
        options = ("--limit", 50, "--json", "o.json", "--csv", "o.csv")
        said = trs("evaluate", trained, "--attacks", "fgsm,pgd,cw", "--norm", norm, "--eps", "3/20", *options)
        assert said.status == 0, said.err
        assert ("ε in L2" in said.out) == (norm == "l2")
        [result] = json.loads(Path("o.json").read_text())
        found[norm] = {rate["name"]: rate for rate in result["rates"]}
        balls = [found[norm]["fgsm"], found[norm]["pgd-50"]]
        assert {(rate["eps"], rate["norm"]) for rate in balls} == {(0.15, norm)}
        assert all(rate["perturbation"] <= 0.15 * (1 + 1e-5) for rate in balls)
        assert result["options"].get("norm") == (norm if norm == "l2" else None)
        with Path("o.csv").open(newline="") as file:
            assert [row["norm"] for row in csv.DictReader(file)] == ["", norm, norm, ""]
    assert found["l2"]["fgsm"]["perturbation"] == pytest.approx(0.15, rel=1e-4)
    assert found["l2"]["pgd-50"]["correct"] >= found["linf"]["pgd-50"]["correct"]
    assert found["l2"]["cw"] == found["linf"]["cw"]


def test_an_unfinished_evaluation_of_another_norm_is_not_gone_on_with(
    trs, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trs_explorer.evaluation import accuracy

    true, seen = accuracy.add_batch, []

    def counted(rate, *rest):
        seen.append(rate.norm)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return true(rate, *rest)

    monkeypatch.setattr(accuracy, "add_batch", counted)
    command = ("evaluate", trained, "--attacks", "fgsm", "--eps", "0.3", "--limit", 20)
    assert trs(*command).status == 130
    other = trs(*command, "--norm", "l2")
    assert (other.status, "continuing" in other.err) == (0, False)
    assert "continuing" in trs(*command).err


def test_transfer_takes_a_norm_and_a_confidence_and_tells_both(trs, trained: Path) -> None:
    said = trs("transfer", trained, "--norm", "l2", "--eps", "2/5", "--limit", 20, "--json", "o.json", "--csv", "o.csv")
    assert "ε 0.4 in L2" in said.out
    stored = json.loads(Path("o.json").read_text())
    assert (stored["eps"], stored["norm"], stored["confidence"]) == (0.4, "l2", None)
    with Path("o.csv").open(newline="") as file:
        assert {(row["norm"], row["confidence"]) for row in csv.DictReader(file)} == {("l2", "")}
    said = trs("transfer", trained, "--attack", "cw", "--confidence", "3", "--limit", 5, "--json", "o.json", "--csv", "o.csv")
    assert "c 1, confidence 3" in said.out
    stored = json.loads(Path("o.json").read_text())
    assert (stored["norm"], stored["confidence"], stored["options"]) == (None, 3.0, {"confidence": 3.0})
    with Path("o.csv").open(newline="") as file:
        assert {row["confidence"] for row in csv.DictReader(file)} == {"3.0"}


def test_the_confidence_reaches_the_attack_that_has_one(trs, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cw = importlib.import_module("trs_explorer.attacks.cw")

    seen, true = [], cw.cw

    def recorded(model, x, y, *, confidence=0.1, **more):
        seen.append(confidence)
        return true(model, x, y, confidence=confidence, **more)

    monkeypatch.setattr(cw, "cw", recorded)
    said = trs("evaluate", trained, "--attacks", "fgsm,cw", "--confidence", "2.5", "--limit", 5, "--json", "o.json")
    assert said.status == 0, said.err
    assert set(seen) == {2.5}
    assert json.loads(Path("o.json").read_text())[0]["options"]["confidence"] == 2.5
    assert "confidence 2.5" in said.out
