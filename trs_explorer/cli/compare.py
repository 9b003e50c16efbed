"""`trs compare`: runs in the form of the paper's Table 1."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.compare_exports import table_json, tables_csv
from trs_explorer.cli.compare_markdown import markdown
from trs_explorer.cli.compare_report import show
from trs_explorer.cli.exports import as_json, check_parent, exported
from trs_explorer.cli.flags import (
    AllowCodeOption,
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    check_saved,
    run_at,
    say,
)
from trs_explorer.cli.progress import progress
from trs_explorer.evaluation.table1 import paper
from trs_explorer.evaluation.table1.columns import LIMIT
from trs_explorer.evaluation.table1.groups import group_seeds
from trs_explorer.evaluation.table1.rows import group_by_images, sort_rows
from trs_explorer.evaluation.table1.stored import StoredEvaluation
from trs_explorer.files import printable
from trs_explorer.measure.table1_rows import table1_rows
from trs_explorer.options import UsageError
from trs_explorer.results import PartialResult, is_table_alone
from trs_explorer.runs import START_PREFIX, SURROGATE_PREFIX, Run, RunError, find_runs

NO_CHECKPOINT = "without a checkpoint yet"


def compare(
    run: Annotated[
        list[Path] | None, typer.Argument(help="Runs, or folders of runs. Default: the shipped runs.", show_default=False)
    ] = None,
    limit: LimitOption = LIMIT,
    stored: Annotated[bool, typer.Option("--stored", help="Measure nothing: figures that are not stored stay empty.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Measure and store everything again.")] = False,
    markdown_wanted: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables with attacks as rows.")] = False,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Compare runs in the form of the paper's Table 1: its attacks and parameters, its figures beside ours.

    Ours: images classified correctly after the attack / all images used, with 95 % intervals; 50 steps, one start, seed 0.

    Figures that are stored with a run for its weights are used. The others are measured, which takes minutes a run, and stored.

    After an interruption, the same command continues.

    Runs that differ only in the seed (trs train --seeds 0-4) are one row: mean, range, the t interval between trainings, and the
    interval over images. The order of two such rows is called only if it holds over seeds and images; the test is named.

    A run may be its config.json and results/table1.json alone, without weights.

    Below the table: which figures are too high, where the paper's differ and why, and whether its order of methods holds.

    Example: trs compare checkpoints/ --stored
    """
    del allow_code
    if stored and again:
        raise UsageError("choose one of --stored, which measures nothing, and --again, which measures everything")
    for file in (json_file, csv_file):
        check_parent(file)
    named, in_folders = _named_runs(run)
    selected = _select(named, in_folders)
    measure = None if stored else partial(_measure, device=device, data_dir=str(data_dir or ""))
    rows = table1_rows(selected, measure, limit=limit, again=again, required=named, notify=say)
    tables = [(data, sort_rows(group_seeds(group))) for data in _data_sets(selected) for group in group_by_images(rows, data)]
    repeated = {data for (data, _), (following, _) in pairwise(tables) if data == following}
    with exported(
        (json_file, lambda: as_json([table_json(data, group) for data, group in tables])),
        (csv_file, lambda: tables_csv(group for _, group in tables)),
    ):
        for place, (data, group) in enumerate(tables):
            if place:
                print()
            if data in repeated:
                print(f"on the {data} whose test split has the SHA-256 {printable(group[0].data_fingerprint) or '(unknown)'}:")
            if markdown_wanted:
                print(markdown(data, group))
            else:
                show(data, group)


def _measure(
    run: Run, evaluations: Sequence[StoredEvaluation], limit: int, *, device: str, data_dir: str
) -> tuple[StoredEvaluation, PartialResult]:
    """Measure the missing figures of a run's table, with a progress bar."""
    with exit_on_interrupt():
        from trs_explorer.measure import Reporting, measure_table1
        from trs_explorer.training.device import resolve_device

    where = resolve_device(device)
    with progress(run.name) as advance:
        return measure_table1(run, evaluations, limit, device=where, data_dir=data_dir, reporting=Reporting(advance, say))


def _named_runs(paths: list[Path] | None) -> tuple[list[Run], list[Run]]:
    """The runs that are named, and those in folders; by default the shipped runs. Raises RunError for a folder without runs."""
    from trs_explorer.shipped import shipped_runs

    named, in_folders = [], [] if paths else shipped_runs()
    for path in paths or []:
        if path.is_dir() and not (path / "config.json").is_file():
            inside = find_runs(path)
            if not inside:
                raise RunError(f"{path}: there is no run in this folder, and it is none itself")
            in_folders += inside
        else:
            named.append(run_at(path))
    for one in named:
        if not is_table_alone(one):
            check_saved(one)
    return named, in_folders


def _select(named: list[Run], in_folders: list[Run]) -> list[Run]:
    """The runs to compare, each once. Prints which runs of folders are left out, and how to include them."""
    selected = {one.path.resolve(): one for one in named}
    left_out: dict[str, list[Run]] = {}  # by reason
    in_paper = any(one.config.data in paper.TABLE1 for one in (*named, *in_folders))
    for one in in_folders:
        if one.path.resolve() in selected:
            continue
        if one.name.startswith((SURROGATE_PREFIX, START_PREFIX)):
            left_out.setdefault("trained for another command", []).append(one)
        elif not one.checkpoints() and not is_table_alone(one):
            left_out.setdefault(NO_CHECKPOINT, []).append(one)
        elif in_paper and one.config.data not in paper.TABLE1:
            left_out.setdefault(f"on {one.config.data}, for which the paper has no figures", []).append(one)
        else:
            selected[one.path.resolve()] = one
    for reason, several in left_out.items():
        which = f"{several[0].path}{' ...' if len(several) > 1 else ''}"
        hint = which if reason == NO_CHECKPOINT else f"to include them, name them: trs compare {which}"
        say(f"left out: {len(several)} {reason}; {hint}")
    if not selected:
        raise RunError("nothing to compare: name the runs")
    return list(selected.values())


def _data_sets(selected: list[Run]) -> list[str]:
    """The data sets of the runs: those of the paper's table in its order, then the others."""
    present = {one.config.data for one in selected}
    return [*(data for data in paper.TABLE1 if data in present), *sorted(present - set(paper.TABLE1))]
