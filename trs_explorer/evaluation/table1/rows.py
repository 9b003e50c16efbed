"""The rows of Table 1, one a run, for a terminal or a browser to show. No torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trs_explorer.config import TrainConfig
from trs_explorer.evaluation.table1 import paper
from trs_explorer.evaluation.table1.columns import CLEAN, RESTARTS, SEED, STEPS, Column, Figure, measured_columns, worst_columns
from trs_explorer.evaluation.table1.stored import StoredEvaluation
from trs_explorer.evaluation.trust.checks import MASKING
from trs_explorer.files import Json, natural_order
from trs_explorer.results import measured_on

# The order of the rows: the paper's methods, then a part of TRS and the control that it does not have, then other methods.
ORDER = (*paper.METHODS, "smooth-only", "standard")


@dataclass(frozen=True)
class Row:
    """A run in the table.

    - run: its name.
    - label: its method; the run's name where two rows have one method.
    - deviations: how its training deviates from the paper's, in words.
    - config: of its training.
    - weights: SHA-256 of the checkpoint that was measured.
    - figures: by column, in the table's order. Missing figures are not in it.
    - checks: of the sanity checks that were run, by number, whether they warned.
    - data_fingerprint: of the test images of the figures, or those that the run knows; empty: unknown.
    """

    run: str
    label: str
    deviations: list[str]
    config: TrainConfig
    weights: str
    figures: dict[Column, Figure]
    checks: dict[int, bool]
    data_fingerprint: str = ""

    @property
    def warned(self) -> list[int]:
        """The numbers of the checks that warned."""
        return [number for number, warned in self.checks.items() if warned]

    @property
    def masked(self) -> list[int]:
        """The numbers of the warning checks that say that attacks miss images: the figures are too high."""
        return [number for number in self.warned if number in MASKING]

    def worst_at(self, eps: float | None) -> Figure | None:
        """The figure under the worst of the attacks of one eps; None if there are too few, or some are missing."""
        same = (figure for column, figure in self.figures.items() if column.is_worst and column.eps == eps)
        return next(same, None)

    def to_json(self) -> Json:
        """The row as JSON holds it: rates as those of `trs evaluate`, without the outcomes."""
        rates = [
            {
                "name": column.attack,
                "eps": column.eps,
                "c": column.c,
                "correct": figure.correct,
                "n": figure.n,
                "low": figure.interval[0] / 100,
                "high": figure.interval[1] / 100,
                "paper": figure.paper,
            }
            for column, figure in self.figures.items()
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
            "rates": rates,
            "checked": list(self.checks),
            "warned": self.warned,
            "masked": bool(self.masked),
        }


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
    figures = {}
    for column in measured_columns(config.data):
        stored = next((one.rates[column] for one in evaluations if column in one.rates), None)
        if stored is not None:
            theirs = paper.figure(config.data, column.attack, column.value, config.method) if comparable else None
            figures[column] = Figure(stored["outcomes"][:limit], theirs)
    for column, same in worst_columns(measured_columns(config.data)).items():
        if all(one in figures for one in same):
            images = zip(*(figures[one].outcomes for one in same), strict=True)
            figures[column] = Figure("".join(min(outcomes) for outcomes in images))
    checks: dict[int, bool] = {}
    for one in evaluations:
        checks = {number: checks.get(number, False) or one.checks.get(number, False) for number in {*checks, *one.checks}}
    data_of = measured_on(config, evaluations[0].result) if evaluations else config.data_fingerprint.get("test", "")
    deviations = paper.deviations(config, checkpoint)
    label = run if config.imported else config.method_name
    return Row(run, label, deviations, config, weights, figures, dict(sorted(checks.items())), data_of)


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
    alone = [one.config.imported or count[one.config.method_name] == 1 for one in rows]
    labelled = [one if is_alone else replace(one, label=one.run) for one, is_alone in zip(rows, alone, strict=True)]
    return sorted(labelled, key=lambda one: (_place(one.config.method), one.config.method, natural_order(one.run)))


def _place(method: str) -> int:
    return ORDER.index(method) if method in ORDER else len(ORDER)


def best_row(rows: Sequence[Row], column: Column) -> Row | None:
    """The row with the highest accuracy in a column, if its interval overlaps with no other's.

    None if there is no other row to compare with. None too where that row has masked gradients, except for clean images: its
    accuracy under attack may only be what the attacks miss.
    """
    ranked = sorted((one for one in rows if column in one.figures), key=lambda one: -one.figures[column].percent)
    if len(ranked) < 2:
        return None
    first, *others = ranked
    if first.masked and column != CLEAN:
        return None
    clear = all(first.figures[column].interval[0] > other.figures[column].interval[1] for other in others)
    return first if clear else None


def image_count(rows: Sequence[Row]) -> int:
    """The number of images of the figures; 0 without any figure."""
    return max((figure.n for one in rows for figure in one.figures.values()), default=0)
