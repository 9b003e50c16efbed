"""Every check that attacks: a model or an attack that must trip it, and one that must not."""

import copy
import threading
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trs_explorer.attacks.pgd import pgd
from trs_explorer.evaluation.accuracy import evaluate
from trs_explorer.evaluation.trust import few_images, from_attacks, from_rates
from trs_explorer.evaluation.trust.from_attacks import cheap_checks, quick_checks, thorough_checks
from trs_explorer.evaluation.trust.from_rates import check_model, check_rates, merge_warnings
from trs_explorer.models.ensemble import Ensemble

EPS = 0.06


class Times(nn.Module):
    def __init__(self, model, scale):
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, x):
        return self.model(x) * self.scale


@pytest.fixture(scope="module")
def trained():
    """A small net on four noisy patterns that is right on nearly all of 100 fresh images."""
    g = torch.Generator().manual_seed(0)
    patterns = 0.3 + 0.4 * torch.rand(4, 1, 5, 5, generator=g)
    y = torch.randint(4, (600,), generator=g)
    x = (patterns[y] + 0.08 * torch.randn(600, 1, 5, 5, generator=g)).clamp(0, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(25, 32), nn.Tanh(), nn.Linear(32, 4))
        optimiser = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(150):
            optimiser.zero_grad()
            F.cross_entropy(model(x[:500]), y[:500]).backward()
            optimiser.step()
    return model.eval(), x[500:], y[500:]


def all_checks(model, x, y, attacks, **options):
    """Which checks were made, and which of them warn."""
    rates = evaluate(model, x, y, attacks=attacks)
    own = {"rates": rates, "attacks": attacks}
    found = merge_warnings(
        check_rates(rates),
        check_model(model, x, y),
        quick_checks(model, x, y, **own),
        thorough_checks(model, x, y, **own, **options),
    )
    return set(found), {number for number, texts in found.items() if texts}


PGD = [("pgd-50", pgd, {"eps": EPS})]
SHORT = [("pgd-10", pgd, {"eps": EPS, "steps": 10})]


def test_a_sound_model_passes_every_check(trained):
    model, x, y = trained
    made, warn = all_checks(Ensemble([model]).eval(), x, y, PGD, others=[("itself", model)])
    assert made == set(range(1, 18)) - {1, 14}  # there is no single step to compare with; who plans the attacks knows 14
    assert warn == set()


def test_logits_times_1000_trip_5_and_8(trained):
    """Cross-entropy's gradient is exactly 0 where the softmax is 1; the margin's is not."""
    model, x, y = trained
    masked = Times(model, 1000.0)
    made, warn = all_checks(masked, x, y, PGD, steps=12)
    assert {2, 5, 8} <= warn
    assert not {4, 16} & made  # no other model, no ensemble: not made
    assert evaluate(masked, x, y, attacks=PGD)[1].correct > evaluate(model, x, y, attacks=PGD)[1].correct + 20


def test_members_whose_logits_are_times_1000_trip_5_and_8_too(trained):
    """Of several sure members even the ensemble's margin has no slope: only the members' own margins have."""
    model, x, y = trained
    members = [copy.deepcopy(model) for _ in range(3)]
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (weight for member in members for weight in member.parameters()):
            weight += 0.1 * torch.randn(weight.shape, generator=g)
    masked = Ensemble([Times(member, 1000.0) for member in members]).eval()
    rates = evaluate(masked, x, y, attacks=PGD)
    assert check_model(masked, x, y)[5]
    [words] = quick_checks(masked, x, y, rates=rates, attacks=PGD)[8]
    assert "MORA" in words


