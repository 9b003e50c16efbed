"""The rows of `trs compare`: what is stored with the runs, and what is missing measured and stored."""

import shlex
import time

from trs_explorer.catalogue import ATTACKS, DATA
from trs_explorer.cli import leaving_at_once
from trs_explorer.cli.evaluations import made_with
from trs_explorer.cli.flags import say
from trs_explorer.cli.measured import Known, Plan, measured
from trs_explorer.evaluation.comparison import Row, row, stored_answers
from trs_explorer.evaluation.table1 import ASKED, CLEAN, LIMIT, RESTARTS, SEED, STEPS, Answer, answer, columns, compact
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.results import Unfinished, delete_partial, measured_on, write_table
from trs_explorer.runs import Run, RunError

# What the figures of a measurement depend on.
REQUEST = ("weights", "data", "data_fingerprint", "seed", "options", "device", "versions")


def rows_of(
    chosen: list[Run], named: list[Run], limit: int, *, stored: bool, again: bool, device: str, data_dir: str = ""
) -> list[Row]:
    """A row a run. Raises RunError for one of those named that cannot be read; others are left out, which is said.

    stored: only what is stored. again: everything anew. data_dir: folder with the data, if it is not where the configs say.
    Interrupted, the rows done are stored, and the same command goes on.
    """
    rows, unfinished = [], []
    for one in chosen:
        try:
            rows.append(_row(one, limit, data_dir, stored=stored, again=again, device=device, unfinished=unfinished))
        except (RunError, UsageError) as error:
            if one in named or len(chosen) == 1:
                raise
            say(f"left out: {error}")
    for kept in unfinished:
        kept.forget()
    if not rows:
        raise RunError("nothing to compare: no run could be read")
    return rows


def _row(run: Run, limit: int, data_dir: str, *, stored: bool, again: bool, device: str, unfinished: list[Unfinished]) -> Row:
    """One run's row; what is measured for it is added to `unfinished`, to be forgotten when all are done."""
    newest = run.checkpoints()[-1]
    data, weights, checkpoint = run.config.data, newest.digest(), newest.name
    answers = [] if again else stored_answers(run, weights, limit)
    whole = next((one for one in answers if one.is_whole(data)), None)
    if whole is None and not stored:
        whole, kept = _measured(run, weights, limit, device, data_dir, answers)
        weights, checkpoint = whole.result["weights"], whole.result["checkpoint"]  # a training may have saved others meanwhile
        if _store(run, whole):
            if again:
                unfinished.append(kept)
            else:
                kept.forget()
    elif whole is not None and not stored and ("command" in whole.result or _store(run, whole)):
        attacks = [[column.attack, column.value] for column in columns(data)[1:]]
        delete_partial(run, "evaluate", {"attacks": attacks, **{name: whole.result.get(name) for name in REQUEST}})
    return row(run.name, run.config, checkpoint, weights, [whole] if whole else answers, limit)


def _measured(run: Run, weights: str, limit: int, device: str, data_dir: str, answers: list[Answer]) -> tuple[Answer, Unfinished]:
    """An evaluation by all attacks of the table, but for what the answers have of the same device and versions."""
    with leaving_at_once():
        from trs_explorer.evaluation.shares import Processes
        from trs_explorer.training.device import resolve_device

    data, where = run.config.data, resolve_device(device)
    asked = columns(data)
    attacks = [(column.attack, column.value) for column in asked[1:]]
    left_out = tuple(name for name in ASKED if ATTACKS[name].classes > DATA[data].classes)
    here = made_with(where)
    known: dict[str, Json] = {}
    for one in answers:
        if all(one.result.get(key) == value for key, value in here.items()):
            for place, column in enumerate(asked):
                outcomes = one.rates[column]["outcomes"] if column in one.rates else ""
                if 0 < len(outcomes) <= limit:
                    known.setdefault(str(place), {**one.rates[column], "outcomes": [letter == "1" for letter in outcomes]})
    missing = len(asked) - len(known)
    say(f"{run.name}: measuring {missing} of {len(asked)} figures; Ctrl-C keeps what is found")
    plan = Plan(attacks, limit, STEPS, RESTARTS, SEED, trust=False, left_out=left_out, data_dir=data_dir)
    data_of = measured_on(run.config, answers[0].result) if answers else ""
    result, kept = measured(run, plan, where, Processes(), Known(weights, data_of, known))
    found = answer(result or {}, weights=(result or {}).get("weights", ""), data=data, limit=limit)
    if found is None or not found.is_whole(data):
        raise RuntimeError(f"{run.name}: what was measured is not the table that was asked for")
    return found, kept


def _store(run: Run, whole: Answer) -> bool:
    """Store a run's Table 1 with the command that makes it, or say that this is not possible."""
    limit = whole.result["options"].get("limit", len(whole.rates[CLEAN]["outcomes"]))
    command = ["trs", "compare", run.name, "--again", *(["--limit", str(limit)] if limit != LIMIT else [])]
    made = {"stored": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": shlex.join(command)}
    try:
        write_table(run, compact(whole, run.config.data) | made)
    except RunError as error:
        say(f"not stored with the run: {error}")
        return False
    return True
