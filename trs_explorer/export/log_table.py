"""A run's log as a table of named numbers: a row for every step, probe and epoch that was logged. No torch.

The names are the columns of the CSV file and the tags of the TensorBoard events:

    loss/NAME                        step    a weighted loss term of the method; loss/total is their sum
    train/cosine, .../F1-F2          step    |cos| of two members' gradients of the loss on the training batch; mean over pairs
    train/grad_norm, train/delta     step    norm of the input gradients; radius of Eq. (1)
    train/lr, train/steps_per_second step
    train/member                     step    the member being trained, where they are trained one after another: 1 is F1
    weight/lambda_...                step    a weight of the loss at this step
    probe/clean, /fgsm, /pgd         probe   share of the probe's images that the ensemble classifies correctly
    probe/clean/F1                   probe   the same of one member, without attack
    probe/transfer, _low, _high      probe   transfer over all pairs of different members, and its 95 % interval
    probe/transfer/F1-F2             probe   images made on F1 (surrogate): the share that fools F2 (target)
    probe/cosine, .../F1-F2          probe   |cos| of the gradients of the log-odds; mean over pairs
    probe/loss_cosine, .../F1-F2     probe   |cos| of the cross-entropy's gradients; mean over pairs
    probe/grad_norm, probe/images    probe   the largest gradient norm of the cross-entropy; how many images
    probe/zero_gradients/F1          probe   share of images whose gradient of the cross-entropy vanishes
    epoch/seconds                    epoch   how long it took
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trs_explorer import events
from trs_explorer.files import Json, reason
from trs_explorer.matrices import Matrix, mean, off_diagonal
from trs_explorer.newest_probe import completed, stored_probe
from trs_explorer.parse_events import (
    PROBE,
    Probe,
    Step,
    event_time,
    parse_epoch,
    parse_probe,
    parse_start,
    parse_step,
)
from trs_explorer.runs import Run, RunError
from trs_explorer.tables import to_csv
from trs_explorer.values import text

FIRST_COLUMNS = ("event", "step", "epoch", "time")
BATCH_BYTES = 1 << 20  # of a log, read at once; parsed events take twenty times as much memory
MOST_STEP = 1 << 53  # beyond it numbers are not exact, and no training gets there
MOST_NAMES = 5000  # 32 members have 3,500; more are a damaged log, and must not fill the memory


@dataclass(frozen=True)
class Row:
    """The numbers of one event. kind: "step", "probe" or "epoch".  time: in seconds since 1970.  values: by name, finite."""

    kind: str
    step: int
    epoch: int | None
    time: float | None
    values: Mapping[str, float]


def read_log(run: Run) -> list[Row]:
    """The rows of a run's log. A probe without |cos| by the log-odds is completed as the dashboard does it (`newest_probe`).

    Raises: RunError if the log cannot be read.
    """
    try:
        return log_rows(_events(run), stored=stored_probe(run))
    except OSError as error:
        raise RunError(f"cannot read {run.path / 'events.jsonl'}: {reason(error)}") from error


def log_rows(logged: Iterable[Json], *, stored: Probe | None = None) -> list[Row]:
    """The rows of events, in their order. Rows that a resumed training has repeated are left out: those after its start.

    logged: events, oldest first. One without a step number, or without any number, has no row.
    stored: a later measurement of the newest weights, for a log without |cos| by the log-odds.
    Raises: RunError for more than MOST_NAMES names.
    """
    rows: list[Row] = []
    names: dict[str, None] = {}
    for event in logged:
        if event["kind"] == "start":
            start = parse_start(event)
            if start.resumed:
                rows = [row for row in rows if row.step <= (start.step or 0)]
            continue
        row = _row(event, stored)
        if row is None or not row.values or not 0 <= row.step <= MOST_STEP:
            continue
        names.update(dict.fromkeys(row.values))
        if len(names) > MOST_NAMES:
            raise RunError(f"the log names more than {MOST_NAMES:,} quantities: it is damaged, or no log that trs has written")
        rows.append(row)
    return rows


def log_csv(rows: Iterable[Row]) -> str:
    """The rows as CSV text: the columns event, step, epoch and time (seconds since 1970), then one for every name.

    A cell is empty where the event has no such number. In pandas: `log[log.event == "step"].plot("step", "loss/total")`.
    """
    rows = list(rows)
    names = sorted({name: None for row in rows for name in row.values}, key=_column_order)
    cells = ([row.kind, row.step, row.epoch, row.time, *map(row.values.get, names)] for row in rows)
    return to_csv([*FIRST_COLUMNS, *names], cells)


def _column_order(name: str) -> tuple[int, bool, int, str]:
    """Groups in the order of the list above, "total" first in its group, single numbers before those of members and pairs."""
    group, _, rest = name.partition("/")
    groups = ("loss", "train", "weight", "probe", "epoch")
    return groups.index(group), rest != "total", 0 if group in ("loss", "weight") else rest.count("/"), rest


def _events(run: Run) -> Iterator[Json]:
    offset = 0
    while (batch := events.read_events(run, offset, BATCH_BYTES)).offset > offset:
        yield from batch.events
        offset = batch.offset


def _row(event: Json, stored: Probe | None) -> Row | None:
    """An event as a row; None if it is of another kind or names no step."""
    kind, time = event["kind"], event_time(event)
    if kind == "step":
        step = parse_step(event)
        return None if step.step is None else Row("step", step.step, step.epoch, time, _without_none(_step_values(step)))
    if kind == PROBE and event.get("step") is not None:
        probe = completed(parse_probe(event), stored)
        return Row("probe", probe.step, probe.epoch, time, _without_none(_probe_values(probe)))
    if kind == "epoch":
        epoch = parse_epoch(event)
        values = {"epoch/seconds": epoch.seconds}
        return None if epoch.step is None else Row("epoch", epoch.step, epoch.epoch, time, _without_none(values))
    return None


def _without_none(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _step_values(step: Step) -> dict[str, float | None]:
    return {
        **{f"loss/{text(name)}": value for name, value in step.terms.items()},
        **_of_pairs("train/cosine", step.cosines),
        "train/grad_norm": step.grad_norm,
        "train/delta": step.delta,
        "train/lr": step.lr,
        "train/steps_per_second": step.rate,
        "train/member": None if step.member is None else step.member + 1,
        **{f"weight/{text(name)}": value for name, value in step.options.items()},
    }


def _probe_values(probe: Probe) -> dict[str, float | None]:
    low, high = probe.interval or (None, None)
    members = enumerate(probe.member_clean, start=1)
    return {
        **{f"probe/{name}": probe.share(name) for name in ("clean", "fgsm", "pgd")},
        **{f"probe/clean/F{i}": count / probe.n for i, count in members if count is not None and probe.n},
        **_of_pairs("probe/transfer", probe.rates, both_ways=True),
        "probe/transfer": probe.transfer,  # of the counts: not the mean of the pairs' rates
        "probe/transfer_low": low,
        "probe/transfer_high": high,
        **_of_pairs("probe/cosine", probe.cosines),
        **_of_pairs("probe/loss_cosine", probe.loss_cosines),
        "probe/grad_norm": probe.grad_norm,
        "probe/images": probe.n,
        **{f"probe/zero_gradients/F{i}": share for i, share in enumerate(probe.zero_gradients, start=1)},
    }


def _of_pairs(name: str, square: Matrix | None, *, both_ways: bool = False) -> dict[str, float | None]:
    """The mean of a matrix over pairs of different members, and the cells of the pairs. both_ways: F2-F1 is not F1-F2."""
    if square is None:
        return {}
    cells = {
        f"{name}/F{i + 1}-F{j + 1}": cell
        for i, row in enumerate(square)
        for j, cell in enumerate(row)
        if i < j or (both_ways and i != j)
    }
    return {name: mean(off_diagonal(square)), **cells}
