"""Measure a run for the paper's Table 1: all its attacks, but for the figures that are stored already."""

from collections.abc import Sequence

import torch

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.table1.columns import MEASURED_ATTACKS, RESTARTS, SEED, STEPS, measured_columns
from trs_explorer.evaluation.table1.stored import StoredEvaluation, parse_evaluation
from trs_explorer.files import Json
from trs_explorer.measure.evaluate_session import EvaluatePlan, StoredRates, evaluate_run
from trs_explorer.measure.session import Reporting, environment
from trs_explorer.results import PartialResult, measured_on
from trs_explorer.runs import Run


def measure_table1(
    run: Run,
    evaluations: Sequence[StoredEvaluation],
    limit: int,
    *,
    device: torch.device | str = "cpu",
    data_dir: str = "",
    reporting: Reporting | None = None,
) -> tuple[StoredEvaluation, PartialResult]:
    """Evaluate a run by all attacks of the table. Returns the whole table, and the partial result to delete once it is stored.

    - evaluations: what is stored of the run's newest weights. Its figures of the same device and versions are not measured again.
    - limit: how many test images, the first ones.
    - device: where to compute.
    - data_dir: folder with the data, if it is not where the run's config says.
    - reporting: progress and lines of text.
    """
    reporting = reporting or Reporting()
    dataset = run.config.data
    table = measured_columns(dataset)
    stored = _stored_rates(evaluations, dataset, limit, environment(device))
    missing = len(table) - len(stored)
    announcement = f"{run.name}: measuring {missing} of {len(table)} figures; Ctrl-C saves the results so far"
    plan = EvaluatePlan(
        [(column.attack, column.value) for column in table[1:]],
        limit,
        STEPS,
        RESTARTS,
        SEED,
        left_out=tuple(name for name in MEASURED_ATTACKS if ATTACKS[name].classes > DATA[dataset].classes),
        data_dir=data_dir,
    )
    data_of = measured_on(run.config, evaluations[0].result) if evaluations else ""
    weights = evaluations[0].result["weights"] if evaluations else ""
    reusable = StoredRates(weights, data_of, stored)
    measurement = evaluate_run(run, plan, device=device, reporting=reporting, stored=reusable, announcement=announcement)
    result = measurement.result or {}
    measured = parse_evaluation(result, weights=result.get("weights", ""), data=dataset, limit=limit)
    if measured is None or not measured.is_complete(dataset):
        raise RuntimeError(f"{run.name}: what was measured is not the table that was asked for")
    return measured, measurement.partial


def _stored_rates(evaluations: Sequence[StoredEvaluation], dataset: str, limit: int, environment: Json) -> dict[str, Json]:
    """The rates of the same device and versions, of `limit` images at most, by position in the table."""
    stored: dict[str, Json] = {}
    for one in evaluations:
        if all(one.result.get(key) == value for key, value in environment.items()):
            for position, column in enumerate(measured_columns(dataset)):
                outcomes = one.rates[column]["outcomes"] if column in one.rates else ""
                if 0 < len(outcomes) <= limit:
                    rate = {**one.rates[column], "outcomes": [letter == "1" for letter in outcomes]}
                    stored.setdefault(str(position), rate)
    return stored
