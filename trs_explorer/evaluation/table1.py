"""What the paper's Table 1 asks of a run, and what stored evaluations answer. No torch: a table that is stored is there at once.

A stored evaluation is a file that anybody may have written: what is not as it should be counts as not there.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trs_explorer import __version__
from trs_explorer.catalogue import ATTACKS, DATA
from trs_explorer.evaluation import paper
from trs_explorer.evaluation.checks import CHECKS
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.files import Json

# Our choice: one start as the paper has it, as many images as `trs evaluate` takes.
STEPS, RESTARTS, SEED, LIMIT = 50, 1, 0, 1000
# Besides the paper's eight attacks one that sees through masked gradients, or the worst of them would flatter.
ASKED = (*paper.ATTACKS, "mora")
# What table1.json keeps of an evaluation and of a rate: the rest follows from it.
KEPT = ("run", "checkpoint", "weights", "data", "data_fingerprint", "seed", "device", "versions", "kind", "options", "trust")
KEPT_OF_A_RATE = ("name", "eps", "c", "correct", "n", "low", "high", "norm", "perturbation", "moved", "outcomes")
WORST_OF = 3  # attacks of one radius, or the worst of them is not worth a column


@dataclass(frozen=True)
class Column:
    """An attack at one eps or constant c, nothing ("clean", eps 0), or the worst of the attacks of one eps.

    c is None where there is an eps.
    """

    attack: str
    eps: float | None
    c: float | None = None

    @property
    def at(self) -> str:
        """Its eps or c in words; nothing for clean."""
        if self.eps is None:
            return f"c {self.c:g}"
        return f"eps {self.eps:g}" if self.eps else ""

    @property
    def value(self) -> float:
        """Its eps, or its c; one of them is a number."""
        return self.eps or self.c or 0.0

    @property
    def words(self) -> str:
        """The attack and its eps or c."""
        return f"{self.attack} {self.at}".strip()


CLEAN = Column("clean", 0.0)


@dataclass(frozen=True)
class Figure:
    """What an ensemble has right: outcomes, a 1 or 0 an image; and the paper's figure in per cent, of its own models."""

    outcomes: str
    paper: float | None = None

    @property
    def n(self) -> int:
        """How many images."""
        return len(self.outcomes)

    @property
    def correct(self) -> int:
        """How many of them are right."""
        return self.outcomes.count("1")

    @property
    def percent(self) -> float:
        """The share that is right, in per cent of all n."""
        return 100 * self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of that share, in per cent."""
        low, high = wilson(self.correct, self.n)
        return 100 * low, 100 * high


@dataclass(frozen=True)
class Answer:
    """What one stored evaluation says: its rates as they are stored, and of the checks made whether they warned."""

    rates: dict[Column, Json]
    checks: dict[int, bool]
    result: Json

    def is_whole(self, data: str) -> bool:
        """Whether every column of a data set's table is there."""
        return all(column in self.rates for column in columns(data))


def parameters(data: str, attack: str) -> tuple[float, ...]:
    """The eps or c of an attack on a data set: the paper's, else the eps of the training's probe, or the constant 1."""
    return paper.parameters(data, attack) or ((DATA[data].probe_eps if ATTACKS[attack].ball else 1.0),)


def columns(data: str) -> list[Column]:
    """Clean, and the attacks of the paper's table that suit a data set, in the paper's order; then MORA."""
    found = [CLEAN]
    for attack in ASKED:
        if ATTACKS[attack].classes <= DATA[data].classes:
            ball = ATTACKS[attack].ball
            found += [Column(attack, value if ball else None, None if ball else value) for value in parameters(data, attack)]
    return found


def worst(asked: Iterable[Column]) -> dict[Column, list[Column]]:
    """A column for every eps that three attacks or more have, with theirs."""
    same: dict[float, list[Column]] = {}
    for column in asked:
        if column.eps:
            same.setdefault(column.eps, []).append(column)
    large = {eps: group for eps, group in sorted(same.items()) if len(group) >= WORST_OF}
    return {Column(f"worst of {len(group)}", eps): group for eps, group in large.items()}


def answer(result: Json, *, weights: str, data: str, limit: int) -> Answer | None:
    """What a stored evaluation says of these weights, asked as the table asks; None if it is of others, or was asked otherwise.

    Rates of more than `limit` images are in it with all their outcomes, those of too few are not.
    """
    options, versions = (result.get(name) for name in ("options", "versions"))
    if not isinstance(options, Mapping) or not isinstance(versions, Mapping):
        return None
    asked = [result.get("kind"), result.get("weights"), result.get("seed"), options.get("steps"), options.get("restarts")]
    if "norm" in options or "confidence" in options:  # which are there only if they are not the usual ones
        return None
    if asked != ["evaluate", weights, SEED, STEPS, RESTARTS] or versions.get("trs_explorer") != __version__:
        return None
    named = re.fullmatch(rf"{re.escape(data)}, first ([0-9]{{1,9}}) test images", str(result.get("data")))
    if named is None:
        return None
    n, most = int(named[1]), options.get("limit")
    if n < limit and not (isinstance(most, int) and n < most):  # fewer than asked, and not all there are
        return None
    rates = {}
    for rate in _mappings(result.get("rates")):
        column, outcomes = _column(rate), _outcomes(rate.get("outcomes"))
        if column is not None and n and len(outcomes) == rate.get("n") == n and outcomes.count("1") == rate.get("correct"):
            rates[column] = {**rate, "outcomes": outcomes}
    return Answer(rates, _checks(result.get("trust")), result)


def compact(whole: Answer, data: str) -> Json:
    """An evaluation as table1.json holds it: the table's rates alone, with their outcomes as a text of 0 and 1."""
    rates = [_only(KEPT_OF_A_RATE, whole.rates[column]) for column in columns(data)]
    return {**_only(KEPT, whole.result), "rates": rates}


def _only(names: Iterable[str], values: Json) -> Json:
    return {name: values[name] for name in names if name in values}


def _mappings(values: object) -> list[Mapping]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def _column(rate: Mapping) -> Column | None:
    """The column of a stored rate, whose name says the steps too."""
    name, eps, c = (rate.get(key) for key in ("name", "eps", "c"))
    if not isinstance(name, str) or not _is_number(c if eps is None else eps) or (eps is not None and c is not None):
        return None
    return Column(name.removesuffix(f"-{STEPS}"), None if eps is None else float(eps), None if c is None else float(c))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # which NaN is not


def _outcomes(stored: object) -> str:
    """One letter an image, from a text or a list; nothing if it is damaged."""
    if isinstance(stored, str):
        return stored if set(stored) <= set("01") else ""
    if isinstance(stored, list) and {type(one) for one in stored} <= {bool}:
        return "".join("01"[one] for one in stored)
    return ""


def _checks(stored: object) -> dict[int, bool]:
    found = {}
    for check in _mappings(stored):
        number, warnings = check.get("check"), check.get("warnings")
        if type(number) is int and number in CHECKS and isinstance(warnings, list):
            found[number] = bool(warnings)
    return dict(sorted(found.items()))
