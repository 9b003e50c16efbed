"""The rows of the paper's Table 1: what is stored with runs; what is missing is measured, and stored. No torch."""

import shlex
import time
from collections.abc import Callable, Sequence

from trs_explorer.evaluation.table1.columns import CLEAN, LIMIT, measured_columns
from trs_explorer.evaluation.table1.rows import Row, make_row
from trs_explorer.evaluation.table1.stored import StoredEvaluation, compact, measured_checkpoint, stored_evaluations
from trs_explorer.options import UsageError
from trs_explorer.results import PartialResult, delete_partial, write_table
from trs_explorer.runs import Run, RunError

# What the figures of a measurement depend on.
REQUEST = ("weights", "data", "data_fingerprint", "seed", "options", "device", "versions")
# Called with a run, what is stored of its newest weights, and the number of images: such as `table1_session.measure_table1`.
Measure = Callable[[Run, Sequence[StoredEvaluation], int], tuple[StoredEvaluation, PartialResult]]


def table1_rows(
    runs: Sequence[Run],
    measure: Measure | None = None,
    *,
    limit: int = LIMIT,
    again: bool = False,
    required: Sequence[Run] = (),
    notify: Callable[[str], object] = lambda text: None,
) -> list[Row]:
    """A row a run. Interrupted, the rows that are complete stay stored, and the same call resumes.

    - measure: measures a run's table where figures are missing, with those that are stored; None: missing figures stay missing.
    - limit: how many test images, the first ones.
    - again: measure everything anew.
    - required: runs that must be readable. Others are left out, and `notify` is told why.

    Raises: RunError and UsageError for a required run, or the only one, that cannot be read; RunError if no run can.
    """
    rows: list[Row] = []
    partial: list[PartialResult] = []
    for run in runs:
        try:
            rows.append(_row(run, measure, limit, again=again, partial=partial, notify=notify))
        except (RunError, UsageError) as error:
            if run in required or len(runs) == 1:
                raise
            notify(f"left out: {error}")
    for one in partial:
        one.delete()
    if not rows:
        raise RunError("nothing to compare: no run could be read")
    return rows


def _row(
    run: Run,
    measure: Measure | None,
    limit: int,
    *,
    again: bool,
    partial: list[PartialResult],
    notify: Callable[[str], object],
) -> Row:
    """One run's row. With `again`, its partial result is added to `partial`, to be deleted when all rows are complete."""
    dataset, (checkpoint, weights) = run.config.data, measured_checkpoint(run)
    evaluations = [] if again else stored_evaluations(run, weights, limit)
    whole = next((one for one in evaluations if one.is_complete(dataset)), None)
    if whole is None and measure is not None:
        if not run.checkpoints():
            stored = "" if again else f", and its Table 1 is not complete, or of fewer than {limit} images"
            raise RunError(f"{run.path} cannot be measured: no weights are here{stored}")
        whole, unfinished = measure(run, evaluations, limit)
        weights, checkpoint = whole.result["weights"], whole.result["checkpoint"]  # a training may have saved others meanwhile
        if _store(run, whole, notify):
            if again:
                partial.append(unfinished)
            else:
                unfinished.delete()
    elif whole is not None and measure is not None and ("command" in whole.result or _store(run, whole, notify)):
        attacks = [[column.attack, column.value] for column in measured_columns(dataset)[1:]]
        delete_partial(run, "evaluate", {"attacks": attacks, **{name: whole.result.get(name) for name in REQUEST}})
    return make_row(run.name, run.config, checkpoint, weights, [whole] if whole else evaluations, limit)


def _store(run: Run, whole: StoredEvaluation, notify: Callable[[str], object]) -> bool:
    """Store a run's Table 1 with the command that makes it, or tell the user that this is not possible."""
    limit = whole.result["options"].get("limit", len(whole.rates[CLEAN]["outcomes"]))
    command = ["trs", "compare", run.name, "--again", *(["--limit", str(limit)] if limit != LIMIT else [])]
    made = {"stored": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": shlex.join(command)}
    try:
        write_table(run, compact(whole, run.config.data) | made)
    except RunError as error:
        notify(f"not stored with the run: {error}")
        return False
    return True
