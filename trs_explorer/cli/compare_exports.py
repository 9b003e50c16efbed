"""The files of `trs compare --json` and `--csv`: the rows of all runs, and the groups of those that differ only in the seed."""

from collections.abc import Iterable, Iterator, Sequence

from trs_explorer.cli.evaluate_report import RATE_HEADER, rate_row
from trs_explorer.cli.exports import as_csv
from trs_explorer.evaluation.table1.differences import difference_lines, orderings
from trs_explorer.evaluation.table1.rows import Row
from trs_explorer.evaluation.table1.seed_orders import comparisons_json
from trs_explorer.files import Json

OF_GROUPS = ("mean", "smallest", "largest", "t_low", "t_high")


def table_json(data: str, rows: Sequence[Row]) -> Json:
    """The table of one data set as JSON holds it.

    - rows: one a run, also of those in groups.
    - groups: of the runs that differ only in the seed; their "runs" are names of rows.
    - comparisons: of every two groups in every column.
    """
    ordered = [
        {"attack": order.column.attack, "eps": order.column.eps, "n": order.n, "rho": order.rho}
        | {"paper": order.paper, "ours": order.ours}
        for order in orderings(rows)
    ]
    return {
        "data": data,
        "rows": [row for row, _ in _of_runs(rows)],
        "groups": [row.group_json() for row in rows if row.members],
        "comparisons": comparisons_json(rows),
        "differences": [line for row in rows for line in difference_lines(row)],
        "orderings": ordered,
    }


def tables_csv(tables: Iterable[Sequence[Row]]) -> str:
    """A row for every rate of every run, and of every group: its mean and interval over images, range, and t interval.

    group: of a run the label of its group; of a group's rate its own, and "run" is empty. seeds: of the trainings.
    """
    return as_csv([*RATE_HEADER, "group", "seeds", *OF_GROUPS], (line for rows in tables for line in _csv_lines(rows)))


def _csv_lines(rows: Sequence[Row]) -> Iterator[list[object]]:
    for result, group in _of_runs(rows):
        seed = result["training_seed"]
        for rate in result["rates"]:
            yield [*rate_row(result, rate), group, "" if seed is None else seed, *[""] * len(OF_GROUPS)]
    for row in rows:
        result = {"run": "", "weights": "", "seed": "", **(row.group_json() if row.members else {"rates": []})}
        for rate in result["rates"]:
            seeds = " ".join(map(str, rate["seeds"]))
            yield [*rate_row(result, {**rate, "correct": ""}), row.label, seeds, *(rate[name] for name in OF_GROUPS)]


def _of_runs(rows: Sequence[Row]) -> list[tuple[Json, str]]:
    """The rows of the runs as JSON holds them, and the labels of their groups, empty for those that are in none."""
    every = [(one, row.label if row.members else "") for row in rows for one in row.members or (row,)]
    return [(one.to_json() | ({"label": one.run} if group else {}) | {"group": group or None}, group) for one, group in every]
