"""Runs side by side in the shape of the paper's Table 1: rows for whoever shows them, in a terminal or a browser. No torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trs_explorer.config import TrainConfig
from trs_explorer.evaluation import paper
from trs_explorer.evaluation.checks import MASKING
from trs_explorer.evaluation.table1 import CLEAN, RESTARTS, SEED, STEPS, Answer, Column, Figure, answer, columns, worst
from trs_explorer.files import Json, natural_order
from trs_explorer.results import measured_on, read_results, read_table
from trs_explorer.runs import Run

# The paper's columns, then a part of TRS and the control that it does not have. Other methods come after them.
ORDER = (*paper.METHODS, "smooth-only", "standard")


@dataclass(frozen=True)
class Row:
    """A run: its figures by column, in the table's order, and of the checks made whether they warned.

    label: the method; the run's name where two rows have one method. apart: what sets the training apart from the paper's.
    data_fingerprint: of the test images that the figures are of, or that the run knows; empty: unknown.
    """

    run: str
    label: str
    apart: list[str]
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
        """Those of them that say that attacks miss images: the figures flatter."""
        return [number for number in self.warned if number in MASKING]

    def worst_at(self, eps: float | None) -> Figure | None:
        """The figure under the worst of the attacks of one eps; None if there are too few, or some are missing."""
        same = (figure for column, figure in self.figures.items() if column.attack.startswith("worst") and column.eps == eps)
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
        about = {"run": self.run, "label": self.label, "method": self.config.method, "model": self.config.model}
        trust = {"checked": list(self.checks), "warned": self.warned, "masked": bool(self.masked)}
        return {
            **about,
            "apart": self.apart,
            "data": self.config.data,
            "data_fingerprint": self.data_fingerprint,
            "weights": self.weights,
            "seed": SEED,
            "rates": rates,
            **trust,
        }


def headings(data: str) -> list[Column]:
    """The columns of a data set's table: clean, the attacks, the worst of those of one eps."""
    asked = columns(data)
    return [*asked, *worst(asked)]


def row(run: str, config: TrainConfig, checkpoint: str, weights: str, answers: Sequence[Answer], limit: int) -> Row:
    """The row of a run from what is stored of it, the first answer first; a figure that none of them has is not in it.

    checkpoint: the name of the one whose weights these are. limit: how many images count, the first ones. The paper's figure
    stands beside one that was trained and measured as the paper did.
    """
    like, apart = paper.is_like(config, checkpoint, STEPS, RESTARTS), paper.unlike(config, checkpoint)
    figures = {}
    for column in columns(config.data):
        stored = next((one.rates[column] for one in answers if column in one.rates), None)
        if stored is not None:
            theirs = paper.figure(config.data, column.attack, column.value, config.method) if like else None
            figures[column] = Figure(stored["outcomes"][:limit], theirs)
    for column, group in worst(columns(config.data)).items():
        if all(one in figures for one in group):
            images = zip(*(figures[one].outcomes for one in group), strict=True)
            figures[column] = Figure("".join(min(outcomes) for outcomes in images))
    checks: dict[int, bool] = {}
    for one in answers:
        checks = {number: checks.get(number, False) or one.checks.get(number, False) for number in {*checks, *one.checks}}
    measured = measured_on(config, answers[0].result) if answers else config.data_fingerprint.get("test", "")
    return Row(run, config.method, apart, config, weights, figures, dict(sorted(checks.items())), measured)


def stored_answers(run: Run, weights: str, limit: int) -> list[Answer]:
    """What is stored of these weights of a run: its Table 1 alone if that is whole, else the newest evaluation first."""
    asked = {"weights": weights, "data": run.config.data, "limit": limit}
    table = answer(read_table(run), **asked)
    if table is not None and table.is_whole(run.config.data):
        return [table]
    others = [answer(result, **asked) for result in read_results(run, "evaluate")]
    known = [one for one in (table, *others) if one is not None]
    return [one for one in known if measured_on(run.config, one.result) == measured_on(run.config, known[0].result)]


def on_same_images(rows: Sequence[Row], data: str) -> list[list[Row]]:
    """A data set's rows, those together that are of the same test images: files of one name may hold others.

    Rows of which that is not known are with the first others.
    """
    groups: dict[str, list[Row]] = {one.data_fingerprint: [] for one in rows if one.config.data == data and one.data_fingerprint}
    for one in rows:
        if one.config.data == data:
            groups.setdefault(one.data_fingerprint or next(iter(groups), ""), []).append(one)
    return list(groups.values())


def arranged(rows: Sequence[Row]) -> list[Row]:
    """Rows of one data set in the table's order, each with a label of its own."""
    several = Counter(one.config.method for one in rows)
    named = [one if several[one.config.method] == 1 else replace(one, label=one.run) for one in rows]
    return sorted(named, key=lambda one: (_place(one.config.method), one.config.method, natural_order(one.run)))


def _place(method: str) -> int:
    return ORDER.index(method) if method in ORDER else len(ORDER)


def best(rows: Sequence[Row], column: Column) -> Row | None:
    """The row with the most right, if its interval overlaps with no other's; None without another to compare with.

    None too where that row is masked, but for clean images: what attacks leave of it may be what they miss.
    """
    known = sorted((one for one in rows if column in one.figures), key=lambda one: -one.figures[column].percent)
    if len(known) < 2:
        return None
    first, *others = known
    if first.masked and column != CLEAN:
        return None
    clear = all(first.figures[column].interval[0] > other.figures[column].interval[1] for other in others)
    return first if clear else None


def images(rows: Sequence[Row]) -> int:
    """How many images the figures are of; 0 without any figure."""
    return max((figure.n for one in rows for figure in one.figures.values()), default=0)
