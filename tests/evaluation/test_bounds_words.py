"""Why a bound says nothing: the quantity that is named is the one whose change would let it say something."""

from dataclasses import replace

import pytest

from trs_explorer.evaluation.bounds.theorems import Quantities, lower_bound, lower_losses, upper_bound, upper_losses
from trs_explorer.evaluation.bounds.vacuous import why_lower, why_upper
from trs_explorer.evaluation.bounds.words import ESTIMATES, KINKS, sentences

GOOD = Quantities(
    n=100, eps=0.5, beta=0.1, lowest=0.99, highest=0.2, steepest=0.5, least=3.0, risk_f=0.02, risk_g=0.03, loss_f=0.1,
    loss_g=0.2, alpha=0.05, c_f=-0.49, c_g=0.5, transferred=10, shortest_f=1.0, shortest_g=1.0,
)  # fmt: skip


def test_bounds_that_say_something_have_no_reason() -> None:
    assert (why_lower(GOOD), why_upper(GOOD)) == (None, None)
    assert 0 < lower_bound(GOOD) < 1
    assert 0 < upper_bound(GOOD) < 1


@pytest.mark.parametrize(
    ("change", "better", "quantity", "words"),
    [
        ({"least": 0.2}, {"least": 3.0}, "ℓ_min", "ℓ_min = 0.2 is not above ξ_F + ξ_G = 0.3: it says nothing at any ε"),
        ({"beta": 20.0}, {"beta": 0.1}, "β", "β ε² = 5 alone reaches ℓ_min − ξ_F − ξ_G = 2.7"),
        ({"steepest": 6.0}, {"steepest": 0.5}, "B", "ε B = 3 alone reaches ℓ_min − ξ_F − ξ_G = 2.7"),
        ({"steepest": 4.0}, {"steepest": 0.5}, "B", "ε B = 2 is the largest part of 3.57, which reaches"),
        ({"beta": float("nan")}, {"beta": 0.1}, "β", "β is not finite"),
    ],
)
def test_the_quantity_that_makes_the_upper_bound_vacuous(change: dict, better: dict, quantity: str, words: str) -> None:
    q = replace(GOOD, **change)
    reason = why_upper(q)
    assert upper_bound(q) is None or upper_bound(q) >= 1
    assert reason.quantity == quantity
    assert words in reason.text
    assert why_upper(replace(q, **better)) is None


@pytest.mark.parametrize(
    ("change", "better", "quantity", "words"),
    [
        ({"alpha": 0.98, "c_g": 1.5}, {"alpha": 0.05}, "α", "does not fool F, = 0.98 is the largest part of"),
        ({"risk_g": 0.99}, {"risk_g": 0.03}, "η", "η_F + η_G = 1.01 alone reaches 1"),
        ({"c_f": 2.0}, {"c_f": -0.49}, "c_F", "(ε (1 + α) + c_F (1 − α)) / (ε + c_G) = 2.42 alone reaches 1"),
        ({"lowest": -1.0}, {"lowest": 0.99}, "S̲", "ε (1 − α) √(2 − 2 S̲) / (ε + c_G) = 0.95 is the largest part of"),
        ({"c_g": -0.6}, {"c_g": 0.5}, "c_G", "c_G = −0.6 is not above −ε: at one image a change of G's loss, −0.588, less"),
        ({"c_g": -0.6, "beta": 4.0}, {"c_g": 0.5}, "β", "−0.1, less β ε² / 2 = 0.5, is divided by the gradient's norm, 1"),
        ({"c_g": float("-inf"), "shortest_g": 0.0}, {"c_g": 0.5}, "c_G", "c_G is not finite"),
    ],
)
def test_the_quantity_that_makes_the_lower_bound_vacuous(change: dict, better: dict, quantity: str, words: str) -> None:
    q = replace(GOOD, **change)
    reason = why_lower(q)
    assert lower_bound(q) is None or lower_bound(q) <= 0
    assert reason.quantity == quantity
    assert words in reason.text
    assert why_lower(replace(q, **better)) is None


def test_the_parts_add_up_to_the_bounds() -> None:
    assert lower_bound(GOOD) == pytest.approx(1 - sum(lower_losses(GOOD).values()))
    assert upper_bound(GOOD) == pytest.approx(0.3 / (3 - sum(upper_losses(GOOD).values())))


def test_sentences_name_the_best_the_reasons_and_the_contradictions() -> None:
    rough = replace(GOOD, eps=1.0, beta=20.0, c_g=-2.0)
    low = upper_bound(GOOD)
    texts = sentences([("F1 → F2", GOOD), ("F2 → F1", rough)], reach=(0.7, "F1 → F2"), kinks=True)
    strongest = f"the strongest, F1 → F2 at ε 0.5: at most {100 * low:.1f} %"
    assert f"says something in 1 of 2 cases (pairs and radii); {strongest}" in texts[2]
    assert "Vacuous because of β in 1, such as F2 → F1 at ε 1: β ε² = 20 alone" in texts[3]
    assert any("F1 → F2 is the pair for which Theorem 2 says something furthest: up to ε = 0.7" in text for text in texts)
    assert texts[-2:] == [ESTIMATES, KINKS]
    wrong = [text for text in texts if "too optimistic" in text]
    lower = lower_bound(GOOD)
    assert wrong == [
        f"F1 → F2 at ε 0.5: the lower bound, {100 * lower:.1f} %, lies above the measured 10.0 %: the estimates of its "
        "quantities are too optimistic."
    ]
    agreeing = sentences([("F1 → F2", replace(GOOD, transferred=11, c_f=0.25))], reach=(0.0, ""), kinks=False)
    assert not [text for text in agreeing if "optimistic" in text or "furthest" in text]
    more = sentences([("F1 → F2", replace(GOOD, transferred=90))], reach=(0.0, ""), kinks=False)
    assert any(f"the upper bound, {100 * low:.1f} %, lies below the measured 90.0 %" in text for text in more)
