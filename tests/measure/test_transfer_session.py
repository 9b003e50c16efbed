"""What an interrupted transfer matrix left may be damaged."""

import pytest

from trs_explorer.measure.transfer_session import stored_outcomes

ROWS = [None, "x", [["1", "1"]], [["1", "1", "1"]]]
ROWS += [[row] * 2 for row in (["1", "1", "-0"], ["10-1"] * 3, ["7"] * 3, ["1", 1, "1"])]


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_damaged_cells_of_an_interrupted_matrix_count_as_none(rows) -> None:
    assert stored_outcomes({"outcomes": rows}, members=2, limit=3) == []


def test_whole_cells_of_an_interrupted_matrix_are_taken() -> None:
    rows = [["1-"] * 3, ["0"] * 3]
    assert stored_outcomes({"outcomes": rows}, members=2, limit=3) == rows
