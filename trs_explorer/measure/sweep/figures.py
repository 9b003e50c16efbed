"""The figures of a sweep: what was measured of its trials, those that differ only in the seed together. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from trs_explorer.evaluation.seeds import t_interval
from trs_explorer.evaluation.table1.columns import Column
from trs_explorer.files import Json, read_report
from trs_explorer.measure.sweep.state import result_file, run_of
from trs_explorer.results import MAX_BYTES
from trs_explorer.runs import RunError
from trs_explorer.sweep_plan import Measure, Sweep, Trial
from trs_explorer.values import number


@dataclass(frozen=True)
class Rate:
    """A rate in per cent with its 95 % interval.

    Of one training: the interval over images that the measurement has stored. Of several: their mean, and the t interval
    between trainings (`evaluation.seeds.t_interval`), cut to [0, 100].

    - n: images, of each training; of a transfer rate the pairs that count.
    - seeds: the number of trainings.
    """

    percent: float
    low: float
    high: float
    n: int
    seeds: int = 1


@dataclass(frozen=True)
class SweepRow:
    """The trials that differ only in the seed.

    - varying: the settings in which they differ from other rows.
    - rates: by what was measured, in words.
    """

    varying: Mapping[str, Any]
    trials: tuple[Trial, ...]
    rates: Mapping[str, Rate]

    @property
    def name(self) -> str:
        """The name of its trials without their seeds."""
        first = self.trials[0]
        return first.name.removesuffix(f"-seed-{first.seed}") if len(self.trials) > 1 else first.name


def sweep_rows(sweep: Sweep, folder: Path) -> list[SweepRow]:
    """The rows of a sweep, in the order of its trials. Measurements that are missing are left out."""
    groups: dict[str, list[Trial]] = {}
    for trial in sweep.trials:
        groups.setdefault(repr(sorted(trial.varying.items())), []).append(trial)
    rows = []
    for trials in groups.values():
        each = [_rates(folder, trial, sweep.measures) for trial in trials]
        labels = dict.fromkeys(label for rates in each for label in rates)
        rates = {label: mean_rate([one[label] for one in each if label in one]) for label in labels}
        rows.append(SweepRow(trials[0].varying, tuple(trials), rates))
    return rows


def mean_rate(rates: Sequence[Rate]) -> Rate:
    """The mean of the rates of trainings that differ in the seed, with its t interval; a single rate as it is."""
    if len(rates) == 1:
        return rates[0]
    percents = [one.percent for one in rates]
    low, high = t_interval(percents)
    return Rate(fmean(percents), max(0.0, low), min(100.0, high), min(one.n for one in rates), len(rates))


def _rates(folder: Path, trial: Trial, measures: Sequence[Measure]) -> dict[str, Rate]:
    """What was measured of a trial, by its label. Damaged files count as missing."""
    try:
        run = run_of(folder, trial)
    except RunError:
        return {}
    rates: dict[str, Rate] = {}
    for measure in measures if run else ():
        file = result_file(run, measure) if run else None
        result = (read_report(file, MAX_BYTES) if file else None) or {}
        rates |= _PARSE[measure.what](result)
    return rates


def _of_rates(result: Json) -> dict[str, Rate]:
    """The accuracies of `trs evaluate` and of Table 1."""
    return {_words(one): rate for one in _dicts(result.get("rates")) if (rate := _rate(one)) is not None}


def _of_transfer(result: Json) -> dict[str, Rate]:
    """The transfer over all pairs of different members."""
    pooled, interval = result.get("pooled"), result.get("pooled_interval")
    if not (isinstance(pooled, list) and isinstance(interval, list) and len(pooled) == len(interval) == 2):
        return {}
    one = {"correct": pooled[0], "n": pooled[1], "low": interval[0], "high": interval[1]}
    rate = _rate(one)
    return {} if rate is None else {_words({"name": "transfer", "eps": result.get("eps"), "c": result.get("c")}): rate}


def _of_blackbox(result: Json) -> dict[str, Rate]:
    """The accuracy after all attempts of each attack."""
    rates = {}
    for row in _dicts(result.get("rows")):
        robust = row.get("robust")
        rate = _rate(robust) if isinstance(robust, dict) else None
        if isinstance(robust, dict) and rate is not None:
            rates[_words({**robust, "name": f"black box {row.get('attack')}"})] = rate
    return rates


_PARSE = {"table1": _of_rates, "evaluate": _of_rates, "transfer": _of_transfer, "blackbox": _of_blackbox}


def _rate(one: Json) -> Rate | None:
    correct, n, low, high = (number(one.get(name)) for name in ("correct", "n", "low", "high"))
    if correct is None or n is None or low is None or high is None or not 0 <= correct <= n or not n:
        return None
    return Rate(100 * correct / n, 100 * low, 100 * high, int(n))


def _words(one: Json) -> str:
    eps, c = number(one.get("eps")), number(one.get("c"))
    name = str(one.get("name"))
    if eps is None and c is None:
        return name
    return Column(name, eps, c).words + (" (l2)" if one.get("norm") == "l2" else "")


def _dicts(values: object) -> list[Json]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []
