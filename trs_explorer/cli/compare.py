"""`trs compare`."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.cli import leaving_at_once
from trs_explorer.cli.exports import as_json, check_parent, exported
from trs_explorer.cli.flags import (
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    check_saved,
    run_at,
    say,
)
from trs_explorer.cli.markdown import markdown
from trs_explorer.cli.progress import progress
from trs_explorer.cli.rates import rates_csv
from trs_explorer.cli.side_by_side import show
from trs_explorer.evaluation.table1 import paper
from trs_explorer.evaluation.table1.columns import LIMIT
from trs_explorer.evaluation.table1.differences import difference_lines, orderings
from trs_explorer.evaluation.table1.rows import Row, group_by_images, sort_rows
from trs_explorer.evaluation.table1.stored import StoredEvaluation
from trs_explorer.files import Json, printable
from trs_explorer.measure.table1_rows import table1_rows
from trs_explorer.options import UsageError
from trs_explorer.results import PartialResult
from trs_explorer.runs import START_PREFIX, SURROGATE_PREFIX, Run, RunError, find_runs

UNSAVED = "without a checkpoint yet"


def compare(
    run: Annotated[
        list[Path] | None, typer.Argument(help="Runs, or folders of runs. Without it: the shipped runs.", show_default=False)
    ] = None,
    limit: LimitOption = LIMIT,
    stored: Annotated[bool, typer.Option("--stored", help="Measure nothing: what is not stored stays empty.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure everything anew, and store it.")] = False,
    markdown_wanted: Annotated[bool, typer.Option("--markdown", help="Print the tables for a README, attacks as rows.")] = False,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
) -> None:
    """The methods side by side in the shape of the paper's Table 1: its attacks and parameters, its figures beside ours.

    Ours: right on the adversarial image / all images used, with 95 % intervals; 50 steps, one start, seed 0.

    What is stored with a run for these weights is taken; the rest is measured, minutes a run, and stored.

    Interrupted, the same command goes on where it stopped.

    Below the table: which figures are too high, where the paper's differ and why as far as is known, and whether its order holds.

    Example: trs compare checkpoints/ --stored
    """
    if stored and again:
        raise UsageError("choose one of --stored, which measures nothing, and --again, which measures everything")
    for file in (json_file, csv_file):
        check_parent(file)
    named, found = _given(run)
    chosen = _chosen(named, found)
    measure = None if stored else partial(_measure, device=device, data_dir=str(data_dir or ""))
    rows = table1_rows(chosen, measure, limit=limit, again=again, required=named, notify=say)
    tables = [(data, sort_rows(own)) for data in _data_sets(chosen) for own in group_by_images(rows, data)]
    several = {data for (data, _), (following, _) in pairwise(tables) if data == following}
    with exported(
        (json_file, lambda: as_json([_exported(data, own) for data, own in tables])),
        (csv_file, lambda: rates_csv([one.to_json() for _, own in tables for one in own])),
    ):
        for place, (data, own) in enumerate(tables):
            if place:
                print()
            if data in several:
                print(f"on the {data} whose test split has the SHA-256 {printable(own[0].data_fingerprint) or '(unknown)'}:")
            if markdown_wanted:
                print(markdown(data, own))
            else:
                show(data, own)


def _measure(
    run: Run, evaluations: Sequence[StoredEvaluation], limit: int, *, device: str, data_dir: str
) -> tuple[StoredEvaluation, PartialResult]:
    """Measure what is missing of a run's table, with a progress bar."""
    with leaving_at_once():
        from trs_explorer.measure import Reporting, measure_table1
        from trs_explorer.training.device import resolve_device

    where = resolve_device(device)
    with progress(run.name) as advance:
        return measure_table1(run, evaluations, limit, device=where, data_dir=data_dir, reporting=Reporting(advance, say))


def _given(paths: list[Path] | None) -> tuple[list[Run], list[Run]]:
    """The runs that are named, and those found in folders or among the shipped ones. Raises RunError for a folder without any."""
    from trs_explorer.shipped import shipped_runs

    named, found = [], [] if paths else shipped_runs()
    for path in paths or []:
        if path.is_dir() and not (path / "config.json").is_file():
            inside = find_runs(path)
            if not inside:
                raise RunError(f"{path}: there is no run in this folder, and it is none itself")
            found += inside
        else:
            named.append(run_at(path))
    for one in named:
        check_saved(one)
    return named, found


def _chosen(named: list[Run], found: list[Run]) -> list[Run]:
    """The runs to compare, each once; what is left out of those that nobody named is said, and how to see it."""
    once = {one.path.resolve(): one for one in named}
    left: dict[str, list[Run]] = {}  # why, and which
    printed = any(one.config.data in paper.TABLE1 for one in (*named, *found))
    for one in found:
        if one.path.resolve() in once:
            continue
        if one.name.startswith((SURROGATE_PREFIX, START_PREFIX)):
            left.setdefault("trained for another command's sake", []).append(one)
        elif not one.checkpoints():
            left.setdefault(UNSAVED, []).append(one)
        elif printed and one.config.data not in paper.TABLE1:
            left.setdefault(f"on {one.config.data}, for which the paper has no figures", []).append(one)
        else:
            once[one.path.resolve()] = one
    for why, several in left.items():
        which = f"{several[0].path}{' ...' if len(several) > 1 else ''}"
        see = f"{which}" if why == UNSAVED else f"to see them, name them: trs compare {which}"
        say(f"left out: {len(several)} {why}; {see}")
    if not once:
        raise RunError("nothing to compare: name the runs")
    return list(once.values())


def _data_sets(chosen: list[Run]) -> list[str]:
    """Each once: those of the paper's table in its order, then the others."""
    present = {one.config.data for one in chosen}
    return [*(data for data in paper.TABLE1 if data in present), *sorted(present - set(paper.TABLE1))]


def _exported(data: str, rows: list[Row]) -> Json:
    ordered = [
        {"attack": order.column.attack, "eps": order.column.eps, "n": order.n, "rho": order.rho}
        | {"paper": order.paper, "ours": order.ours}
        for order in orderings(rows)
    ]
    words = [line for row in rows for line in difference_lines(row)]
    return {"data": data, "rows": [row.to_json() for row in rows], "differences": words, "orderings": ordered}
