"""The columns of Table 1: which attacks are measured on a data set, at which eps or c. No torch."""

from collections.abc import Iterable
from dataclasses import dataclass

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.attack_catalogue import attack as attack_entry
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.table1 import paper

# Our choice: one start as in the paper, and as many images as `trs evaluate` takes.
STEPS, RESTARTS, SEED, LIMIT = 50, 1, 0, 1000
# The paper's eight attacks, and the strongest that there is here: without it the worst of them would flatter.
MEASURED_ATTACKS = (*paper.ATTACKS, "strong")
WORST = "worst"  # with it begins what results call the worst of several attacks
MIN_FOR_WORST = 3  # attacks of one radius, or the worst of them is not worth a column


@dataclass(frozen=True)
class Column:
    """An attack at one eps or constant c; also "clean" (eps 0), and the worst of the attacks of one eps.

    c is None where there is an eps.
    """

    attack: str
    eps: float | None
    c: float | None = None

    @property
    def at(self) -> str:
        """Its eps or c in words; empty for clean."""
        if self.eps is None:
            return f"c {self.c:g}"
        return f"ε {self.eps:g}" if self.eps else ""

    @property
    def value(self) -> float:
        """Its eps, or its c; one of them is a number."""
        return self.eps or self.c or 0.0

    @property
    def is_worst(self) -> bool:
        """Whether it is the worst of several attacks, image by image."""
        return self.attack.startswith(WORST)

    @property
    def words(self) -> str:
        """The attack and its eps or c."""
        return f"{self.attack} {self.at}".strip()


CLEAN = Column("clean", 0.0)


@dataclass(frozen=True)
class Figure:
    """The accuracy of an ensemble in one column.

    - outcomes: one character per image: 1 if it is classified correctly, else 0.
    - paper: the paper's figure in per cent, of its own models; None where it has none.
    """

    outcomes: str
    paper: float | None = None

    @property
    def n(self) -> int:
        """The number of images."""
        return len(self.outcomes)

    @property
    def correct(self) -> int:
        """The number of images that are classified correctly."""
        return self.outcomes.count("1")

    @property
    def percent(self) -> float:
        """The accuracy, in per cent of all n."""
        return 100 * self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of that share, in per cent."""
        low, high = wilson(self.correct, self.n)
        return 100 * low, 100 * high


def parameters(data: str, attack: str) -> tuple[float, ...]:
    """The eps or c of an attack on a data set: the paper's, else the eps of the training's probe, or the constant 1."""
    return paper.parameters(data, attack) or ((DATA[data].probe_eps if attack_entry(attack).has_radius else 1.0),)


def measured_columns(data: str) -> list[Column]:
    """Clean, and the attacks of the paper's table that suit a data set, in the paper's order; then strong."""
    columns = [CLEAN]
    for attack in MEASURED_ATTACKS:
        if ATTACKS[attack].classes <= DATA[data].classes:
            ball = ATTACKS[attack].has_radius
            columns += [Column(attack, value if ball else None, None if ball else value) for value in parameters(data, attack)]
    return columns


def worst_columns(columns: Iterable[Column]) -> dict[Column, list[Column]]:
    """A column for every eps of MIN_FOR_WORST attacks or more, with the columns of these attacks."""
    by_eps: dict[float, list[Column]] = {}
    for column in columns:
        if column.eps:
            by_eps.setdefault(column.eps, []).append(column)
    large = {eps: same for eps, same in sorted(by_eps.items()) if len(same) >= MIN_FOR_WORST}
    return {Column(f"worst of {len(same)}", eps): same for eps, same in large.items()}


def all_columns(data: str) -> list[Column]:
    """The columns of a data set's table: clean, the attacks, and the worst of the attacks of one eps."""
    columns = measured_columns(data)
    return [*columns, *worst_columns(columns)]