def test_the_cheap_checks_are_those_of_all_rates_and_of_the_first_images(trained, monkeypatch):
    model, x, y = trained
    monkeypatch.setattr(from_attacks, "QUICK_N", 30)
    masked, own = Times(model, 1000.0), {"attacks": PGD, "seed": 3}
    rates = evaluate(masked, x, y, attacks=PGD)
    few = check_model(masked, x[:30], y[:30]), quick_checks(masked, x[:30], y[:30], rates=rates, **own)
    assert cheap_checks(masked, x, y, rates=rates, **own) == merge_warnings(check_rates(rates), *few)
    assert "of 30" in few[0][5][0]  # not of all: that they were so few can be seen


@pytest.mark.slow
def test_a_larger_radius_where_nothing_stands_hides_nothing(trained):
    model, x, y = trained
    masked = Ensemble([Times(model, 30.0)]).eval()
    short = {"others": [("unmasked", model)], "steps": 12}
    alone = all_checks(masked, x, y, PGD, **short)[1]
    assert {4, 16} & alone
    both = [*PGD, ("pgd-50", pgd, {"eps": 1.0, "restarts": 9})]
    assert all_checks(masked, x, y, both, **short)[1] >= alone - {2, 5}


def test_images_from_elsewhere_and_other_weights_find_what_masked_gradients_hide(trained):
    model, x, y = trained
    masked = Ensemble([Times(model, 1000.0)])
    assert {4, 16} <= all_checks(masked, x, y, PGD, others=[("unmasked", model)], steps=12)[1]


class Linear(nn.Module):
    """Class 0's margin is w.x + b; its worst image is known."""

    def __init__(self):
        super().__init__()
        self.w = torch.tensor([1.0, -2.0, 0.5, 1.5])

    def forward(self, x):
        margin = x.flatten(1) @ self.w - 0.5
        return torch.stack([margin, -margin], -1)


