"""What the bounds of an ensemble say, in sentences: why they are vacuous, where they contradict what was measured.

No torch.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from trs_explorer.evaluation.bounds.theorems import Quantities, lower_bound, upper_bound
from trs_explorer.evaluation.bounds.vacuous import Reason, why_lower, why_upper

ESTIMATES = (
    "All quantities but α, η and ξ are estimates from inside: a maximum over a sample is below the supremum of the theorem, a "
    "minimum above the infimum. The true lower bounds are lower, the true upper bounds higher."
)
KINKS = (
    "The members have layers with kinks (ReLU, max-pooling): their gradients jump, so that no finite β exists and neither "
    "theorem applies to them strictly. β is the largest secant between points that were compared; nearer points give a "
    "larger one."
)


def sentences(pairs: Sequence[tuple[str, Quantities]], *, reach: tuple[float, str], kinks: bool) -> list[str]:
    """Say what the bounds of all pairs and radii come to.

    - pairs: the names of surrogate and target, such as "F1 → F2", and their quantities at each radius.
    - reach: the largest radius up to which Theorem 2 says something for a pair, and the names of that pair.
    - kinks: whether the members have layers with kinks.
    """
    radius, names = reach
    far = [f"{names} is the pair for which Theorem 2 says something furthest: up to ε = {radius:.3g}."] if radius > 0 else []
    texts = [
        *_of_bound("Lower bound (Theorem 1)", "at least", pairs, lower_bound, why_lower, max),
        *_of_bound("Upper bound (Theorem 2)", "at most", pairs, upper_bound, why_upper, min),
        *far,
        *_contradictions(pairs),
        ESTIMATES,
    ]
    return [*texts, KINKS] if kinks else texts


def percent(bound: float) -> str:
    """A bound in per cent: with one decimal, or two significant digits where that would be 0.0."""
    return f"{100 * bound:.2g}" if 0 < bound < 0.001 else f"{100 * bound:.1f}"


def _of_bound(
    title: str,
    limit: str,
    pairs: Sequence[tuple[str, Quantities]],
    bound: Callable[[Quantities], float | None],
    why: Callable[[Quantities], Reason | None],
    best: Callable[..., Any],
) -> list[str]:
    """Say where one of the bounds says something, where it is vacuous, and because of what: a sentence for each quantity."""
    reasons = [(names, q, reason) for names, q in pairs if (reason := why(q)) is not None]
    saying = [(names, q, bound(q)) for names, q in pairs if why(q) is None]
    cases = f"{len(pairs)} cases (pairs and radii)"
    texts = [f"{title}: vacuous in all {cases}, it says nothing."]
    if saying:
        names, q, value = best(saying, key=lambda one: one[2])
        strongest = f"the strongest, {names} at ε {q.eps:g}: {limit} {percent(value)} %"
        texts = [f"{title}: says something in {len(saying)} of {cases}; {strongest}."]
    for quantity, count in Counter(reason.quantity for _, _, reason in reasons).most_common():
        names, q, reason = next(one for one in reasons if one[2].quantity == quantity)
        texts.append(f"Vacuous because of {quantity} in {count}, such as {names} at ε {q.eps:g}: {reason.text}.")
    return texts


def _contradictions(pairs: Sequence[tuple[str, Quantities]]) -> list[str]:
    """Say where a bound is on the wrong side of the measured rate."""
    texts = []
    for names, q in pairs:
        lower, upper, rate = lower_bound(q), upper_bound(q), q.rate
        if rate is None:
            continue
        wrong = [f"the lower bound, {percent(lower)} %, lies above"] if lower is not None and lower > rate else []
        wrong += [f"the upper bound, {percent(upper)} %, lies below"] if upper is not None and upper < rate else []
        texts += [
            f"{names} at ε {q.eps:g}: {one} the measured {100 * rate:.1f} %: the estimates of its quantities are too optimistic."
            for one in wrong
        ]
    return texts
