"""The rows of Table 1, one a run or a group of seeds, for a terminal or a browser to show. No torch."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trs_explorer.config import TrainConfig
from trs_explorer.evaluation.table1 import paper
from trs_explorer.evaluation.table1.columns import CLEAN, RESTARTS, SEED, STEPS, Column, Figure, measured_columns, worst_columns
from trs_explorer.evaluation.table1.seed_figures import AnyFigure, SeedFigure, compare_over_seeds
from trs_explorer.evaluation.table1.stored import StoredEvaluation
from trs_explorer.evaluation.trust.checks import MASKING
from trs_explorer.files import Json, natural_order
from trs_explorer.results import measured_on

# The order of the rows: the paper's methods, then a part of TRS and the control that it does not have, then other methods.
ORDER = (*paper.METHODS, "smooth-only", "standard")


@dataclass(frozen=True)
class Row:
    """A run in the table, or several that differ only in the seed (`groups.group_seeds`).

    - run: its name; of several runs, what their names have in common.
    - label: its method; the run's name where two rows have one method.
    - deviations: how its training deviates from the paper's, in words.
    - config: of its training; of several runs, that of the first seed.
    - weights: SHA-256 of the checkpoint that was measured; empty for several runs.
    - figures: by column, in the table's order. Missing figures are not in it.
    - checks: of the sanity checks that were run, by number, whether they warned.
    - data_fingerprint: of the test images of the figures, or those that the run knows; empty: unknown.
    - checkpoint: the name of the one that was measured.
    - members: the rows of several runs, by seed; empty for one run.
    """

    run: str
    label: str
    deviations: list[str]
    config: TrainConfig
    weights: str
    figures: Mapping[Column, AnyFigure]
    checks: dict[int, bool]
    data_fingerprint: str = ""
    checkpoint: str = ""
    members: "tuple[Row, ...]" = ()

    @property
    def runs(self) -> list[str]:
        """The names of its runs, by seed."""
        return [one.run for one in self.members] or [self.run]

    @property
    def seeds(self) -> list[int]:
        """The seeds of its trainings."""
        return [one.config.seed for one in self.members] or [self.config.seed]

    @property
    def warned(self) -> list[int]:
        """The numbers of the checks that warned."""
        return [number for number, warned in self.checks.items() if warned]

    @property
    def masked(self) -> list[int]:
        """The numbers of the warning checks that say that attacks miss images: the figures are too high."""
        return [number for number in self.warned if number in MASKING]

    def worst_at(self, eps: float | None) -> AnyFigure | None:
        """The figure under the worst of the attacks of one eps; None if there are too few, or some are missing."""
        same = (figure for column, figure in self.figures.items() if column.is_worst and column.eps == eps)
        return next(same, None)

    def to_json(self) -> Json:
        """The row of one run as JSON holds it: rates as those of `trs evaluate`, without the outcomes."""
        rates = [
            {
                **column_json(column),
                "correct": figure.correct,
                "n": figure.n,
                "low": figure.interval[0] / 100,
                "high": figure.interval[1] / 100,
                "paper": figure.paper,
            }
            for column, figure in self.figures.items()
            if isinstance(figure, Figure)
        ]
        return {
            "run": self.run,
            "label": self.label,
            "method": self.config.method_name,
            "model": self.config.model_name,
            "apart": self.deviations,
            "data": self.config.data,
            "data_fingerprint": self.data_fingerprint,
            "weights": self.weights,
            "seed": SEED,
            "training_seed": None if self.config.imported else self.config.seed,
            "rates": rates,
            "checked": list(self.checks),
            "warned": self.warned,
            "masked": bool(self.masked),
        }

    def group_json(self) -> Json:
        """The row of several runs as JSON holds it. A check warns if it does for one of them; their own are in their rows."""
        return {
            "group": self.run,
            "label": self.label,
            "method": self.config.method_name,
            "model": self.config.model_name,
            "apart": self.deviations,
            "data": self.config.data,
            "data_fingerprint": self.data_fingerprint,
            "runs": self.runs,
            "seeds": self.seeds,
            "rates": [
                column_json(column) | figure.to_json()
                for column, figure in self.figures.items()
                if isinstance(figure, SeedFigure)
            ],
            "warned": self.warned,
            "masked": bool(self.masked),
        }


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds in words, ascending: 0-2, or 0, 3, 7."""
    first, last = seeds[0], seeds[-1]
    return f"{first}-{last}" if len(seeds) > 2 and last - first == len(seeds) - 1 else ", ".join(map(str, seeds))


def column_json(column: Column) -> Json:
    """What JSON says of a column."""
    return {"name": column.attack, "eps": column.eps, "c": column.c}