def test_on_a_linear_model_attacks_that_reach_the_corner_pass_and_those_that_do_not_trip_6():
    """From the middle of the ball, steps of eps / 10 reach its corner in 20 at most."""
    x = torch.rand(80, 1, 2, 2, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    model = Linear().eval()
    y = model(x).argmax(-1)
    attacks = [("pgd-30", pgd, {"eps": 0.05, "steps": 30})]
    made, warn = all_checks(model, x, y, attacks, steps=30)
    assert 6 in made
    assert warn == set()
    assert 6 in all_checks(model, x, y, attacks, steps=14)[1]
    assert 6 not in all_checks(model, x, y, attacks, steps=10)[0]


@pytest.mark.parametrize(("rises", "warned"), [("fooled", False), ("standing", True)])
def test_6_looks_at_the_loss_of_images_that_stood(monkeypatch, rises, warned):
    """A loss may rise for ever where the image is fooled already: that says nothing against the attack."""
    x, y = torch.full((60, 1, 2, 2), 0.5), torch.zeros(60, dtype=torch.long)
    moving = torch.arange(60) < 30 if rises == "fooled" else torch.arange(60) >= 30

    def paused(model, x, y, *, steps, **more):
        shown = torch.full((60,), 0.45)  # class 0
        shown[:30] = 0.6  # class 1
        shown[moving] += 0.04 * (steps == 50)
        return shown.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()

    class First(nn.Module):
        def forward(self, x):
            margin = 4 * (x.flatten(1)[:, 0] - 0.5)
            return torch.stack([-margin, margin], -1)

    monkeypatch.setattr(from_attacks, "pgd", paused)
    assert bool(from_attacks._still_moving(First(), x, y, eps=0.2, steps=50, seed=0)) == warned


class Patchy(nn.Module):
    """One pixel, no slope: class 1 in the upper eighth of (.2, .8), which only chance can hit."""

    def forward(self, x):
        x = x.flatten(1)
        return torch.cat([0 * x, (x > 0.725).float() - 0.5 + 0 * x], -1)


def test_what_only_chance_finds_trips_noise_starts_and_the_whole_cube():
    x, y = torch.full((100, 1, 1, 1), 0.5), torch.zeros(100, dtype=torch.long)
    _, warn = all_checks(Patchy().eval(), x, y, [("pgd-10", pgd, {"eps": 0.3, "steps": 10})], steps=10)
    assert {2, 5, 13, 15} <= warn


def test_an_attack_that_forgets_its_best_step_trips_7(trained):
    model, x, y = trained

    def overshoots(model, x, y, *, eps, generator):
        better = pgd(model, x, y, eps=eps, steps=10, generator=generator)
        model(better)
        return x

    assert all_checks(model, x[:50], y[:50], [("overshoots", overshoots, {"eps": EPS})], steps=5)[1] >= {7}
    assert 7 not in all_checks(model, x[:50], y[:50], SHORT, steps=5)[1]


def test_an_attack_that_moves_at_radius_0_or_where_it_fails_trips_12_and_17(trained):
    model, x, y = trained

    def blind(model, x, y, *, eps, generator):
        return 1 - x

    def restless(model, x, y, *, eps, generator):
        x_adv = pgd(model, x, y, eps=eps, steps=10, generator=generator)
        return (x_adv + 1e-3).clamp(0, 1)

    assert {11, 12} <= all_checks(model, x, y, [("blind", blind, {"eps": EPS})], steps=5)[1]
    assert 17 in all_checks(model, x, y, [("restless", restless, {"eps": EPS})], steps=5)[1]


def test_nothing_to_compare_means_not_made(trained):
    model, x, y = trained
    assert all_checks(model, x, y, [])[0] == {2, 5, 9, 10, 11, 12}
    assert quick_checks(model, x[:0], y[:0], rates=[], attacks=[]) == {}


@pytest.mark.slow
def test_leaves_the_random_state_alone_and_repeats_itself(trained):
    model, x, y = trained
    before = torch.get_rng_state()
    run = partial(all_checks, Ensemble([Times(model, 40.0)]), x[:40], y[:40], PGD, steps=12)
    assert run() == run()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_checks_attack_in_the_norm_of_the_figures(trained, monkeypatch, norm):
    """Else they compare balls of one radius and different size: in L2 the square's corners would be "missed"."""
    model, x, y = trained
    used = []

    def recorded(*arguments, norm="linf", **more):
        if threading.current_thread() is threading.main_thread():  # not of a page of another test
            used.append((norm, more["eps"]))
        return pgd(*arguments, norm=norm, **more)

    eps = EPS if norm == "linf" else 0.2
    attacks = [("pgd-50", pgd, {"eps": eps, "norm": norm})]
    monkeypatch.setattr(from_attacks, "pgd", recorded)
    made, warned = all_checks(model, x[:60], y[:60], attacks, others=[("itself", model)])
    assert {4, 6, 7, 8, 12, 13, 15} <= made
    assert not warned
    assert {kind for kind, radius in used if radius == eps} == {norm}


def test_of_a_model_of_which_few_images_fit_batches_are_small_and_the_words_the_same(trained, monkeypatch):
    """With masked gradients, so that several checks have something to say."""
    model, x, y = trained[0], trained[1][:40], trained[2][:40]
    sizes = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Times(model, 4000.0)

        def forward(self, images):
            sizes.append(len(images))
            return self.inner(images)

    watched = Watched()
    attacks = [("pgd-5", partial(pgd, steps=5), {"eps": EPS})]
    own = {"rates": evaluate(watched, x, y, attacks=attacks), "attacks": attacks, "seed": 3}

    def words():
        return [
            check_model(watched, x, y),
            quick_checks(watched, x, y, **own),
            thorough_checks(watched, x, y, **own, others=[("other", model)], steps=12),
        ]

    whole = words()
    assert any(texts for part in whole for texts in part.values())
    for module in (few_images, from_attacks, from_rates):
        monkeypatch.setattr(module, "fitting_batch", lambda model, x, most=256: 16)
    sizes.clear()
    assert words() == whole
    assert max(sizes) == 16
    assert few_images.affordable(watched, x, 100) == slice(0, 32)
