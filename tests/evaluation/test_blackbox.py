"""Black box: what is shown to the target, and what is counted."""

from functools import partial

import pytest
import torch

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import worst_of
from trs_explorer.evaluation.blackbox import Attempt, measure_attempt, per_attempt, protocol
from trs_explorer.models.ensemble import Ensemble


def run(attempt, surrogate, targets, x, y, **options):
    *_, rates = measure_attempt(attempt, surrogate, targets, x, y, **options)
    return rates


def test_the_paper_attacks_every_image_18_times():
    attempts = protocol(["three", "five", "eight"], 0.3)
    assert len(attempts) == len({attempt.name for attempt in attempts}) == 18
    assert {attempt.start for attempt in attempts} == {0, 1, 2}
    assert {attempt.attack.keywords["loss"] for attempt in attempts} == {"ce", "margin"}
    assert all(attempt.attack.func is pgd and attempt.attack.keywords["steps"] == 50 for attempt in attempts)
    assert all(attempt.eps == 0.3 for attempt in attempts)


def test_counts_are_those_of_a_loop_over_the_attempts(problem):
    ensemble, x, y = problem
    surrogate, targets = Ensemble(list(ensemble.members[:2])), {"a": ensemble.members[2], "b": ensemble}
    kinds = [(loss, start) for loss in ("ce", "margin") for start in range(2)]
    attempts = [Attempt("s", loss, partial(pgd, steps=4, loss=loss), 0.06, start) for loss, start in kinds]
    found = [run(attempt, surrogate, targets, x, y, seed=5, batch_size=32) for attempt in attempts]
    ensemble.eval()
    for name, target in targets.items():
        right = []
        for loss, start in kinds:
            g = torch.Generator().manual_seed(5 + start)
            x_adv = pgd(surrogate, x, y, eps=0.06, steps=4, loss=loss, for_transfer=True, generator=g)
            right.append(target(x_adv).argmax(-1) == y)
        rates = [each[name] for each in found]
        assert [rate.outcomes for rate in rates] == [one.tolist() for one in right]
        assert worst_of("all", rates).correct == torch.stack(right).all(0).sum()
        assert worst_of("all", rates).correct < min(rate.correct for rate in rates)
        share, low, high = per_attempt(rates)
        assert share == pytest.approx(torch.stack(right).float().mean().item())
        assert low < share < high


def test_an_image_that_leaves_the_surrogate_right_may_fool_the_target(problem):
    """The surrogate of the smaller slope: nothing fools it, and yet its gradient shows the way to the target's boundary."""
    ensemble, x, y = problem

    class Sure(torch.nn.Module):
        def __init__(self, model, y):
            super().__init__()
            self.model, self.y = model, y

        def forward(self, x):
            return self.model(x) + 50.0 * torch.nn.functional.one_hot(self.y[: len(x)], 3)

    target = ensemble.members[0].eval()
    attempt = Attempt("sure", "pgd", partial(pgd, steps=10, loss="margin"), 0.2)
    rate = run(attempt, Sure(target, y), {"target": target}, x, y)["target"]
    assert (target(x).argmax(-1) == y).sum() > 60
    assert rate.correct < 25


def test_shares_give_the_outcomes_of_the_whole(problem):
    ensemble, x, y = problem
    attempt = Attempt("s", "pgd", partial(pgd, steps=2), 0.05, 1)
    whole = run(attempt, ensemble.members[0], {"t": ensemble}, x, y, seed=2)["t"]
    parts = [
        run(attempt, ensemble.members[0], {"t": ensemble}, x[a:b], y[a:b], seed=2, first=a)["t"] for a, b in ((0, 37), (37, 90))
    ]
    assert parts[0].outcomes + parts[1].outcomes == whole.outcomes


def test_goes_on_in_the_middle_of_an_attempt(problem):
    ensemble, x, y = problem
    attempt, targets = Attempt("s", "pgd", partial(pgd, steps=2), 0.05, 1), {"t": ensemble, "u": ensemble.members[1]}
    steps = list(measure_attempt(attempt, ensemble.members[0], targets, x, y, seed=2, batch_size=30))
    assert [rates["t"].n for rates in steps] == [30, 60, 90]
    for rates in steps[:2]:
        again = list(measure_attempt(attempt, ensemble.members[0], targets, x, y, seed=2, batch_size=30, done=rates))
        assert len(again) == 3 - rates["t"].n // 30
        assert again[-1] == steps[-1]
    alone = run(attempt, ensemble.members[0], targets, x, y, seed=2, batch_size=30, done={"t": steps[0]["t"]})
    assert alone == steps[-1]  # the other target lacks what this one has


def test_an_attack_without_a_norm_is_made_in_the_max_norm_and_in_no_other(problem):
    ensemble, x, y = problem

    def without_norm(model, x, y, *, eps, generator=None):
        return (x + eps).clamp(0, 1)

    rate = run(Attempt("s", "mine", without_norm, 0.1), ensemble, {"t": ensemble}, x, y)["t"]
    assert (rate.n, rate.norm) == (len(x), "linf")
    with pytest.raises(ValueError, match=r"mine takes no norm and searches the maximum norm, got 'l2'"):
        run(Attempt("s", "mine", without_norm, 0.1, norm="l2"), ensemble, {"t": ensemble}, x, y)
