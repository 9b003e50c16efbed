"""What the table asks for, and what is taken from files that anybody may have written."""

import copy
import hashlib
import json
from dataclasses import replace

import pytest
from made_results import result, same

from trs_explorer import runs
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.table1.columns import CLEAN, Column, measured_columns, worst_columns
from trs_explorer.evaluation.table1.stored import compact, measured_checkpoint, parse_evaluation, stored_evaluations
from trs_explorer.results import read_results, read_table, write_result, write_table

PGD = Column("pgd", 0.1)
ASKED = {"weights": "w", "data": "mnist", "limit": 4}


def test_the_papers_sixteen_in_its_order_then_strong():
    asked = [(column.attack, column.eps, column.c) for column in measured_columns("mnist")]
    assert len(asked) == 19
    assert asked[:3] == [("clean", 0.0, None), ("fgsm", 0.1, None), ("fgsm", 0.2, None)]
    assert asked[9:13] == [("cw", None, 0.1), ("cw", None, 1.0), ("ead", None, 5.0), ("ead", None, 10.0)]
    assert asked[-3:] == [("apgd-ce", 0.15, None), ("strong", 0.1, None), ("strong", 0.15, None)]


def test_a_set_that_the_paper_does_not_have_gets_its_own_radius_and_no_attack_that_needs_more_classes():
    asked = measured_columns("bars")
    assert [column.words for column in asked[:2]] == ["clean", "fgsm ε 0.325"]
    assert [column.attack for column in asked] == ["clean", "fgsm", "bim", "pgd", "mim", "cw", "ead", "apgd-ce", "strong"]


def test_the_worst_of_seven_and_of_six():
    found = worst_columns(measured_columns("mnist"))
    assert {column.words: len(group) for column, group in found.items()} == {"worst of 7 ε 0.1": 7, "worst of 6 ε 0.15": 6}


def test_an_answer_has_the_outcomes_and_the_checks():
    found = parse_evaluation(result({CLEAN: 4, PGD: 1}, n=4, warned=(8,)), **ASKED)
    assert {column: rate["outcomes"] for column, rate in found.rates.items()} == {CLEAN: "1111", PGD: "1000"}
    assert [number for number, warned in found.checks.items() if warned] == [8]
    assert len(found.checks) == 12
    assert not found.is_complete("mnist")
    assert parse_evaluation(result(same(2), n=4), **ASKED).is_complete("mnist")


@pytest.mark.parametrize(
    "other",
    [
        {"weights": "v"},
        {"weights": None},
        {"kind": "transfer"},
        {"seed": 1},
        {"options": {"limit": 4, "steps": 10, "restarts": 1}},
        {"options": {"limit": 4, "steps": 50, "restarts": 2}},
        {"options": None},
        {"options": {"limit": 1000, "steps": 50, "restarts": 1, "norm": "l2"}},
        {"options": {"limit": 1000, "steps": 50, "restarts": 1, "confidence": 20.0}},
        {"versions": {"trs_explorer": "0.0.0"}},
        {"versions": []},
        {"data": "bars, first 4 test images"},
        {"data": "mnist, first 4 test images that all members have right"},
        {"data": "mnist, first 3 test images"},
        {"data": "mnist, first -4 test images"},
        {"data": None},
    ],
    ids=str,
)
def test_what_is_of_other_weights_or_was_asked_otherwise_is_no_answer(other):
    assert parse_evaluation(result(same(2), n=4), **ASKED) is not None
    assert parse_evaluation(result(same(2), n=4, **other), **ASKED) is None


def test_more_images_will_do_and_fewer_only_if_there_are_no_more():
    assert parse_evaluation(result(same(2), n=5), **ASKED).rates[PGD]["outcomes"] == "11000"
    assert parse_evaluation(result(same(2), n=3), **ASKED) is None
    assert parse_evaluation(result(same(2), n=3, options={"steps": 50, "restarts": 1}), **ASKED) is None
    all_there_are = {"limit": 100, "steps": 50, "restarts": 1}
    assert parse_evaluation(result(same(2), n=3, options=all_there_are), **ASKED).rates[PGD]["outcomes"] == "110"


JUNK = [
    None,
    True,
    3,
    -1,
    1e400,
    float("nan"),
    10**400,
    "",
    "x",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    [{"name": []}],
    "01" * 9,
    [True, 1],
]


