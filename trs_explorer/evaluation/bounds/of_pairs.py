"""The bounds of every ordered pair of an ensemble's members, over radii, made of what was measured of the images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from trs_explorer.evaluation.bounds.per_image import PerImage
from trs_explorer.evaluation.bounds.theorems import Quantities, lower_bound, promised_radius, upper_bound
from trs_explorer.evaluation.bounds.vacuous import why_lower, why_upper
from trs_explorer.evaluation.bounds.words import percent, sentences
from trs_explorer.evaluation.intervals import of_ratio, wilson
from trs_explorer.files import Json


@dataclass(frozen=True)
class PairBounds:
    """The bounds on the transfer from one member to another, within one radius.

    - surrogate, target: the members F and G, from 0.
    - quantities: the theorems' quantities, with the radius and the measured transfer.
    - outcomes: a letter for each image: 1 for T_r = 1 (both classify it correctly, the attack on F fools both), 0 if it fools
      F only, - for all others. Pr(T_r = 1) is the share of 1 among all letters; a transfer matrix's rate, among 1 and 0.
    """

    surrogate: int
    target: int
    quantities: Quantities
    outcomes: str = field(repr=False)

    @property
    def names(self) -> str:
        """Surrogate and target in words: "F1 → F2"."""
        return f"F{self.surrogate + 1} → F{self.target + 1}"

    @property
    def lower(self) -> float | None:
        """Theorem 1's lower bound; None where the theorem does not apply."""
        return lower_bound(self.quantities)

    @property
    def upper(self) -> float | None:
        """Theorem 2's upper bound; None where the theorem does not apply."""
        return upper_bound(self.quantities)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of Pr(T_r = 1) = transferred / n."""
        return wilson(self.quantities.transferred, self.quantities.n)

    @property
    def eligible(self) -> int:
        """How many images both classify correctly and the attack fools F on: the denominator of a transfer matrix."""
        return len(self.outcomes) - self.outcomes.count("-")

    def to_json(self) -> Json:
        """All values for JSON; null for a number that is not finite and for a bound whose theorem does not apply."""
        q, lower, upper = self.quantities, why_lower(self.quantities), why_upper(self.quantities)
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in asdict(q).items()
        }
        return {
            "surrogate": self.surrogate,
            "target": self.target,
            **values,
            "rate": q.rate,
            "interval": list(self.interval),
            "eligible": self.eligible,
            "lower_bound": self.lower,
            "upper_bound": self.upper,
            "lower_vacuous": None if lower is None else {"quantity": lower.quantity, "why": lower.text},
            "upper_vacuous": None if upper is None else {"quantity": upper.quantity, "why": upper.text},
            "promised_radius": min(promised_radius(q), q.eps),
            "outcomes": self.outcomes,
        }


@dataclass(frozen=True)
class Bounds:
    """The bounds of every ordered pair of members at every radius.

    - n: number of images.
    - eps: the L2 radii, ascending.
    - members: number of members.
    - targeted: whether the attack was.
    - classes: how many classes' gradients were taken of each image, and how many there are.
    - points: at how many points around each image the gradients were taken, by radius (x itself counts).
    - kinks: whether members have layers with kinks, such as ReLUs; functions in their `forward` are not seen.
    - pairs: by radius, then surrogate, then target.
    """

    n: int
    eps: tuple[float, ...]
    members: int
    targeted: bool
    classes: tuple[int, int]
    points: tuple[int, ...]
    kinks: bool
    pairs: tuple[PairBounds, ...] = field(repr=False)

    def at(self, eps: float) -> list[PairBounds]:
        """All pairs at a radius."""
        return [pair for pair in self.pairs if pair.quantities.eps == eps]

    def pooled(self, eps: float) -> tuple[int, int]:
        """At a radius, images with T_r = 1 and images tried, summed over all pairs: the mean of Pr(T_r = 1) over the pairs."""
        pairs = self.at(eps)
        return sum(pair.quantities.transferred for pair in pairs), self.n * len(pairs)

    def pooled_interval(self, eps: float) -> tuple[float, float]:
        """The 95 % interval of `pooled`, in which an image counts once, in however many pairs it is."""
        images = zip(*(pair.outcomes for pair in self.at(eps)), strict=True)
        return of_ratio([(letters.count("1"), len(letters)) for letters in images])

    def upper_reach(self, surrogate: int, target: int) -> float:
        """The radius up to which Theorem 2 bounds a pair's transfer by less than 100 %; the largest of `eps` if all of it.

        Within each radius it is that of its own quantities, as the estimates of a smaller ball are smaller.
        """
        pairs = [pair.quantities for pair in self.pairs if (pair.surrogate, pair.target) == (surrogate, target)]
        return max(min(promised_radius(q), q.eps) for q in pairs)

    def reach(self) -> tuple[float, str]:
        """The largest `upper_reach` of all pairs, and the names of that pair."""
        return max((self.upper_reach(pair.surrogate, pair.target), pair.names) for pair in self.at(self.eps[0]))

    def sentences(self) -> list[str]:
        """What the bounds come to, in words."""
        pairs = [(pair.names, pair.quantities) for pair in self.pairs]
        return sentences(pairs, reach=self.reach(), kinks=self.kinks)

    def __str__(self) -> str:
        """As a table: for each radius and pair the lower bound, the measured Pr(T_r = 1) and the upper bound, in %."""
        lines = [f"{'eps':>8}  {'pair':<10}{'lower bound':>12}{'measured':>10}{'upper bound':>12}"]
        for pair in self.pairs:
            q, lower, upper = pair.quantities, pair.lower, pair.upper
            below = "vacuous" if why_lower(q) or lower is None else percent(lower)
            above = "vacuous" if why_upper(q) or upper is None else percent(upper)
            lines.append(f"{q.eps:>8g}  {pair.names:<10}{below:>12}{100 * q.transferred / q.n:>10.1f}{above:>12}")
        return "\n".join(lines)

    def to_json(self) -> Json:
        """All values, for JSON."""
        return {
            "n": self.n,
            "eps": list(self.eps),
            "members": self.members,
            "targeted": self.targeted,
            "classes": list(self.classes),
            "points": list(self.points),
            "kinks": self.kinks,
            "reach": list(self.reach()),
            "pooled": [
                {"eps": eps, "transferred": hits, "of": tried, "rate": hits / tried, "interval": list(self.pooled_interval(eps))}
                for eps, (hits, tried) in zip(self.eps, map(self.pooled, self.eps), strict=True)
            ],
            "pairs": [pair.to_json() for pair in self.pairs],
            "sentences": self.sentences(),
        }


def bounds_of(
    measured: PerImage,
    *,
    eps: Sequence[float],
    targeted: bool,
    samples: int,
    classes: int,
    of_classes: int,
    kinks: bool,
) -> Bounds:
    """Make the bounds of what was measured of the images. of_classes: how many classes there are. kinks: see `has_kinks`."""
    members = range(measured.loss.shape[1])
    pairs = [
        PairBounds(i, j, pair_quantities(measured, k, radius, i, j), _outcomes(measured, k, i, j))
        for k, radius in enumerate(eps)
        for i in members
        for j in members
        if i != j
    ]
    points = tuple(1 + (k + 1) * (len(members) + samples) for k in range(len(eps)))
    taken = (min(classes, of_classes), of_classes)
    return Bounds(len(measured), tuple(eps), len(members), targeted, taken, points, kinks, tuple(pairs))


def pair_quantities(measured: PerImage, k: int, eps: float, surrogate: int, target: int) -> Quantities:
    """The quantities of one pair at radius k, which is eps: the extremes and means over the images.

    Raises: ValueError if there are none.
    """
    if not len(measured):
        raise ValueError("the quantities of no images: give one at least")
    f, g = surrogate, target
    both, right, fooled = [f, g], measured.right, measured.fooled[:, k, surrogate]
    beta = float(measured.beta[:, k, both].max())
    bend = beta * eps**2 / 2
    c_f = ((measured.rise[:, k, surrogate, f] + bend) / measured.slope[:, f]).nan_to_num(math.inf, math.inf, -math.inf)
    c_g = ((measured.rise[:, k, surrogate, g] - bend) / measured.slope[:, g]).nan_to_num(-math.inf, math.inf, -math.inf)
    risks, losses = 1 - right.double().mean(0), measured.loss.mean(0)
    lowest, highest = measured.lowest[:, k, f, g], measured.highest[:, k, f, g]
    return Quantities(
        n=len(measured),
        eps=eps,
        beta=beta,
        lowest=_extreme(lowest, torch.min),
        highest=_extreme(highest, torch.max),
        steepest=float(measured.steepest[:, k, both].max()),
        least=float(measured.least[:, both].min()),
        risk_f=float(risks[f]),
        risk_g=float(risks[g]),
        loss_f=float(losses[f]),
        loss_g=float(losses[g]),
        alpha=1 - float(fooled[:, f].double().mean()),
        c_f=float(c_f.max()),
        c_g=float(c_g.min()),
        transferred=int((right[:, both].all(1) & fooled[:, both].all(1)).sum()),
        shortest_f=float(measured.slope[c_f.argmax(), f]),
        shortest_g=float(measured.slope[c_g.argmin(), g]),
    )


def _extreme(cosines: Tensor, of: Callable[[Tensor], Tensor]) -> float:
    defined = cosines[cosines.isfinite()]
    return float(of(defined)) if len(defined) else math.nan


def _outcomes(measured: PerImage, k: int, surrogate: int, target: int) -> str:
    both = [surrogate, target]
    eligible = measured.right[:, both].all(1) & measured.fooled[:, k, surrogate, surrogate]
    letters = eligible.int() + (eligible & measured.fooled[:, k, surrogate, target]).int()
    return "".join("-01"[letter] for letter in letters.tolist())
