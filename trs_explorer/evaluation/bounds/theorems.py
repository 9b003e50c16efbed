"""The bounds of the paper's Theorems 1 and 2 on the transfer from a model F to a model G, as formulas. No torch.

Infima and suprema over all inputs are estimated over a sample: too low for a supremum, too high for an infimum. So the bounds
are estimates of those of the theorems, from the optimistic side. They certify nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Quantities:
    """The quantities in the theorems, for an attack on a surrogate F and a target G. Lengths are in [0, 1] pixels.

    - n: number of images.
    - eps: the attack's L2 radius.
    - beta: the largest secant |grad l(x, c) - grad l(x', c)| / |x - x'| of either model (Def. 5).
    - lowest, highest: the smallest and the largest cosine of the two models' gradients (Def. 4).
    - steepest: B, the largest gradient norm of either model.
    - least: l_min, the smallest loss of a class that the attack may lead to.
    - risk_f, risk_g: shares of wrong answers (Def. 3).
    - loss_f, loss_g: mean cross-entropies (Def. 3).
    - alpha: the share of images on which the attack fails on F (Def. 2).
    - c_f, c_g: as in Theorem 1, with its sign.
    - transferred: number of images with T_r = 1 (Def. 6).
    - shortest_f, shortest_g: the gradient norms by which c_f and c_g are divided, at the images that determine these.

    Estimated from below are beta, highest, steepest and c_f (maxima), from above lowest, least and c_g (minima). The others are
    means over the n images.
    """

    n: int
    eps: float
    beta: float
    lowest: float
    highest: float
    steepest: float
    least: float
    risk_f: float
    risk_g: float
    loss_f: float
    loss_g: float
    alpha: float
    c_f: float
    c_g: float
    transferred: int
    shortest_f: float = math.nan
    shortest_g: float = math.nan

    @property
    def rate(self) -> float | None:
        """Pr(T_r = 1), which the theorems bound: transferred / n, of ALL images; None without images.

        The transfer rate of a transfer matrix has another denominator: the images that both models classify correctly and that
        fool the surrogate.
        """
        return self.transferred / self.n if self.n else None


QUANTITIES = tuple(field.name for field in fields(Quantities))


def quantities_of(pair: Mapping[str, Any]) -> Quantities:
    """The quantities in a stored pair of `of_pairs.PairBounds.to_json`: NaN for a number that was not finite."""
    values: dict[str, Any] = {name: math.nan if pair[name] is None else pair[name] for name in QUANTITIES}
    return Quantities(**values)


def lower_bound(q: Quantities) -> float | None:
    """Theorem 1's lower bound on Pr(T_r = 1); up to 0 it says nothing. None unless eps + c_G > 0.

    If F and G are the same model, it is never above 0: c_F is a maximum and c_G a minimum of the same values.
    Source: Theorem 1; that it needs eps + c_G > 0 is the Markov inequality of its proof.
    """
    if not q.eps + q.c_g > 0:
        return None
    bound = 1 - sum(lower_losses(q).values())
    return bound if math.isfinite(bound) else None


def lower_losses(q: Quantities) -> dict[str, float]:
    """What Theorem 1 takes from 1, by what it stands for; eps + c_G must be above 0.

    alpha: the attack's failures. eta: both risks. c: c_F against c_G. S: the angle between the gradients.
    """
    denominator, success = q.eps + q.c_g, 1 - q.alpha
    distance = math.sqrt(max(0.0, 2 - 2 * q.lowest))
    return {
        "alpha": q.alpha,
        "eta": q.risk_f + q.risk_g,
        "c": (q.eps * (1 + q.alpha) + q.c_f * success) / denominator,
        "S": q.eps * success / denominator * distance,
    }


def upper_bound(q: Quantities, eps: float | None = None) -> float | None:
    """Theorem 2's upper bound on Pr(T_r = 1); from 1 on it says nothing. None if eps is too large for the theorem.

    eps: a radius smaller than the one of the quantities; default: theirs.
    Source: Theorem 2.
    """
    margin = q.least - sum(upper_losses(q, eps).values())
    return (q.loss_f + q.loss_g) / margin if margin > 0 else None


def upper_losses(q: Quantities, eps: float | None = None) -> dict[str, float]:
    """What Theorem 2 takes from l_min, by the quantity that it grows with: B, S (and B), beta. eps: as for `upper_bound`."""
    eps = q.eps if eps is None else eps
    return {
        "B": eps * q.steepest,
        "S": eps * q.steepest * math.sqrt(max(0.0, 1 + q.highest) / 2),
        "beta": q.beta * eps**2,
    }


def promised_radius(q: Quantities, share: float = 1.0) -> float:
    """The largest L2 radius up to which Theorem 2 bounds Pr(T_r = 1) by `share`; 0 if there is none.

    The root of l_min - eps B (1 + sqrt((1 + S) / 2)) - beta eps^2 = (xi_F + xi_G) / share. The quantities are those of their eps:
    beyond that they may be larger, and the radius smaller.
    """
    spare = q.least - (q.loss_f + q.loss_g) / share
    if not spare > 0:
        return 0.0
    slope = q.steepest * (1 + math.sqrt(max(0.0, 1 + q.highest) / 2))
    root = math.sqrt(slope**2 + 4 * q.beta * spare)
    return 2 * spare / (slope + root) if slope + root else math.inf