def make_row(
    run: str, config: TrainConfig, checkpoint: str, weights: str, evaluations: Sequence[StoredEvaluation], limit: int
) -> Row:
    """The row of a run from its stored evaluations.

    - checkpoint: the name of the one whose weights these are.
    - evaluations: the first one that has a figure gives it.
    - limit: how many images count, the first ones.

    The paper's figure is added where the run was trained and measured as in the paper.
    """
    comparable = paper.is_comparable(config, checkpoint, STEPS, RESTARTS)
    figures: dict[Column, Figure] = {}
    for column in measured_columns(config.data):
        stored = next((one.rates[column] for one in evaluations if column in one.rates), None)
        if stored is not None:
            theirs = paper.figure(config.data, column.attack, column.value, config.method) if comparable else None
            figures[column] = Figure(stored["outcomes"][:limit], theirs)
    for column, same in worst_columns(measured_columns(config.data)).items():
        if all(one in figures for one in same):
            images = zip(*(figures[one].outcomes for one in same), strict=True)
            figures[column] = Figure("".join(min(outcomes) for outcomes in images))
    checks = any_warned(one.checks for one in evaluations)
    data_of = measured_on(config, evaluations[0].result) if evaluations else config.data_fingerprint.get("test", "")
    deviations = paper.deviations(config, checkpoint)
    label = run if config.imported else config.method_name
    return Row(run, label, deviations, config, weights, figures, checks, data_of, checkpoint)


def any_warned(every: Iterable[Mapping[int, bool]]) -> dict[int, bool]:
    """Of the sanity checks that were run in any of several measurements, by number, whether they warned in one of them."""
    merged: dict[int, bool] = {}
    for checks in every:
        merged |= {number: merged.get(number, False) or warned for number, warned in checks.items()}
    return dict(sorted(merged.items()))


def group_by_images(rows: Sequence[Row], data: str) -> list[list[Row]]:
    """A data set's rows in groups of the same test images: files of one name may hold others.

    Rows whose images are unknown are in the first group.
    """
    groups: dict[str, list[Row]] = {one.data_fingerprint: [] for one in rows if one.config.data == data and one.data_fingerprint}
    for one in rows:
        if one.config.data == data:
            groups.setdefault(one.data_fingerprint or next(iter(groups), ""), []).append(one)
    return list(groups.values())


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of one data set in the table's order, each with a label of its own."""
    count = Counter(one.config.method_name for one in rows)
    alone = [not one.config.imported and count[one.config.method_name] == 1 for one in rows]
    labels = [one.config.method_name if only else _name(one) for one, only in zip(rows, alone, strict=True)]
    often = Counter(labels)
    labels = [", ".join(one.runs) if often[label] > 1 else label for one, label in zip(rows, labels, strict=True)]
    labelled = [replace(one, label=label) for one, label in zip(rows, labels, strict=True)]
    return sorted(labelled, key=lambda one: (_place(one.config.method), one.config.method, natural_order(one.run)))


def _name(row: Row) -> str:
    return f"{row.run} ({len(row.members)} seeds)" if row.members else row.run


def _place(method: str) -> int:
    return ORDER.index(method) if method in ORDER else len(ORDER)


def best_row(rows: Sequence[Row], column: Column) -> Row | None:
    """The row with the highest accuracy in a column, if it is better than every other.

    Than a row of one run, if their intervals over images do not overlap. Where both have several seeds, if that order holds over
    seeds and images (`SeedComparison.called`). Where a row of several seeds is in the column, one of a single run is never the
    best: nothing is called between trainings with one seed.

    None if there is no other row to compare with. None too where that row has masked gradients, except for clean images: its
    accuracy under attack may only be what the attacks miss.
    """
    ranked = sorted((one for one in rows if column in one.figures), key=lambda one: -one.figures[column].percent)
    if len(ranked) < 2:
        return None
    first, *others = ranked
    if (first.masked and column != CLEAN) or (not first.members and any(other.members for other in others)):
        return None
    clear = all(is_better(first.figures[column], other.figures[column]) for other in others)
    return first if clear else None


def is_better(higher: AnyFigure, lower: AnyFigure) -> bool:
    """Whether a figure is better than one that is not higher.

    Of several seeds both: if that holds over seeds and images. Else: if their intervals over images do not overlap.
    """
    if isinstance(higher, SeedFigure) and isinstance(lower, SeedFigure):
        return compare_over_seeds(higher, lower).called == 1
    return higher.interval[0] > lower.interval[1]


def image_count(rows: Sequence[Row]) -> int:
    """The number of images of the figures; 0 without any figure."""
    return max((figure.n for one in rows for figure in one.figures.values()), default=0)
