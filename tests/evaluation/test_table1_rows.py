"""Rows from answers: figures by hand, whose paper's figure, the order, what is best."""

from dataclasses import replace
from math import sqrt

import pytest
from made_results import result, same

from trs_explorer.config import resolve
from trs_explorer.evaluation.table1 import paper
from trs_explorer.evaluation.table1.columns import CLEAN, Column, Figure, all_columns, measured_columns
from trs_explorer.evaluation.table1.rows import Row, best_row, image_count, make_row, sort_rows
from trs_explorer.evaluation.table1.stored import parse_evaluation

PGD = Column("pgd", 0.1)
WORST = Column("worst of 7", 0.1)


def _answer(correct, n=10, limit=10, **more):
    return parse_evaluation(result(correct, n=n, **more), weights="w", data="mnist", limit=limit)


def _row(*answers, limit=10, checkpoint="0036", **settings) -> Row:
    return make_row("run", resolve(settings), checkpoint, "w", answers, limit)


def test_counts_shares_and_intervals():
    figure = _row(_answer({**same(7), PGD: 3})).figures[PGD]
    assert (figure.correct, figure.n, figure.percent) == (3, 10, pytest.approx(30))
    z2, share = 1.959963984540054**2, 0.3  # the roots of (p - share)^2 = z^2 p (1 - p) / 10
    a, b, c = 1 + z2 / 10, -2 * share - z2 / 10, share * share
    root = sqrt(b * b - 4 * a * c)
    assert figure.interval == pytest.approx((100 * (-b - root) / (2 * a), 100 * (-b + root) / (2 * a)))


def test_only_the_first_images_count():
    figures = _row(_answer({**same(7), PGD: 3}), limit=5).figures
    assert (figures[PGD].correct, figures[CLEAN].correct, figures[WORST].correct, figures[WORST].n) == (3, 5, 3, 5)


def test_the_worst_is_of_each_image_and_needs_all_attacks():
    stored = result(same(10), n=10)
    for place, wrong in ((5, {0, 1}), (7, {1, 2})):  # pgd and mim at eps .1
        stored["rates"][place]["outcomes"] = [image not in wrong for image in range(10)]
        stored["rates"][place]["correct"] = 8
    found = _row(parse_evaluation(stored, weights="w", data="mnist", limit=10))
    assert (found.figures[PGD].correct, found.figures[WORST].correct) == (8, 7)
    assert found.worst_at(0.1).correct == 7
    assert found.worst_at(0.15).correct == 10
    assert found.worst_at(0.2) is None
    del stored["rates"][7]
    assert WORST not in _row(parse_evaluation(stored, weights="w", data="mnist", limit=10)).figures


def test_the_papers_figure_is_of_the_method_and_of_three_members():
    theirs = {method: _row(_answer(same(5)), method=method).figures[PGD].paper for method in ("trs", "cos-l2", "standard")}
    assert theirs == {"trs": 93.0, "cos-l2": 73.4, "standard": None}
    found = _row(_answer(same(5)), method="trs").figures
    assert (found[CLEAN].paper, found[WORST].paper) == (None, None)
    assert found[Column("ead", None, 5.0)].paper == 23.3
    assert _row(_answer(same(5)), method="trs", members=5).figures[PGD].paper is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"adversarial": True}, ["adversarial"]),
        ({"method": "soe"}, ["adversarial"]),
        ({"method": "igat"}, ["adversarial"]),
        ({"checkpoint": "0010"}, ["epoch 10 of 36"]),
        ({"checkpoint": "0035-000120"}, ["epoch 35 of 36"]),
        ({"limit_images": 640}, ["of 640 images"]),
        ({"start_from": "there"}, ["from there"]),
        ({"augment": True}, ["augmented"]),
        ({"data": "cifar10", "checkpoint": "0120"}, []),
        ({"data": "cifar10", "checkpoint": "0120", "augment": False}, ["not augmented"]),
        ({"method": "dverge", "start_from": "there"}, []),
    ],
)
def test_the_papers_figure_stands_beside_no_training_that_is_another(settings, words):
    asked = dict(settings)
    checkpoint, limit = asked.pop("checkpoint", "0036"), asked.pop("limit_images", 0)
    config = resolve({"method": "trs", **asked, "limit": limit})
    found = make_row("run", config, checkpoint, "w", [], 10)
    assert found.deviations == words
    assert paper.is_comparable(config, checkpoint, 50, 1) == (not words)
    assert not paper.is_comparable(config, checkpoint, 50, 5)


