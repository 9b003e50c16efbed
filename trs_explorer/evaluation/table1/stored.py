"""Read the figures of Table 1 from stored evaluations. No torch.

A stored evaluation is a file that anybody may have written: what is damaged counts as missing.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from trs_explorer import __version__
from trs_explorer.attack_labels import Label, parse_label
from trs_explorer.evaluation.table1.columns import RESTARTS, SEED, STEPS, Column, measured_columns
from trs_explorer.evaluation.trust.checks import CHECKS
from trs_explorer.files import Json
from trs_explorer.results import measured_on, read_results, read_table, why_unsaved
from trs_explorer.runs import Checkpoint, Run, RunError

# The fields of an evaluation, and of a rate, that table1.json keeps: the rest follows from them.
FIELDS = ("run", "checkpoint", "weights", "data", "data_fingerprint", "seed", "device", "versions", "kind", "options", "trust")
RATE_FIELDS = ("name", "eps", "c", "correct", "n", "low", "high", "norm", "perturbation", "moved", "outcomes", "parts")
USUAL_OPTIONS = {"limit", "steps", "restarts"}  # those that every evaluation stores


@dataclass(frozen=True)
class StoredEvaluation:
    """What one stored evaluation says.

    - rates: by column, as they are stored, with their outcomes as a text of 0 and 1.
    - checks: of the sanity checks that were run, by number, whether they warned.
    - result: the whole file.
    """

    rates: dict[Column, Json]
    checks: dict[int, bool]
    result: Json

    def is_complete(self, data: str) -> bool:
        """Whether every measured column of a data set's table is there."""
        return all(column in self.rates for column in measured_columns(data))


def measured_checkpoint(run: Run, digest: Callable[[Checkpoint], str] = Checkpoint.digest) -> tuple[str, str]:
    """The checkpoint that a run's table is of: its name, and the SHA-256 of its weights.

    The newest one. Where no weights are here, the one that the stored Table 1 names: then nothing can check that its figures are
    of these weights.
    digest: returns the SHA-256 of a checkpoint's weights.
    Raises: RunError if there is neither, or the weights cannot be read.
    """
    newest = run.checkpoints()[-1:]
    if newest:
        return newest[0].name, digest(newest[0])
    table = read_table(run)
    name, weights = table.get("checkpoint"), table.get("weights")
    if not isinstance(name, str) or not isinstance(weights, str) or not re.fullmatch(r"[0-9]{4,9}(-[0-9]{6,9})?", name):
        raise RunError(f"{run.path}: no weights are here, and its Table 1 does not say of which" if table else why_unsaved(run))
    return name, weights


def stored_evaluations(run: Run, weights: str, limit: int) -> list[StoredEvaluation]:
    """The stored evaluations of a run's weights: its Table 1 alone if that is complete, else the newest evaluation first.

    Only those of this version of trs count, whose attacks may be stronger; but for a run that cannot be measured again.
    """
    alone = not run.checkpoints()
    parse = partial(parse_evaluation, weights=weights, data=run.config.data, limit=limit, any_version=alone)
    table = parse(read_table(run))
    if table is not None and table.is_complete(run.config.data):
        return [table]
    others = [parse(result) for result in read_results(run, "evaluate")]
    parsed = [one for one in (table, *others) if one is not None]
    return [one for one in parsed if measured_on(run.config, one.result) == measured_on(run.config, parsed[0].result)]


def parse_evaluation(result: Json, *, weights: str, data: str, limit: int, any_version: bool = False) -> StoredEvaluation | None:
    """Parse a stored evaluation of these weights; None if it is of others, or was not made as the table's figures are.

    Rates of more than `limit` images keep all their outcomes. Rates of too few images are left out.
    """
    options, versions = (result.get(name) for name in ("options", "versions"))
    if not isinstance(options, Mapping) or not isinstance(versions, Mapping):
        return None
    if options.keys() - USUAL_OPTIONS:  # others are stored only where they are not the usual ones
        return None
    made = [result.get("kind"), result.get("weights"), result.get("seed"), options.get("steps"), options.get("restarts")]
    if made != ["evaluate", weights, SEED, STEPS, RESTARTS]:
        return None
    if versions.get("trs_explorer") != __version__ and not any_version:
        return None
    named = re.fullmatch(rf"{re.escape(data)}, first ([0-9]{{1,9}}) test images", str(result.get("data")))
    if named is None:
        return None
    n, requested = int(named[1]), options.get("limit")
    if n < limit and not (isinstance(requested, int) and n < requested):  # fewer than needed, and not all there are
        return None
    rates = {}
    for rate in _mappings(result.get("rates")):
        column, outcomes = _column(rate), _outcomes(rate.get("outcomes"))
        if column is not None and n and len(outcomes) == rate.get("n") == n and outcomes.count("1") == rate.get("correct"):
            rates[column] = {**rate, "outcomes": outcomes}
    return StoredEvaluation(rates, _checks(result.get("trust")), result)


def compact(evaluation: StoredEvaluation, data: str) -> Json:
    """A complete evaluation as table1.json holds it: the table's rates alone, with their outcomes as a text of 0 and 1."""
    rates = [_select(RATE_FIELDS, evaluation.rates[column]) for column in measured_columns(data)]
    return {**_select(FIELDS, evaluation.result), "rates": rates}


def _select(names: Iterable[str], values: Json) -> Json:
    return {name: values[name] for name in names if name in values}


def _mappings(values: object) -> list[Json]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _column(rate: Json) -> Column | None:
    """The column of a stored rate, whose name includes the steps."""
    name, eps, c = (rate.get(key) for key in ("name", "eps", "c"))
    if not isinstance(name, str) or not _is_number(c if eps is None else eps) or (eps is not None and c is not None):
        return None
    label = parse_label(name)
    attack = label.attack if label in (Label(label.attack), Label(label.attack, steps=STEPS)) else name
    return Column(attack, None if eps is None else float(eps), None if c is None else float(c))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # which NaN is not


def _outcomes(stored: object) -> str:
    """A letter an image, from a text or a list; empty if it is damaged."""
    if isinstance(stored, str):
        return stored if set(stored) <= set("01") else ""
    if isinstance(stored, list) and {type(one) for one in stored} <= {bool}:
        return "".join("01"[one] for one in stored)
    return ""


def _checks(stored: object) -> dict[int, bool]:
    warned = {}
    for check in _mappings(stored):
        number, warnings = check.get("check"), check.get("warnings")
        if type(number) is int and number in CHECKS and isinstance(warnings, list):
            warned[number] = bool(warnings)
    return dict(sorted(warned.items()))
