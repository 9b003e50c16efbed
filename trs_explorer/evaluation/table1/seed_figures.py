"""The accuracy of several trainings that differ only in the seed, and the comparison of two methods over seeds. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from trs_explorer.evaluation.intervals import of_ratio
from trs_explorer.evaluation.seeds import ALPHA, PairedTest, paired_t_test, sign_test, t_interval
from trs_explorer.evaluation.table1.columns import Figure
from trs_explorer.files import Json

TESTS = "paired t test over seeds, and exact sign test over images"  # both must hold where an order is called


@dataclass(frozen=True)
class SeedFigure:
    """The accuracy in one column of several trainings that differ only in the seed.

    - by_seed: the figure of each training; all of the same images, in the same order.
    """

    by_seed: Mapping[int, Figure]

    @property
    def n(self) -> int:
        """The number of images, each classified by every training."""
        return next(iter(self.by_seed.values())).n

    @property
    def paper(self) -> float | None:
        """The paper's figure in per cent, of its own models; None where it has none."""
        return next(iter(self.by_seed.values())).paper

    @property
    def percents(self) -> list[float]:
        """The accuracy of each training, in per cent of all n images."""
        return [figure.percent for figure in self.by_seed.values()]

    @property
    def percent(self) -> float:
        """The mean over trainings."""
        return fmean(self.percents)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest accuracy of a training."""
        return min(self.percents), max(self.percents)

    @property
    def between(self) -> tuple[float, float] | None:
        """The 95 % t interval of the mean over trainings, n = seeds, cut to [0, 100]; None for one training."""
        if len(self.by_seed) < 2:
            return None
        low, high = t_interval(self.percents)
        return max(0.0, low), min(100.0, high)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean over images, for these trainings: Wilson's, an image counts once (`of_ratio`)."""
        outcomes = zip(*(figure.outcomes for figure in self.by_seed.values()), strict=True)
        low, high = of_ratio([(of_image.count("1"), len(of_image)) for of_image in outcomes])
        return 100 * low, 100 * high

    def to_json(self) -> Json:
        """The figure as JSON holds it: shares of the images, as the rates of single runs are."""
        between = self.between
        return {
            "seeds": list(self.by_seed),
            "n": self.n,
            "mean": self.percent / 100,
            "smallest": self.range[0] / 100,
            "largest": self.range[1] / 100,
            "t_low": None if between is None else between[0] / 100,
            "t_high": None if between is None else between[1] / 100,
            "low": self.interval[0] / 100,
            "high": self.interval[1] / 100,
            "paper": self.paper,
        }


LEGEND = (
    "Rows of several seeds: the mean over trainings; smallest..largest; t: 95 % t interval of the mean between trainings (n = "
    "seeds, same images); i: 95 % interval of the mean over images (of these trainings; an image counts once). Between two such "
    "rows * needs the tests named below; beside them no row of one seed is called best."
)
AnyFigure = Figure | SeedFigure  # of one run, or of several


@dataclass(frozen=True)
class SeedComparison:
    """Two methods in one column, trained with the same seeds and tested on the same images.

    - seeds: those that both have.
    - over_seeds: the paired t test of the accuracies in per cent; None for fewer than two seeds.
    - wins, losses: the images that the first method has right with more of the seeds than the second, and with fewer.
    """

    seeds: tuple[int, ...]
    over_seeds: PairedTest | None
    wins: int
    losses: int

    @property
    def p_images(self) -> float:
        """The two-sided p of the exact sign test over images, each counted once."""
        return sign_test(self.wins, self.losses)

    @property
    def called(self) -> int:
        """1: the first method is better. -1: the second. 0: not called.

        An order is called if it holds over both samples, in the same direction: over seeds by the paired t test, and over images
        by the exact sign test, p < .05 each, two-sided. The first alone would hold for these test images only, the second for
        these trainings only. No correction for the number of pairs.
        """
        test = self.over_seeds
        if test is None or test.p >= ALPHA or self.p_images >= ALPHA:
            return 0
        return (test.difference > 0 and self.wins > self.losses) - (test.difference < 0 and self.wins < self.losses)

    def to_json(self) -> Json:
        """The comparison as JSON holds it. Differences in percentage points; t is null where it is infinite."""
        test = self.over_seeds
        return {
            "seeds": list(self.seeds),
            "test": TESTS,
            "difference": test.difference if test else None,
            "difference_low": test.low if test else None,
            "difference_high": test.high if test else None,
            "t": test.t if test and abs(test.t) < float("inf") else None,
            "df": test.n - 1 if test else None,
            "p": test.p if test else None,
            "images_for_first": self.wins,
            "images_for_second": self.losses,
            "p_images": self.p_images,
            "called": self.called,
        }


def compare_over_seeds(first: AnyFigure, second: AnyFigure) -> SeedComparison:
    """Compare two methods over the seeds that both were trained with, on the same images.

    A figure of one run has no seeds in common with anything: nothing is called between single trainings.
    """
    if isinstance(first, Figure) or isinstance(second, Figure) or first.n != second.n:
        return SeedComparison((), None, 0, 0)
    seeds = tuple(sorted(first.by_seed.keys() & second.by_seed.keys()))
    a, b = ([figure.by_seed[seed] for seed in seeds] for figure in (first, second))
    test = paired_t_test([one.percent for one in a], [one.percent for one in b]) if len(seeds) > 1 else None
    right = [[image.count("1") for image in zip(*(one.outcomes for one in figures), strict=True)] for figures in (a, b)]
    pairs = list(zip(*right, strict=True))
    return SeedComparison(seeds, test, sum(x > y for x, y in pairs), sum(x < y for x, y in pairs))