def test_what_one_answer_lacks_another_has_and_a_check_that_warned_in_one_has_warned():
    first, second = _answer({CLEAN: 9, PGD: 1}, warned=(8,)), _answer({PGD: 2, Column("fgsm", 0.1): 4}, warned=(3,))
    found = _row(first, second)
    assert {column.words: figure.correct for column, figure in found.figures.items()} == {
        "clean": 9,
        "fgsm ε 0.1": 4,
        "pgd ε 0.1": 1,
    }
    assert (found.warned, found.masked, len(found.checks)) == ([3, 8], [8], 12)
    assert _row().figures == {}
    assert _row().checks == {}


def test_the_papers_order_then_the_controls_then_others_and_two_of_a_method_by_name():
    made = {method: _row(method=method) for method in ("standard", "trs", "smooth-only", "cos-only")}
    other = replace(made["trs"], run="new", config=replace(made["trs"].config, method="brand-new"), label="brand-new")
    second = replace(made["standard"], run="another")
    labels = [one.label for one in sort_rows([other, second, *made.values()])]
    assert labels == ["cos-only", "trs", "smooth-only", "another", "run", "brand-new"]


def test_best_is_who_overlaps_with_nobody_and_is_not_masked():
    strong, weak, near = (_row(_answer(same(count), n=1000, limit=1000), limit=1000) for count in (900, 500, 890))
    assert best_row([weak, strong], PGD) is strong
    assert best_row([weak, strong, near], PGD) is None
    assert best_row([strong], PGD) is None
    assert best_row([strong, _row()], PGD) is None
    masked = replace(strong, checks={8: True})
    assert best_row([weak, masked], PGD) is None
    assert best_row([weak, masked], CLEAN) is masked
    assert best_row([weak, replace(strong, checks={3: True, 8: False})], PGD) is not None


def test_headings_and_how_many_images():
    assert all_columns("mnist") == [*measured_columns("mnist"), WORST, Column("worst of 6", 0.15)]
    assert image_count([_row(), _row(_answer(same(5)))]) == 10
    assert image_count([_row(), _row(_answer({PGD: 5}))]) == 10
    assert image_count([_row()]) == 0


def test_json_has_counts_and_shares():
    stored = _row(_answer({CLEAN: 9, PGD: 1}, warned=(8,)), method="trs").to_json()
    rate = stored["rates"][1]
    low, high = Figure("1" + 9 * "0").interval
    assert (rate["name"], rate["eps"], rate["c"], rate["correct"], rate["n"], rate["paper"]) == ("pgd", 0.1, None, 1, 10, 93.0)
    assert (rate["low"], rate["high"]) == (low / 100, high / 100)
    assert (stored["label"], stored["weights"], stored["warned"], stored["masked"]) == ("trs", "w", [8], True)


def test_own_methods_and_imported_ensembles_have_names_without_folders():
    config = resolve({"method": "trs"})
    theirs = replace(config, method="/home/ada/secret/mine.py:spread", model="/home/ada/nets.py:Net")
    own = make_row("mine", theirs, "1", "w", [], 10)
    assert own.label == "mine.py:spread"
    assert (own.to_json()["method"], own.to_json()["model"]) == ("mine.py:spread", "nets.py:Net")
    imported = make_row("theirs", replace(config, method="imported", model="/home/ada/nets.py:make"), "0", "w", [], 10)
    assert imported.label == "theirs"
