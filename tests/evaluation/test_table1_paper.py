"""The paper's table, against what its text says of it."""

import pytest

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.evaluation.table1 import paper


@pytest.mark.parametrize("data", paper.TABLE1)
def test_sixteen_rows_of_nine_methods(data):
    rows = paper.TABLE1[data]
    assert len(rows) == len({(row.attack, row.parameter) for row in rows}) == 16
    assert all(len(row.figures) == len(paper.METHODS) for row in rows)
    assert all(0 <= figure <= 100 for row in rows for figure in row.figures)
    for attack in paper.ATTACKS:
        assert attack in ATTACKS
        weak, strong = (row.figures for row in rows if row.attack == attack)
        assert all(a >= b for a, b in zip(weak, strong, strict=True))


def test_figures_and_parameters():
    assert paper.parameters("mnist", "fgsm") == (0.1, 0.2)
    assert paper.parameters("mnist", "mora") == (0.1, 0.15)
    assert paper.parameters("bars", "fgsm") == ()
    assert paper.figure("mnist", "pgd", 0.15, "trs") == 85.1
    assert paper.figure("mnist", "pgd", 0.15, "dverge") == 28.8
    assert paper.figure("cifar10", "mim", 0.01, "trs") == 51.5
    assert paper.figure("mnist", "pgd", 0.3, "trs") is None
    assert paper.figure("mnist", "pgd", 0.15, "standard") is None
