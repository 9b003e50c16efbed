"""Why a bound on transfer says nothing, in words: the quantity that takes most. No torch."""

import math
from dataclasses import dataclass

from trs_explorer.evaluation.bounds.theorems import Quantities, lower_bound, lower_losses, upper_bound, upper_losses


@dataclass(frozen=True)
class Reason:
    """Why a bound is vacuous. quantity: the symbol of the one that makes it so. text: a sentence without its end."""

    quantity: str
    text: str


def why_upper(q: Quantities) -> Reason | None:
    """Why Theorem 2's upper bound says nothing, that is less than "at most 100 %"; None if it says something."""
    bound = upper_bound(q)
    if bound is not None and bound < 1:
        return None
    losses, risk = upper_losses(q), q.loss_f + q.loss_g
    if not all(map(math.isfinite, (*losses.values(), risk, q.least))):
        return _not_finite("B" if math.isfinite(q.beta) else "β")
    spare = q.least - risk
    if spare <= 0:
        return Reason("ℓ_min", f"ℓ_min = {_number(q.least)} is not above ξ_F + ξ_G = {_number(risk)}: it says nothing at any ε")
    terms = {
        "B": ("ε B", losses["B"]),
        "S̄": ("ε B √((1 + S̄) / 2)", losses["S"]),
        "β": ("β ε²", losses["beta"]),
    }
    return _largest(terms, spare, f"ℓ_min − ξ_F − ξ_G = {_number(spare)}")


def why_lower(q: Quantities) -> Reason | None:
    """Why Theorem 1's lower bound says nothing, that is no more than "at least 0 %"; None if it says something."""
    bound = lower_bound(q)
    if bound is not None and bound > 0:
        return None
    if not q.eps + q.c_g > 0:
        bend = q.beta * q.eps**2 / 2
        if not math.isfinite(q.c_g) or not q.shortest_g > 0:
            return _not_finite("c_G")
        rise = q.c_g * q.shortest_g + bend
        at = f"at one image a change of G's loss, {_number(rise)}, less β ε² / 2 = {_number(bend)}"
        text = f"c_G = {_number(q.c_g)} is not above −ε: {at}, is divided by the gradient's norm, {_number(q.shortest_g)}"
        return Reason("β" if rise / q.shortest_g > -q.eps else "c_G", text)
    losses = lower_losses(q)
    if not all(map(math.isfinite, losses.values())):
        return _not_finite("c_F" if math.isfinite(losses["S"]) else "S̲")
    terms = {
        "α": ("α, the share of images on which the attack does not fool F,", losses["alpha"]),
        "η": ("η_F + η_G", losses["eta"]),
        "c_F": ("(ε (1 + α) + c_F (1 − α)) / (ε + c_G)", losses["c"]),
        "S̲": ("ε (1 − α) √(2 − 2 S̲) / (ε + c_G)", losses["S"]),
    }
    return _largest(terms, 1.0, "1")


def _largest(terms: dict[str, tuple[str, float]], limit: float, limit_text: str) -> Reason:
    """Name the largest of terms that together reach a limit."""
    quantity = max(terms, key=lambda name: terms[name][1])
    words, value = terms[quantity]
    if value >= limit:
        return Reason(quantity, f"{words} = {_number(value)} alone reaches {limit_text}")
    total = _number(sum(value for _, value in terms.values()))
    return Reason(quantity, f"{words} = {_number(value)} is the largest part of {total}, which reaches {limit_text}")


def _not_finite(quantity: str) -> Reason:
    return Reason(quantity, f"{quantity} is not finite: a gradient vanishes entirely, or an output is not a number")


def _number(value: float) -> str:
    """Two or three significant digits, with a minus sign."""
    return f"{value:.3g}".replace("-", "−").replace("e−0", "e−").replace("e+0", "e")
