"""Words about the paper's figures, against figures made for them; rank correlations by hand."""

import pytest
from made_results import result, same

from trs_explorer.config import resolve
from trs_explorer.evaluation.table1.columns import Column, Figure, measured_columns
from trs_explorer.evaluation.table1.differences import difference_lines, large_difference, orderings, spearman
from trs_explorer.evaluation.table1.rows import Row, make_row
from trs_explorer.evaluation.table1.stored import parse_evaluation

N = 1000


def _row(method: str, changed: dict | None = None, warned=(), **settings) -> Row:
    """The paper's own figures, but for those changed, in per cent."""
    config = resolve({"method": method, **settings})
    papers = parse_evaluation(result(same(N), n=N), weights="w", data="mnist", limit=N)
    theirs = {column: figure.paper for column, figure in make_row(method, config, "0036", "w", [papers], N).figures.items()}
    correct = {column: round(10 * (99 if theirs[column] is None else theirs[column])) for column in measured_columns("mnist")}
    correct |= {column: round(10 * percent) for column, percent in (changed or {}).items()}
    stored = parse_evaluation(result(correct, n=N, warned=warned), weights="w", data="mnist", limit=N)
    return make_row(method, config, "0036", "w", [stored], N)


def _figure(percent: int, paper: float | None, n: int = N) -> Figure:
    right = round(percent * n / 100)
    return Figure("1" * right + "0" * (n - right), paper)


def test_far_is_more_than_fifteen_points_and_outside_the_interval():
    assert large_difference(_figure(50, 34.0)) == pytest.approx(16)
    assert large_difference(_figure(50, 66.0)) == pytest.approx(-16)
    assert large_difference(_figure(50, 36.0)) is None
    assert large_difference(_figure(50, 34.0, n=10)) is None  # 24 to 76 %
    assert large_difference(_figure(50, None)) is None


def test_who_agrees_with_the_paper_has_no_line():
    assert difference_lines(_row("trs")) == []
    assert difference_lines(_row("standard")) == []


def test_what_nothing_explains_is_said_to_be_so():
    [line] = difference_lines(_row("trs", {Column("pgd", 0.1): 50.0, Column("mim", 0.1): 60.0}))
    assert line.startswith("trs, pgd ε 0.1: 50.0 %, in the paper 93.0; of the 10 figures under the iterated attacks 2 are more")
    assert "more than 15 points below. Not explained by anything measured here: another model (patch), recipe" in line
    [line] = difference_lines(_row("cos-only", {Column("pgd", 0.1): 50.0}, model="small", warned=(3,)))
    assert "points above. Not explained by anything measured here: another model (small)" in line


def test_masking_explains_what_the_worst_of_all_attacks_takes_away():
    higher = {column: 60.0 for column in measured_columns("mnist") if column.eps == 0.1 and column.attack != "fgsm"}
    [line] = difference_lines(
        _row("cos-l2", higher | {Column("bim", 0.1): 95.0, Column("apgd-ce", 0.1): 80.0}, warned=(8, 15, 3))
    )
    assert line.startswith("cos-l2, bim ε 0.1: 95.0 %, in the paper 76.2; ")
    assert line.endswith("Masked gradients flatter it (checks 8, 15): right under every attack of ε 0.1 are 35.0 points fewer.")
    [line] = difference_lines(_row("cos-only", higher | {Column("bim", 0.1): 70.0}, warned=(8,)))
    assert "(check 8): right under every attack of ε 0.1 are 10.0 points fewer, and the rest is not explained by" in line
    [line] = difference_lines(_row("cos-only", {Column("fgsm", 0.2): 70.0}, warned=(8,)))
    assert line.endswith("Masked gradients flatter it (check 8), by how much was not measured.")


def test_masking_does_not_explain_fewer():
    [line] = difference_lines(_row("trs", {Column("pgd", 0.1): 50.0}, warned=(8,)))
    assert "Masked" not in line


def test_cw_and_ead_have_their_own_words():
    cw, ead = difference_lines(_row("trs", {Column("cw", None, 1.0): 60.0, Column("ead", None, 5.0): 0.0}, warned=(8,)))
    assert cw.endswith("how large the logits are.")
    assert "nine constants" in ead
    [more] = difference_lines(_row("trs", {Column("ead", None, 5.0): 70.0}))
    assert "Not explained" in more


def test_rank_correlation_by_hand():
    a, b = [93.0, 73.4, 69.2, 0.0, 4.5], [94.0, 50.0, 77.0, 27.0, 1.0]
    differences_of_ranks = [0, 1, -1, -1, 1]  # ranks of a: 5 4 3 1 2; of b: 5 3 4 2 1
    assert spearman(a, b) == pytest.approx(1 - 6 * sum(d * d for d in differences_of_ranks) / (5 * 24))
    # ties share their ranks: 1.5 1.5 3 with 1 2 3, covariance 1.5 over the root of 1.5 * 2
    assert spearman([0.0, 0.0, 9.0], [1.0, 2.0, 3.0]) == pytest.approx(1.5 / 3**0.5)
    assert spearman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


def test_the_order_in_words():
    column = Column("pgd", 0.1)
    seen_through = {column: 76.0, Column("mora", 0.1): 1.0}
    rows = [_row("cos-only", seen_through), _row("cos-l2", {column: 75.0}), _row("trs"), _row("standard")]
    first, least, second, _ = orderings(rows)
    assert (first.paper, first.ours) == ("trs > cos-l2 > cos-only", "trs > cos-only ~ cos-l2")
    assert (first.column, first.n, first.rho) == (column, 3, pytest.approx(0.5))
    assert (least.column.words, least.ours) == ("the worst of all attacks ε 0.1", "trs > cos-l2 > cos-only")
    assert (least.paper, least.rho) == (first.paper, pytest.approx(1))
    assert (second.ours, second.rho) == ("trs > cos-l2 > cos-only", pytest.approx(1))


def test_an_order_needs_two_and_its_correlation_three():
    assert orderings([]) == []
    assert orderings([_row("trs"), _row("standard")]) == []
    assert [order.rho for order in orderings([_row("trs"), _row("cos-l2")])] == [None] * 4
    twice = orderings([_row("trs"), _row("trs"), _row("cos-l2")])[0]
    assert (twice.paper, twice.ours, twice.rho) == ("trs = trs > cos-l2", "trs ~ trs > cos-l2", pytest.approx(1))