@pytest.mark.parametrize("key", ["name", "eps", "c", "correct", "n", "outcomes"])
@pytest.mark.parametrize("junk", JUNK, ids=lambda value: repr(value)[:12])
def test_a_damaged_rate_is_not_there_and_the_others_are(key, junk):
    stored = result({CLEAN: 4, PGD: 1}, n=4)
    stored["rates"][1][key] = junk
    rates = parse_evaluation(stored, **ASKED).rates
    if (key, repr(junk)) in (("c", "None"), ("correct", "True")):  # as good as what was there
        assert list(rates) == [CLEAN, PGD]
    else:
        assert [column for column in rates if column in measured_columns("mnist")] == [CLEAN]


@pytest.mark.parametrize("key", [*result({}, n=4), "unknown"])
def test_no_junk_in_a_file_is_an_error(key):
    for junk in JUNK:
        stored = {**result({CLEAN: 4, PGD: 1}, n=4), key: junk}
        found = parse_evaluation(copy.deepcopy(stored), **ASKED)
        assert found is None or {column for column in found.rates if column in measured_columns("mnist")} <= {CLEAN, PGD}
    for junk in JUNK:
        checks = [{"check": junk, "warnings": []}, {"check": 8, "warnings": junk}, junk]
        found = parse_evaluation(result({CLEAN: 4}, n=4, trust=checks), **ASKED)
        assert set(found.checks) <= {3, 8}


def test_a_table_is_an_evaluation_in_fewer_bytes(tmp_path):
    stored = result({**same(2), Column("worst of 7", 0.1): 1}, n=4, warned=(2,))
    whole = parse_evaluation(stored, **ASKED)
    small = json.loads(json.dumps(compact(whole, "mnist")))
    again = parse_evaluation(small, **ASKED)
    assert {column: rate["outcomes"] for column, rate in again.rates.items()} == dict.fromkeys(measured_columns("mnist"), "1100")
    assert again.checks == whole.checks
    assert len(small["rates"]) == 19
    assert (small["rates"][0]["perturbation"], small["rates"][0]["moved"]) == (0.0, 0)


def test_tables_and_results_are_found_newest_first_and_damaged_ones_are_not(tmp_path):
    from made_results import made

    run = made(tmp_path / "run", None)
    assert (read_table(run), read_results(run, "evaluate")) == ({}, [])
    for number in range(3):
        write_result(run, "evaluate", {"number": number})
    write_result(run, "transfer", {"number": 9})
    write_table(run, {"number": 7})
    newest = max((run.path / "results").glob("evaluate-*"))
    newest.write_text(newest.read_text()[:-4])
    assert [stored["number"] for stored in read_results(run, "evaluate")] == [1, 0]
    assert read_table(run) == {"number": 7}
    for text in ("[1]", "", "{", "\0", "[" * 100_000):
        (run.path / "results" / "table1.json").write_text(text)
        assert read_table(run) == {}


def test_a_digest_is_of_the_file(tmp_path):
    file = tmp_path / "epoch-0001.safetensors"
    file.write_bytes(b"abc")
    assert runs.Checkpoint("0001", file, None).digest() == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(runs.RunError, match="cannot read"):
        runs.Checkpoint("0002", tmp_path / "none", None).digest()


def test_stored_results_are_those_on_the_runs_own_images(tmp_path):
    from made_results import made

    known, embedded = "1" * 64, DATA["mnist"].fingerprint["test"]

    def numbers(run: runs.Run) -> tuple[list[int], int | None]:
        return [stored["number"] for stored in read_results(run, "evaluate")], read_table(run).get("number")

    own = made(tmp_path / "run", None)
    fingerprints = ({}, {"data_fingerprint": known}, {"data_fingerprint": embedded})
    for number, fingerprint in enumerate(fingerprints):
        write_result(own, "evaluate", {"number": number, **fingerprint})
    for number, fingerprint in enumerate(fingerprints):
        write_table(own, {"number": number, **fingerprint})
        assert numbers(own) == ([2, 0], None if number == 1 else number)  # an older trs could measure the embedded images only
        elsewhere = replace(own, config=replace(own.config, data_dir="/data", data_fingerprint={"test": known}))
        assert numbers(elsewhere) == ([1], 1 if number == 1 else None)
        unknown = replace(elsewhere, config=replace(elsewhere.config, data_fingerprint={}))
        assert numbers(unknown) == ([2], number)  # all of a list are on the images of the newest


def test_a_table_of_another_version_counts_where_nothing_can_be_measured_again(tmp_path):
    from made_results import made

    run = made(tmp_path / "run", None, data="mnist")
    weights = run.checkpoints()[-1]
    write_table(run, result(same(2), n=4, weights=weights.digest(), checkpoint=weights.name, versions={"trs_explorer": "0"}))
    assert stored_evaluations(run, weights.digest(), 4) == []
    weights.weights.unlink()
    (found,) = stored_evaluations(run, measured_checkpoint(run)[1], 4)
    assert found.rates[PGD]["outcomes"] == "1100"
